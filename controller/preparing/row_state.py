"""The rows of the last read as they are kept: tables with their texts, fingerprints, and what is not at rest.

`load` maps the fingerprints; `keep_base` writes everything anew, `keep_increment` only what changed. The key of the
manifest stands for the rows of every partition.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from controller.api.v1alpha1.items import ItemsEntry
from controller.ports.preparing import PartitionDesired, RefreshHead, RefreshRequest
from controller.preparing.arrays import Stored, prints_key, read_prints, write_prints, write_stored
from controller.preparing.context import Context
from controller.preparing.line_hashes import hash_lines
from controller.preparing.manifests import (
    BaseTable,
    Part,
    RowsManifest,
    manifest_of,
    part_of,
    verified,
)
from controller.preparing.objects import ROW_GROUP_ROWS, reading, scan_table, table_key, write_table
from controller.preparing.source_rows import Whole, WholeRead, rules_of
from controller.preparing.spill import ORDER
from controller.preparing.walk import windows
from controller.products.fields import ID, VOLATILE
from controller.products.fingerprints import NORMALISER, row_hash
from controller.products.masks import MaskBook
from controller.products.partition import PARTITION
from controller.products.prints import MASK, PART, RAW, NotStorableError, Rows, ids_in, prints_of
from controller.products.raw import Hashes, Index, UnsuitableError, hash_records
from controller.products.records import LINE
from controller.products.rules import REJECTED
from controller.products.shapes import shape_of
from controller.products.splitting import HEAD_BYTES, Splitter, splitter
from controller.products.tables import NARROW, Kind
from controller.sources.fetching import format_of
from controller.stores.local import LocalStore

BLOCK_BYTES = 16 << 20
"""Packed bytes of the rows that are in memory at once while texts go through."""
BLOCK_ROWS_MIN = 500
_NEW = " new "
_PRINTED = (*NARROW, PARTITION, RAW, MASK, PART)


@dataclass(frozen=True, slots=True)
class RowState:
    """Rows of a read, as far as they are in memory."""

    manifest: RowsManifest
    rows: Rows


def load(store: LocalStore, manifest: RowsManifest) -> RowState:
    base, _ = read_prints(store, manifest.prints)
    delta, dead = None, np.empty(0, np.uint32)
    if manifest.later_prints is not None:
        delta, dead = read_prints(store, manifest.later_prints)
    return RowState(manifest, Rows(base, delta, dead))


def splitter_of(entry: ItemsEntry, head: bytes, line_bytes_max: int) -> Splitter | None:
    """How the source falls into records, or None where it cannot be told from raw bytes."""
    return splitter(shape_of(format_of(entry), head), head, line_bytes_max)


def guard_of(request: RefreshRequest, columns: Sequence[str], guard: bytes) -> str:
    """Digest of what must be the same for the raw bytes of a record to mean the same row."""
    rules = [[each.name, each.level, each.message] for each in rules_of(request.items, tuple(columns))]
    document = json.dumps([NORMALISER, request.configuration_digest, list(columns), rules, guard.hex()])
    return hashlib.sha256(document.encode()).hexdigest()


def raw_hashes(spooled: Whole, splitter: Splitter, lines: pl.Series, rows: int, *, torn: bool) -> pl.Series:
    """Return the hash of each row's record, by the line it starts on; null where it has none of its own.

    `rows`: number of rows that the source has. `torn`: some could not be read.
    """
    records = hash_lines(spooled.descriptor, spooled.size, splitter, torn=torn)
    if records is None:
        with contextlib.closing(windows(spooled.descriptor, splitter.head_bytes, spooled.size, splitter)) as parts:
            records = hash_records(parts, splitter, splitter.first_line, torn=torn)
    starts, hashes = records.starts, records.hashes
    if splitter.numbered and (torn or starts.size != rows):
        raise UnsuitableError  # numbers mean the same record only where each is one row
    found = lines.to_numpy().astype(np.int64)
    numbers = np.maximum(np.searchsorted(starts, found, "right") - 1, 0)
    counts = np.bincount(numbers, minlength=starts.size)
    alone = (starts[numbers] == found) & (counts[numbers] == 1)
    return pl.Series(RAW, np.where(alone, hashes[numbers], np.uint64(0)), dtype=pl.UInt64).replace({0: None})


def keep_base(
    request: RefreshRequest,
    context: Context,
    spooled: Whole,
    read: WholeRead,
    homes: npt.NDArray[np.uint16],
    named: Sequence[PartitionDesired],
    book: MaskBook,
) -> RowsManifest | None:
    """Describe the rows of a read that was parsed as a whole, or None where fingerprints would not be exact.

    `homes`: the partition of each row that may be accepted; `named`: the tables with their texts.
    """
    head = spooled.head(HEAD_BYTES)
    found = splitter_of(request.items, head, request.limits.line_bytes_max)
    if found is None or not read.separated.exact:
        return None
    try:
        arrays = _stored(read, homes, _own_hashes(read, spooled, found))
    except (UnsuitableError, NotStorableError):
        return None
    return RowsManifest(
        identity=request.prefix,
        guard=guard_of(request, read.columns, found.guard),
        columns=read.columns,
        tables=tuple(BaseTable(each.index, part_of(context.store, each.desired, each.rows)) for each in named),
        prints=write_stored(context.store, prints_key(request.prefix, "base"), arrays, read.separated.accepted),
        masks=book.sets(),
    )


def _own_hashes(read: WholeRead, spooled: Whole, found: Splitter) -> Hashes:
    """Return the hash of the record of each row that may be accepted, 0 where it is none of its own."""
    alive = read.alive
    lines = pl.Series(read.gathering.column("lines")[alive])
    hashes = np.zeros(alive.size, np.uint64)
    hashes[alive] = raw_hashes(spooled, found, lines, read.rows, torn=not read.readable).fill_null(0).to_numpy()
    hashes[read.separated.contended] = 0
    return hashes


def _stored(read: WholeRead, homes: npt.NDArray[np.uint16], raw: Hashes) -> list[Stored]:
    """Fingerprints as `prints.assemble` makes them, an array at a time."""
    gathering, alive, rows = read.gathering, read.alive, read.separated.accepted
    raw = raw[alive]
    with_raw = np.flatnonzero(raw).astype(np.int32)
    by_raw = Index.of(raw[with_raw], with_raw)
    del raw, with_raw
    by_id = Index.of(gathering.hashes("ids")[alive], np.arange(rows, dtype=np.int32))
    if by_id.keys.size != rows:
        raise NotStorableError  # two ids with one hash
    starts = np.zeros(rows + 1, np.uint64)
    np.cumsum(gathering.column("lengths")[alive], out=starts[1:])

    def column(name: str) -> Callable[[], Iterable[npt.NDArray[np.generic]]]:
        return lambda: (gathering.column(name)[alive],)

    return [
        Stored("ids", np.dtype(np.uint64), rows, column("ids")),
        Stored("groups", np.dtype(np.uint64), rows, column("groups")),
        Stored("static", np.dtype(np.uint64), rows, column("static")),
        Stored.of("partitions", homes[alive]),
        Stored("masks", np.dtype(np.uint16), rows, column("masks")),
        Stored.of("parts", np.zeros(rows, np.uint16)),
        Stored.of("starts", starts),
        Stored("text", np.dtype(np.uint8), int(starts[-1]), lambda: gathering.text(read.separated.dead)),
        *(Stored.of(f"raw_{each.name}", getattr(by_raw, each.name)) for each in fields(Index)),
        *(Stored.of(f"id_{each.name}", getattr(by_id, each.name)) for each in fields(Index)),
        Stored.of("dead", np.empty(0, np.uint32)),
    ]


def keep_increment(
    request: RefreshRequest,
    context: Context,
    state: RowState,
    placed: pl.DataFrame,
    texts: pl.LazyFrame | None,
    dead_now: npt.NDArray[np.uint32],
    book: MaskBook,
) -> RowState:
    """Describe the rows of a read of which only the changes were parsed. `placed`: the changed rows, with partition.

    Without `texts`, only volatile values changed: `placed` says by `_part` where the texts of each row are.
    """
    manifest, rows = state.manifest, state.rows
    store = context.store
    number = len(manifest.later) + 1
    later = manifest.later
    if placed.height and texts is not None:
        key = table_key(request.prefix, Kind.DESIRED, f"later-{number:03}")
        write_table(store, key, _texts_of(placed, texts))
        later = (*later, part_of(store, key, placed.height))
    if texts is not None:
        placed = placed.with_columns(pl.lit(number, dtype=pl.UInt16).alias(PART))
    fresh = placed.select(*_PRINTED)
    edge = rows.base.rows
    if rows.delta is not None:
        stays = np.ones(rows.delta.rows, bool)
        stays[dead_now[dead_now >= edge] - edge] = False
        kept = (np.flatnonzero(stays) + edge).astype(np.int32)
        raw = np.zeros(rows.delta.rows, np.uint64)
        raw[rows.delta.raw_places] = rows.delta.raw_keys
        earlier = rows.narrow(kept).with_columns(pl.Series(RAW, raw[kept - edge], dtype=pl.UInt64).replace({0: None}))
        fresh = pl.concat([earlier.select(*_PRINTED), fresh])
    dead = np.concatenate((rows.dead, dead_now[dead_now < edge])).astype(np.uint32)
    delta = prints_of(fresh)
    written = write_prints(store, prints_key(request.prefix, "later"), delta, dead)
    following = replace(
        manifest, identity=request.prefix, later=later, later_prints=written, masks=book.sets(), open=None
    )
    return RowState(following, Rows(rows.base, delta, dead))


def _texts_of(placed: pl.DataFrame, texts: pl.LazyFrame) -> pl.DataFrame:
    """Return the texts of changed rows, each with its partition and line."""
    chosen = placed.select(ORDER, PARTITION, LINE)
    whole = texts.drop(LINE).collect()
    if whole.get_column(ORDER).equals(chosen.get_column(ORDER)):  # nearly always: every row was accepted
        whole = whole.hstack(chosen.drop(ORDER))
    else:
        whole = whole.join(chosen, on=ORDER, how="inner", maintain_order="left")
    return whole.drop(ORDER, REJECTED, strict=False)


@dataclass(frozen=True, slots=True)
class Texts:
    """One table, and those of its rows that stand in a partition."""

    part: Part
    table: pl.LazyFrame
    gone: pl.DataFrame | None = None
    """Ids whose rows stand elsewhere by now."""
    only: pl.DataFrame | None = None
    """Ids whose rows stand here; None where all others do."""
    newest: pl.DataFrame | None = None
    """Rows whose volatile values are newer than those of the table."""

    @property
    def rows(self) -> pl.LazyFrame:
        return self._standing(self.table)

    def blocks(self) -> Iterator[pl.DataFrame]:
        """Yield the rows in order, as many at once as fit into memory many times over."""
        with reading():
            height = int(self.table.select(pl.len()).collect().item())
            step = _block_rows(self.part, height)
            for start in range(0, height, step):
                yield self._standing(self.table.slice(start, step)).collect()

    def _standing(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        if self.gone is not None:
            rows = rows.join(self.gone.lazy(), on=ID, how="anti", maintain_order="left")
        if self.only is not None:
            rows = rows.join(self.only.lazy(), on=ID, how="semi", maintain_order="left")
        return rows if self.newest is None else _with_newest(rows, self.newest)


def _block_rows(part: Part, height: int) -> int:
    packed = max(part.bytes // max(height, 1), 1)
    return max(min(BLOCK_BYTES // packed, ROW_GROUP_ROWS), BLOCK_ROWS_MIN)


def scan_partition(store: LocalStore, manifest: RowsManifest, index: int) -> pl.LazyFrame:
    """Rows of one partition with their texts."""
    return pl.concat([each.rows for each in _texts(store, manifest, index)], how="diagonal")


def _texts(store: LocalStore, manifest: RowsManifest, index: int) -> list[Texts]:
    base = [each.part for each in manifest.tables if each.index == index]
    tables = [scan_table(store, verified(store, part).key) for part in base]
    if manifest.later_prints is None:
        return [Texts(part, table) for part, table in zip(base, tables, strict=True)]
    rows = load(store, manifest).rows
    assert rows.delta is not None
    current = rows.narrow(np.arange(rows.base.rows, rows.size, dtype=np.int32)).filter(pl.col(PARTITION) == index)
    repriced = current.filter(pl.col(PART) == 0)
    dead = rows.dead[rows.base.partitions[rows.dead] == index]
    gone = ids_in(rows.base.texts(dead.astype(np.int32))).to_frame()
    gone = gone.join(repriced, on=ID, how="anti", maintain_order="left")
    newest = repriced if repriced.height else None
    found = [Texts(part, table, gone=gone, newest=newest) for part, table in zip(base, tables, strict=True)]
    for number, part in enumerate(manifest.later, start=1):
        mine = current.filter(pl.col(PART) == number)
        if mine.height:
            table = scan_table(store, verified(store, part).key).drop(PARTITION)
            found.append(Texts(part, table, only=mine.select(ID), newest=mine))
    return found


def _with_newest(texts: pl.LazyFrame, rows: pl.DataFrame) -> pl.LazyFrame:
    """Give texts the volatile values of some rows."""
    names = texts.collect_schema().names()
    newest = rows.lazy().select(ID, *(pl.col(name).alias(_NEW + name) for name in VOLATILE), pl.lit(1).alias(_NEW))
    chosen = pl.col(_NEW).is_not_null()
    return (
        texts.join(newest, on=ID, how="left", maintain_order="left")
        .with_columns(pl.when(chosen).then(_NEW + name).otherwise(name).alias(name) for name in VOLATILE)
        .with_columns(_row_hash=row_hash(pl.col("_static_hash")))
        .select(names)
    )


def desired_of(store: LocalStore, head: RefreshHead, index: int) -> pl.LazyFrame | None:
    """Rows of one partition with their texts, however they are kept; None where the refresh does not know it."""
    manifest = manifest_of(store, head)
    if manifest is not None:
        return scan_partition(store, manifest, index)
    key = next((each.desired for each in head.partitions if each.index == index), None)
    return scan_table(store, key) if key is not None else None


def texts_of(store: LocalStore, head: RefreshHead, index: int) -> list[Texts]:
    """The tables behind the rows of one partition that the refresh knows, first the base."""
    manifest = manifest_of(store, head)
    if manifest is not None:
        return _texts(store, manifest, index)
    (named,) = (each for each in head.partitions if each.index == index)
    return [Texts(part_of(store, named.desired, named.rows), scan_table(store, named.desired))]
