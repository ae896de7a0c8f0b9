"""Rows of a read that wait on the disk until it is known where each belongs.

A source is mapped and checked block by block, but which partition a row lives in, and whether its id comes twice, is
known only after the last one. Decisions need a few narrow columns, which stay in memory; the rows themselves are
spilled as soon as there are more than a few blocks, and go from there to their tables in one pass.
"""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import polars as pl

from controller.preparing.objects import EAGER_ROWS_MAX, OPTIONS, writing
from controller.products.partition import PARTITION
from controller.products.rules import REJECTED

ORDER = "_order"
"""Number of a row within the read."""
PRIVATE = (ORDER, REJECTED)
"""Columns that end with the read."""
HELD_BYTES_MAX = 96 << 20
"""So much waits in memory before anything goes to the disk."""


class Spill:
    """Takes frames of one shape. Use as a context manager; the files are gone afterwards."""

    def __init__(self, directory: Path, held_bytes_max: int = HELD_BYTES_MAX) -> None:
        self._parent = directory
        self._directory: Path | None = None
        self._held: list[pl.DataFrame] = []
        self._left_bytes = held_bytes_max
        self._files: list[Path] = []
        self._rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    def add(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Take a frame and return it with `_order`."""
        numbered = frame.with_columns(
            pl.int_range(self._rows, self._rows + frame.height, dtype=pl.UInt32, eager=True).alias(ORDER)
        )
        self._rows += frame.height
        self._left_bytes -= int(numbered.estimated_size())
        self._held.append(numbered)
        if self._left_bytes < 0:
            for each in self._held:
                self._write(each)
            self._held.clear()
        return numbered

    def rows(self) -> pl.LazyFrame:
        if self._files:
            return pl.scan_parquet(self._files, glob=False)
        return pl.concat(self._held).lazy() if self._held else pl.LazyFrame()

    def _write(self, frame: pl.DataFrame) -> None:
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="rows-", dir=self._parent))
        path = self._directory / f"{len(self._files):06}.parquet"
        with writing(path):
            frame.write_parquet(path, compression="lz4", statistics=False)
        self._files.append(path)


def sink(rows: pl.LazyFrame, placed: pl.DataFrame, key: str, targets: Mapping[int, Path], scratch: Path) -> None:
    """Write each row of `placed` (key, `_partition`) from `rows` to the file of its partition, in one pass."""
    chosen = placed.lazy().select(key, PARTITION)
    private = [name for name in PRIVATE if name in rows.collect_schema()]
    if placed.height <= EAGER_ROWS_MAX:
        whole = rows.join(chosen, on=key, how="inner", maintain_order="left").drop(private).collect()
        for index, path in targets.items():
            with writing(path):
                whole.filter(pl.col(PARTITION) == index).drop(PARTITION).write_parquet(path, **OPTIONS)
        return
    if len(targets) == 1:
        (path,) = targets.values()
        _write(rows.join(chosen, on=key, how="semi", maintain_order="left").drop(private), path, path)
        return
    with tempfile.TemporaryDirectory(prefix="parts-", dir=scratch) as name:
        directory = Path(name)
        parts = pl.PartitionBy(directory, key=PARTITION, include_key=False, approximate_bytes_per_file=None)
        _write(rows.join(chosen, on=key, how="inner", maintain_order="left").drop(private), parts, directory)
        for index, path in targets.items():
            found = sorted((directory / f"{PARTITION}={index}").glob("*.parquet"))
            if len(found) == 1:
                found[0].rename(path)
            else:
                _write(pl.scan_parquet(found, glob=False) if found else rows.drop(private).head(0), path, path)


def _write(rows: pl.LazyFrame, target: Path | pl.PartitionBy, at: Path) -> None:
    with writing(at):
        rows.sink_parquet(target, maintain_order=True, **OPTIONS)
