"""Update files of one partition: what changed of items that Meta has, and nothing else.

A file has one row of columns, and an empty cell clears; so rows go together of which exactly the same fields changed,
and their file has these columns alone. Rows of which another field than the volatile ones changed are said as a whole:
which one it is is not remembered, only that it did. Largest groups go first, whole rows last. A group is cut into
parts by rows and bytes; an id is in one part only, so that it does not matter in which order Meta takes them.

Nothing is created or deleted. What the file cannot say without clearing what nobody knows stays pending.
"""

import functools
import io
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from controller.ports.preparing import EncodeRequest, EncodeResult, PayloadFile, PlanCounts
from controller.preparing.bodies import Tally, digest_of
from controller.preparing.comparing import open_inputs
from controller.preparing.context import Context
from controller.preparing.files import write_index
from controller.preparing.heads import check_snapshot, departures_of, no_texts, policy_of
from controller.preparing.kept import columns, kept, texts
from controller.preparing.manifests import manifest_of
from controller.preparing.objects import reading, table_key, write_table
from controller.preparing.packing import Packing
from controller.preparing.ranges import compared, ranges, sides_of, tables_of
from controller.preparing.row_state import texts_of
from controller.preparing.slicing import SLICE_ROWS, Scratch
from controller.products import encode
from controller.products.encode import fields_in
from controller.products.fields import ID
from controller.products.tables import SENT, Kind
from controller.stores.local import LocalStore

WHOLE = "_full"


def encode_update(request: EncodeRequest, context: Context, slice_rows: int = SLICE_ROWS) -> EncodeResult:
    """Write the parts of an update of one partition."""
    files: list[PayloadFile] = []
    said = Tally()
    more = False
    with tempfile.TemporaryDirectory(prefix="encode-", dir=context.store.spool_directory()) as name:
        rows = _changed(request, context, Scratch(Path(name)), slice_rows)
        for group in _groups(request, context.store, rows):
            while group.rows.any() and not more:
                more = len(files) == request.calls_max
                if not more:
                    file, ids = _write_part(request, context.store, group, len(files))
                    files.append(file)
                    said.add(ids)
    return EncodeResult(
        files=tuple(files),
        plan=PlanCounts(update=said.count, sample_update=said.sample),
        digest=digest_of(each.sha256 for each in files),
        update_only=True,
        more=more,
    )


def _changed(request: EncodeRequest, context: Context, scratch: Scratch, slice_rows: int) -> list[pl.LazyFrame]:
    """Rows to be sent, range by range of ids."""
    (document,) = request.partitions
    store = context.store
    check_snapshot(store, document.snapshot)
    open_ = open_inputs(store, manifest_of(store, request.refresh), request.partitions)
    tables = tables_of(open_.sides) if open_ is not None else sides_of(store, request.refresh, document)
    departures = departures_of(store, request.refresh)
    found = []
    for sides in ranges(tables, document.index, scratch, slice_rows):
        plan = compared(sides, departures, policy_of(request.guard), request.now)
        rows = encode.update_rows(plan, request.refresh.sequence)
        if request.item_ids:
            rows = rows.filter(pl.col(ID).is_in(list(request.item_ids)))
        found.append(scratch.put_by(rows))
    return found


