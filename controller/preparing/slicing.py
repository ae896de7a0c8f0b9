"""Tables of one partition, taken in ranges of ids that fit into memory.

The ranges ascend, and each holds every row of its ids, so that joins by id, sorting by id and counting give the same
as on everything at once, whatever the size of a range. Rows are dealt out on the disk in one pass.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from controller.preparing.objects import reading, writing
from controller.products.fields import ID

SLICE_ROWS = 500_000
"""Rows of the largest table in one range. Comparing so many takes about 0.5 GiB."""
SAMPLES_PER_SLICE = 2_000
_SLICE = "_slice"
_GROUP_ROWS = 500_000
"""Rows that wait until their row group is full, over all ranges."""


class Sliced:
    """Rows of several tables, range by range. `scratch` is a directory to be filled.

    Each range is read once and then gone, unless it `stays`.
    """

    def __init__(
        self, tables: Mapping[str, pl.LazyFrame], scratch: Path, slice_rows: int = SLICE_ROWS, *, stays: bool = False
    ) -> None:
        self._tables = tables
        self._stays = stays
        with reading():
            heights = {name: int(table.select(pl.len()).collect().item()) for name, table in tables.items()}
            largest = max(heights, key=lambda name: heights[name])
            self._edges: Sequence[str] = ()
            if heights[largest] > slice_rows:
                self._edges = _edges(tables[largest], heights[largest], slice_rows)
                self._files = {name: _dealt(table, self._edges, scratch / name) for name, table in tables.items()}

    @property
    def count(self) -> int:
        return len(self._edges) + 1

    def __iter__(self) -> Iterator[dict[str, pl.DataFrame]]:
        if not self._edges:
            with reading():
                yield {name: table.collect() for name, table in self._tables.items()}
            return
        for number in range(self.count):
            yield {
                name: _taken(self._files[name] / f"{_SLICE}={number}", table, stays=self._stays)
                for name, table in self._tables.items()
            }


class Scratch:
    """Frames that wait on the disk."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = itertools.count()

    def directory(self, name: str) -> Path:
        return self._directory / name

    def put_by(self, rows: pl.DataFrame) -> pl.LazyFrame:
        path = self._directory / f"{next(self._numbers):06}.parquet"
        with writing(path):
            rows.write_parquet(path, compression="lz4", statistics=False)
        return pl.scan_parquet(path, glob=False)


def _edges(table: pl.LazyFrame, height: int, slice_rows: int) -> Sequence[str]:
    """First ids of all ranges but the first one, from a sample."""
    count = -(-height // slice_rows)
    every = max(height // (count * SAMPLES_PER_SLICE), 1)
    sample = table.select(pl.col(ID).gather_every(every)).collect().to_series().sort()
    places = [len(sample) * number // count for number in range(1, count)]
    return sample.gather(places).unique().sort().to_list()


def _dealt(table: pl.LazyFrame, edges: Sequence[str], directory: Path) -> Path:
    """Write the rows of each range to a directory of its own."""
    number = pl.sum_horizontal((pl.col(ID) >= edge).cast(pl.UInt16) for edge in edges)
    directory.mkdir(parents=True)
    parts = pl.PartitionBy(directory, key=number.alias(_SLICE), include_key=False, approximate_bytes_per_file=None)
    with writing(directory):
        table.sink_parquet(
            parts,
            compression="lz4",
            statistics=False,
            maintain_order=True,
            row_group_size=_GROUP_ROWS // (len(edges) + 1),
        )
    return directory


def _taken(directory: Path, table: pl.LazyFrame, *, stays: bool) -> pl.DataFrame:
    files = sorted(directory.glob("*.parquet"))
    if not files:
        return pl.DataFrame(schema=table.collect_schema())
    rows = pl.scan_parquet(files, glob=False).collect()
    for file in files if not stays else ():
        file.unlink()
    return rows
