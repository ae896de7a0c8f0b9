"""Rows become the tables of their partitions while their source is still being read.

Which rows are accepted, and where each lives, is known for certain only after the last one: an id may come twice, a
group may turn out to live elsewhere. Both are rare, so rows are written where they seem to belong, in a thread of its
own, and only the tables of which a row turns out to belong elsewhere are written a second time.

Few rows are put together in memory: starting the streaming engine would take longer than all the rest.
"""

import contextlib
import queue
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
import polars as pl
from polars.io.plugins import register_io_source

from controller.preparing.objects import OPTIONS, in_groups_of, writing
from controller.preparing.spill import ORDER, PRIVATE
from controller.products.fields import ID
from controller.products.partition import PARTITION
from controller.products.rules import REJECTED

OPEN_ROWS = 200_000
"""Rows that wait until their row group is full, over all tables: at a kilobyte each, 200 MB."""
ROW_GROUP_ROWS_MIN = 2_000
WAITING_FRAMES = 1
WAIT_SECONDS = 1.0
NOWHERE = 0xFFFF
_AT = "_at"
Indices = npt.NDArray[np.uint16]


class Homes(Protocol):
    """Says where rows seem to belong."""

    def place(self, rows: pl.DataFrame) -> Indices: ...


class RowTables:
    """Takes checked rows block by block. Use as a context manager; what was not published is gone afterwards."""

    def __init__(self, scratch: Path, partitions: Sequence[int], homes: Homes, *, lenient: bool) -> None:
        """`lenient`: rows that break a rule are accepted as long as they have an id."""
        self._scratch = scratch
        self._partitions = tuple(partitions)
        self._homes = homes
        self._lenient = lenient
        self._rows = 0
        self._placed: list[Indices] = []
        self._left: list[pl.DataFrame] = []
        self._first: pl.DataFrame | None = None
        self._writer: _Writer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.drop()

    def add(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Take rows and return them with `_order`. Those that are fit go to their tables."""
        order = pl.int_range(self._rows, self._rows + rows.height, dtype=pl.UInt32, eager=True).alias(ORDER)
        numbered = rows.with_columns(order)
        self._rows += rows.height
        refused = rows.get_column(ID).is_null()
        if not self._lenient:
            refused |= rows.get_column(REJECTED).is_not_null()
        fit = numbered
        if refused.any():
            self._left.append(numbered.filter(refused).drop(PRIVATE))
            fit = numbered.filter(~refused)
        homes = self._homes.place(fit)
        self._placed.append(homes)
        self._write(fit.drop(PRIVATE).with_columns(pl.Series(PARTITION, homes, dtype=pl.UInt16)))
        return numbered

    def standing(self, found: Indices) -> pl.LazyFrame:
        """The rows that stay, in no order. `found` as in `publish`."""
        if self._writer is None:
            return self._eager().filter(pl.Series(found != NOWHERE)).lazy()
        return self._writer.standing(self.homes, found)

    def rows(self) -> pl.LazyFrame:
        """All rows, in no order, of which some may not be accepted."""
        written = self._writer.scan() if self._writer is not None else self._eager().lazy()
        return pl.concat([written, *(each.lazy() for each in self._left)])

    @property
    def homes(self) -> Indices:
        """Where the fit rows seemed to belong."""
        return np.concatenate([np.empty(0, np.uint16), *self._placed])

    def publish(self, found: Indices, targets: Mapping[int, Path]) -> None:
        """Put the tables where they belong. `found`: the partition of each fit row, NOWHERE of those that go."""
        if self._writer is None:
            rows = self._eager()
            for index, path in targets.items():
                with writing(path):
                    rows.filter(pl.Series(found == index)).write_parquet(path, **OPTIONS)
            return
        self._writer.publish(self.homes, found, targets)

    def _write(self, rows: pl.DataFrame) -> None:
        if self._writer is None and self._first is None:
            self._first = rows
            return
        if self._writer is None and self._first is not None:
            self._writer = _Writer(self._scratch, self._partitions, self._first.schema)
            self._writer.put(self._first)
            self._first = None
        assert self._writer is not None
        self._writer.put(rows)

    def _eager(self) -> pl.DataFrame:
        return pl.DataFrame() if self._first is None else self._first.drop(PARTITION)


class _Writer:
    """Writes rows to one file per partition, in a thread."""

    def __init__(self, scratch: Path, partitions: Sequence[int], schema: pl.Schema) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="tables-", dir=scratch))
        self._partitions = partitions
        self._schema = schema
        self._frames: queue.Queue[pl.DataFrame | None] = queue.Queue(WAITING_FRAMES)
        self._pool = ThreadPoolExecutor(1, "tables")
        self._done = self._pool.submit(self._work)

    def put(self, rows: pl.DataFrame | None) -> None:
        while True:
            with contextlib.suppress(queue.Full):
                self._frames.put(rows, timeout=WAIT_SECONDS)
                return
            if self._done.done():
                self._done.result()
                raise RuntimeError("the tables ended before their rows")

    def drop(self) -> None:
        """End, and leave nothing behind."""
        if not self._done.done():
            with contextlib.suppress(Exception):
                self.put(None)
        self._pool.shutdown()
        shutil.rmtree(self._directory, ignore_errors=True)

    def scan(self) -> pl.LazyFrame:
        self._end()
        return pl.concat([self._part(index) for index in self._partitions])

    def standing(self, homes: Indices, found: Indices) -> pl.LazyFrame:
        self._end()
        gone = np.flatnonzero(found == NOWHERE)
        return pl.concat([self._without(index, gone, homes) for index in self._partitions])

    def publish(self, homes: Indices, found: Indices, targets: Mapping[int, Path]) -> None:
        """`homes` and `found`: the partition that each row was written to, and the one where it belongs or NOWHERE."""
        self._end()
        at = np.flatnonzero(homes != found)
        moved = at[found[at] != NOWHERE]
        coming = self._texts(moved, homes, found)
        touched = {*np.unique(homes[at]).tolist(), *np.unique(found[moved]).tolist()}
        for index, path in targets.items():
            if index not in touched:
                self._file(index).rename(path)
                continue
            rows = self._without(index, at, homes)
            here = coming.filter(pl.col(PARTITION) == index).drop(PARTITION)
            if here.height:
                mine = np.flatnonzero((homes == index) & (found == index))
                numbered = pl.concat([rows, pl.LazyFrame({_AT: mine})], how="horizontal")
                rows = numbered.merge_sorted(here.lazy(), key=_AT).drop(_AT)
            with writing(path):
                rows.sink_parquet(path, maintain_order=True, **OPTIONS)

    def _work(self) -> None:
        rows = register_io_source(self._source, schema=self._schema)
        with writing(self._directory):
            if len(self._partitions) == 1:
                path = self._directory / "0.parquet"
                rows.drop(PARTITION).sink_parquet(path, maintain_order=True, **OPTIONS)
                return
            size = max(OPEN_ROWS // len(self._partitions), ROW_GROUP_ROWS_MIN)
            parts = pl.PartitionBy(self._directory, key=PARTITION, include_key=False, approximate_bytes_per_file=None)
            rows.sink_parquet(parts, maintain_order=True, **in_groups_of(size))

    def _source(
        self,
        columns: list[str] | None,
        _predicate: pl.Expr | None,
        _rows: int | None,
        _batch: int | None,
    ) -> Iterator[pl.DataFrame]:
        while (frame := self._frames.get()) is not None:
            yield frame if columns is None else frame.select(columns)

    def _end(self) -> None:
        """Wait until everything is written."""
        if not self._done.done():
            self.put(None)
        self._done.result()

    def _file(self, index: int) -> Path:
        """The one file of a partition."""
        if len(self._partitions) == 1:
            return self._directory / "0.parquet"
        found = sorted((self._directory / f"{PARTITION}={index}").glob("*.parquet"))
        if len(found) == 1:
            return found[0]
        path = self._directory / f"{index}.parquet"
        if not path.exists():
            empty = pl.LazyFrame(schema=self._schema).drop(PARTITION)
            with writing(path):
                (pl.scan_parquet(found, glob=False) if found else empty).sink_parquet(path, **OPTIONS)
        return path

    def _part(self, index: int) -> pl.LazyFrame:
        return pl.scan_parquet(self._file(index), glob=False)

    def _without(self, index: int, at: npt.NDArray[np.intp], homes: Indices) -> pl.LazyFrame:
        """Rows of a file that stay in it."""
        mine = np.flatnonzero(homes == index)
        gone = pl.LazyFrame({_AT: np.searchsorted(mine, at[homes[at] == index]).astype(np.uint32)})
        rows = self._part(index).with_row_index(_AT)
        return rows.join(gone, on=_AT, how="anti", maintain_order="left").drop(_AT)

    def _texts(self, moved: npt.NDArray[np.intp], homes: Indices, found: Indices) -> pl.DataFrame:
        """Rows that belong to another partition, with `_partition` and their place among all rows."""
        frames = []
        for index in np.unique(homes[moved]).tolist():
            own = moved[homes[moved] == index]
            places = np.searchsorted(np.flatnonzero(homes == index), own).astype(np.uint32)
            chosen = pl.LazyFrame({"_row": places, _AT: own, PARTITION: found[own]})
            rows = self._part(index).with_row_index("_row")
            frames.append(rows.join(chosen, on="_row", how="inner", maintain_order="left").drop("_row").collect())
        if not frames:
            return pl.DataFrame(schema={PARTITION: pl.UInt16})
        names = [name for name in self._schema if name != PARTITION]
        return pl.concat(frames).sort(_AT).select(*names, _AT, PARTITION)
