"""The step `Encode` for the values of one language or country: bodies of a localised batch."""

import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

import polars as pl

from controller.ports.locales import Locale
from controller.ports.preparing import EncodeRequest, EncodeResult, PayloadFile, PlanCounts
from controller.preparing.bodies import SAMPLES_MAX, digest_of
from controller.preparing.context import Context
from controller.preparing.heads import in_partition
from controller.preparing.locales import Wanted, compared, wanted_of
from controller.preparing.objects import reading, scan_table, table_key, write_table
from controller.products import localized
from controller.products.fields import ID
from controller.products.localized import Said
from controller.products.partition import PARTITION
from controller.products.tables import Kind
from controller.stores.local import LocalStore

HEAD = b'{"item_type":"PRODUCT_ITEM","requests":['
TAIL = b"]}"
TEXT_ROWS = 1_000
"""Rows whose texts are in memory at once, beside one body."""
_NOTHING = pl.Schema(
    {ID: pl.String, "_delete": pl.Boolean, "_row_hash": pl.UInt64, "_held": pl.String, PARTITION: pl.UInt16}
)


@dataclass(slots=True)
class _Bodies:
    """Fills bodies, and writes each when it is full."""

    request: EncodeRequest
    store: LocalStore
    files: list[PayloadFile] = field(default_factory=list)
    full: bool = False
    """There is no room for more."""
    _parts: list[Said] = field(default_factory=list)
    _size: int = len(HEAD) + len(TAIL)

    def add(self, said: Said) -> None:
        """Take one element, unless all bodies are full."""
        limits = self.request.limits
        length = len(said.request) + 1
        if self._parts and (len(self._parts) == limits.batch_rows_max or self._size + length > limits.batch_bytes_max):
            self.flush()
        self.full = len(self.files) == self.request.calls_max
        if not self.full:
            self._parts.append(said)
            self._size += length

    def flush(self) -> None:
        if not self._parts:
            return
        number, prefix = len(self.files), self.request.prefix
        content = HEAD + b",".join(each.request for each in self._parts) + TAIL
        rows = localized.sent_table([each.row for each in self._parts])
        key = f"{prefix}/localized-batch-{number:04}.json"
        self.store.write(key, content)
        self.files.append(
            PayloadFile(
                key=key,
                bytes=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
                rows=rows.height,
                partitions=tuple(rows.get_column(PARTITION).unique().sort().to_list()),
                sent=write_table(self.store, table_key(prefix, Kind.LOCALE_SENT, f"{number:04}"), rows),
            )
        )
        self._parts, self._size = [], len(HEAD) + len(TAIL)


def encode_locale(request: EncodeRequest, context: Context) -> EncodeResult:
    """Write the bodies for one localization of the overlay: what is to be removed goes first."""
    store = context.store
    for wanted in wanted_of(request.refresh, request.partitions):
        if wanted.name != request.overlay or wanted.waits:
            continue
        rows = _owed(request, store, wanted)
        if rows.height:
            return _encoded(request, store, wanted, rows)
    return EncodeResult()


def _owed(request: EncodeRequest, store: LocalStore, wanted: Wanted) -> pl.DataFrame:
    """Rows to be sent, by partition and id; beyond what the calls can carry, one is enough to know of more."""
    enough = request.calls_max * request.limits.batch_rows_max + 1
    found = [pl.DataFrame(schema=_NOTHING)]
    for each in sorted(request.partitions, key=lambda partition: partition.index):
        owed = localized.to_send(compared(store, request.refresh, each, wanted, request.now))
        if request.item_ids:
            owed = owed.filter(pl.col(ID).is_in(list(request.item_ids)))
        with reading():
            rows = owed.sort(ID).head(enough).collect(engine="streaming")
        found.append(in_partition(rows, each.index))
    return pl.concat(found).head(enough)


def _encoded(request: EncodeRequest, store: LocalStore, wanted: Wanted, rows: pl.DataFrame) -> EncodeResult:
    bodies = _Bodies(request, store)
    room = request.calls_max * request.limits.batch_rows_max
    more = rows.height > room
    updated: list[str] = []
    removed: list[str] = []
    for said in _said(store, wanted, rows.head(room)):
        bodies.add(said)
        if bodies.full:
            more = True
            break
        (removed if said.row["_delete"] else updated).append(str(said.row[ID]))
    bodies.flush()
    plan = PlanCounts(
        update=len(updated),
        delete=len(removed),
        sample_update=tuple(heapq.nsmallest(SAMPLES_MAX, updated)),
        sample_delete=tuple(heapq.nsmallest(SAMPLES_MAX, removed)),
    )
    digest = digest_of(each.sha256 for each in bodies.files)
    return EncodeResult(files=tuple(bodies.files), plan=plan, digest=digest, more=more, locale=wanted.locale)


def _said(store: LocalStore, wanted: Wanted, rows: pl.DataFrame) -> Iterator[Said]:
    """Elements of the bodies: what is removed by partition and id, then what has texts, in the order of the overlay."""
    named = _localization(wanted.locale)
    for part in rows.filter("_delete").iter_slices(TEXT_ROWS):
        yield from localized.said_of(part, (), named, ())
    chosen = rows.filter(~pl.col("_delete"))
    if wanted.head is None or not chosen.height:
        return
    fields = wanted.head.fields
    with reading():
        texts = scan_table(store, wanted.head.table).select(ID, *fields)
        joined = texts.join(chosen.lazy(), on=ID, how="inner", maintain_order="left")
        for part in joined.collect_batches(chunk_size=TEXT_ROWS, maintain_order=True):
            yield from localized.said_of(part, fields, named, fields)


def _localization(locale: Locale) -> dict[str, str]:
    return {"type": locale.type, "value": locale.value}