class Rows:
    """Rows that wait to be written, block by block."""

    def __init__(self, blocks: Iterable[pl.DataFrame]) -> None:
        self._blocks = iter(blocks)
        self._first: pl.DataFrame | None = None

    def any(self) -> bool:
        while self._first is None or not self._first.height:
            self._first = next(self._blocks, None)
            if self._first is None:
                return False
        return True

    def take(self) -> pl.DataFrame:
        assert self._first is not None
        block, self._first = self._first, None
        return block

    def back(self, block: pl.DataFrame) -> None:
        self._first = block


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that say the same columns."""

    fields: Sequence[str]
    rows: Rows
    index: Callable[[int, pl.DataFrame], str]
    """Write what a part says, from its number and its rows."""


def _groups(request: EncodeRequest, store: LocalStore, rows: Sequence[pl.LazyFrame]) -> Iterator[Group]:
    all_rows = pl.concat(rows)
    found = all_rows.group_by(WHOLE, "_volatile").len().collect()
    partial = found.filter(~pl.col(WHOLE)).sort("len", "_volatile", descending=[True, False])
    for mask in partial.get_column("_volatile"):
        chosen = ~pl.col(WHOLE) & (pl.col("_volatile") == mask)
        blocks = (each.filter(chosen).collect() for each in rows)
        yield Group([ID, *fields_in(mask)], Rows(blocks), functools.partial(_write_sent, request, store))
    if found.get_column(WHOLE).any():
        yield _whole(request, store, all_rows.filter(WHOLE).collect())


def _write_sent(request: EncodeRequest, store: LocalStore, number: int, rows: pl.DataFrame) -> str:
    return write_table(store, table_key(request.prefix, Kind.SENT, f"{number:04}"), rows.select(*SENT))


def _whole(request: EncodeRequest, store: LocalStore, rows: pl.DataFrame) -> Group:
    """Rows of which everything is said."""
    (document,) = request.partitions
    sources = texts_of(store, request.refresh, document.index)
    before = kept(store, document.payload)
    fields = encode.fields_of(
        {*(name for each in sources for name in each.table.collect_schema()), *columns(store, before)}
    )
    own = rows.filter(~pl.col("_kept"))
    old = texts(store, before, rows.filter("_kept"))
    with reading():
        again = encode.kept_rows(
            rows.filter("_kept").with_columns(_swapped=pl.lit(value=False)),
            pl.concat(old, how="diagonal") if old else no_texts().lazy(),
            fields,
        )

    def blocks() -> Iterator[pl.DataFrame]:
        for each in sources:
            for block in each.blocks():
                mine = block.join(own, on=ID, how="semi", maintain_order="left")
                yield encode.source_rows(mine.lazy(), fields, own, own.clear()).collect()
        yield again.select(fields)

    def index(number: int, said: pl.DataFrame) -> str:
        chosen = [frame.join(said, on=ID, how="semi", maintain_order="left") for frame in (own, again)]
        return write_index(request, store, f"{number:04}", sources, chosen[0].lazy(), chosen[1], fields)

    return Group(fields, Rows(blocks()), index)


def _write_part(
    request: EncodeRequest, store: LocalStore, group: Group, number: int
) -> tuple[PayloadFile, pl.DataFrame]:
    """Write as many rows as one part may have."""
    (document,) = request.partitions
    key = f"{request.prefix}/update-{number:04}.csv.gz"
    said: list[pl.DataFrame] = []
    with (
        store.creating(key) as path,
        path.open("wb") as file,
        Packing(file, request.limits.upload_bytes_max) as packing,
    ):
        head = ",".join(group.fields).encode() + b"\n"
        packing.write(head)
        size, rows = len(head), 0
        full = False
        while not full and group.rows.any():
            block = group.rows.take()
            room = Room(request.limits.update_rows_max - rows, request.limits.update_bytes_max - size)
            count, text = room.fill(block.select(group.fields), alone=not said)
            full = count < block.height
            if full:
                group.rows.back(block.slice(count))
            packing.write(text)
            size, rows = size + len(text), rows + count
            said.append(block.head(count).select(name for name in (*SENT,) if name in block.columns))
    ids = pl.concat(said)
    sent = group.index(number, ids)
    part = PayloadFile(
        key=key, bytes=packing.size, sha256=packing.sha256, rows=rows, partitions=(document.index,), sent=sent
    )
    return part, ids.select(ID)


@dataclass(frozen=True, slots=True)
class Room:
    """What still fits into a part."""

    rows: int
    text_bytes: int

    def fill(self, block: pl.DataFrame, *, alone: bool) -> tuple[int, bytes]:
        """Return how many rows fit, and their text. The first row of a part goes in whatever its size."""
        count = min(block.height, self.rows)
        text = _text(block.head(count))
        if len(text) <= self.text_bytes:
            return count, text
        fits, too_many = 0, count
        while too_many - fits > 1:
            middle = (fits + too_many) // 2
            if len(_text(block.head(middle))) <= self.text_bytes:
                fits = middle
            else:
                too_many = middle
        count = max(fits, 1) if alone else fits
        return count, _text(block.head(count))


def _text(rows: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    rows.write_csv(buffer, include_header=False)
    return buffer.getvalue()
