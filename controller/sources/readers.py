"""The one way from a spooled file to frames of text, whatever its format.

    shape = readers.shape(entry.format, spooled)
    opened = readers.open_rows(shape, spooled, findings, line_bytes_max)
    opened.columns, opened.frames

Columns are known before the first frame is used. Delimited text and Parquet name them first; in the other formats any
row may bring a new one, so that the frames of a file larger than a few blocks wait on the disk until all were read.
"""

import io
import itertools
import os
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from controller.api.v1alpha1.items import FileFormat, FileType
from controller.faults import Disposition, Fault
from controller.products import reading
from controller.products.records import LINE, Findings
from controller.products.shapes import HEAD_BYTES, Shape, shape_of
from controller.sources import parquet
from controller.sources.direct import Delivered

KEPT_BYTES_MAX = 32 << 20
"""A file of this size may be in memory as frames."""
_COLUMNS_FIRST = frozenset({FileType.CSV, FileType.TSV, FileType.PARQUET})


@dataclass(frozen=True, slots=True)
class Opened:
    """Rows to be read once. `columns` are the source's, in order; a frame may lack some of them."""

    columns: tuple[str, ...]
    frames: Iterable[pl.DataFrame]


def shape(declared: FileFormat, spooled: Delivered) -> Shape:
    return shape_of(declared, spooled.head(HEAD_BYTES))


def open_rows(found: Shape, spooled: Delivered, findings: Findings, line_bytes_max: int) -> Opened:
    """Begin to read. What is unreadable is in `findings` once the frames are exhausted."""
    frames = _frames(found, spooled, findings, line_bytes_max)
    if found.type in _COLUMNS_FIRST:
        first = list(itertools.islice(frames, 1))
        return Opened(_names(first), itertools.chain(first, frames))
    if spooled.size <= KEPT_BYTES_MAX:
        seen = list(frames)
        return Opened(_names(seen), seen)
    kept = _Kept(spooled.scratch)
    columns = _names(map(kept.add, frames))
    return Opened(columns, kept.frames())


class _Kept:
    """Frames that wait in a file without a name; parsing them again would take ten times as long."""

    def __init__(self, directory: Path) -> None:
        with tempfile.TemporaryFile(dir=directory) as file:
            self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)
        self._ends = [0]

    def add(self, frame: pl.DataFrame) -> pl.DataFrame:
        buffer = io.BytesIO()
        frame.write_ipc(buffer, compression="lz4")
        with os.fdopen(os.dup(self._descriptor), "wb") as file:
            file.write(buffer.getbuffer())
        self._ends.append(self._ends[-1] + buffer.tell())
        return frame

    def frames(self) -> Iterator[pl.DataFrame]:
        for start, end in itertools.pairwise(self._ends):
            content = os.pread(self._descriptor, end - start, start)
            yield pl.read_ipc(io.BytesIO(content))


def require(columns: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuse a read that lacks a column that `evidence.requiredColumns` names."""
    missing = [each for each in wanted if each not in columns]
    if missing:
        raise Fault(
            "SourceMalformed",
            Disposition.RETRY,
            f"the source has no column {', '.join(map(repr, missing[:5]))}, which evidence.requiredColumns asks for; "
            f"it has {', '.join(map(repr, columns[:8]))}{' …' if len(columns) > 8 else ''}",
        )


def _frames(found: Shape, spooled: Delivered, findings: Findings, line_bytes_max: int) -> Iterator[pl.DataFrame]:
    if found.type is FileType.PARQUET:
        return parquet.read(spooled.path, findings)
    return reading.read(spooled.pieces(), found, findings, line_bytes_max=line_bytes_max)


def _names(frames: Iterable[pl.DataFrame]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for frame in frames for name in frame.columns if name != LINE))
