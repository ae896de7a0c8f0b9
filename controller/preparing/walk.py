"""Walks over a large file: which records are known, and the others' bytes.

The file is cut into windows that end with a record, as far as bytes can tell. Threads cut and hash the next ones, which
leaves Python free for most of the time, while the hashes of the one before are looked up.
"""

import contextlib
import os
import tempfile
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from controller.products.raw import (
    CARRIED_BYTES_MAX,
    Chosen,
    Finder,
    Places,
    Scanned,
    UnsuitableError,
    Window,
    last_window,
    scan,
)
from controller.products.splitting import Splitter

BLOCK_BYTES = 1 << 18
"""Stays in the second-level cache."""
WINDOW_BYTES = 8 << 20
"""Large enough that starting a query does not show. The allocator keeps so much, so that its pages stay mapped."""
EDGE_BYTES = 1 << 16
"""Of a window's end: nearly always enough to find the end of a record."""
THREADS = 2
HELD_BYTES_MAX = 64 << 20
"""So many bytes of candidates wait in memory before they go to the disk."""
CANDIDATE_SHARE_MAX = 0.5
"""Of the bytes. Above, parsing everything in one go is faster."""


@dataclass(slots=True)
class Candidates:
    """What is to be parsed, record by record; their bytes wait in a file."""

    pieces: list[int] = field(default_factory=list)
    """On which each starts."""
    lines: list[int] = field(default_factory=list)
    """Line, or number, on which each starts."""
    hashes: list[int] = field(default_factory=list)
    heights: list[int] = field(default_factory=list)
    """Lines, or numbers, that each takes among the others."""
    exact: list[bool] = field(default_factory=list)
    blank: list[bool] = field(default_factory=list)
    plain: list[bool] = field(default_factory=list)

    def add(self, found: Chosen, splitter: Splitter) -> None:
        self.pieces += found.pieces
        self.lines += found.lines
        self.hashes += found.hashes
        self.heights += map(splitter.height, found.contents)
        self.exact += map(splitter.is_exact, found.contents)
        self.blank += map(splitter.is_blank, found.contents)
        self.plain += map(splitter.is_plain, found.contents)


@dataclass(frozen=True, slots=True)
class Walked:
    """What a walk met. The candidates wait in a file without a name."""

    places: Places
    """Per piece of the file: place of a known record, or what `raw` says."""
    candidates: Candidates
    tail: bytes
    """What is behind the last record."""
    file: "IO[bytes]"

    def contents(self) -> Iterator[bytes]:
        """All candidates, as they are written, as one text."""
        self.file.seek(0)
        while piece := self.file.read(BLOCK_BYTES):
            yield piece


@contextlib.contextmanager
def walk(
    descriptor: int,
    size: int,
    splitter: Splitter,
    known: Finder,
    scratch: Path,
    *,
    shared_bytes_min: int,
    window_bytes: int = WINDOW_BYTES,
) -> Iterator[Walked]:
    """Walk over a file. Raises UnsuitableError where everything has to be parsed."""
    start = splitter.head_bytes
    if size == start:
        raise UnsuitableError  # a head and nothing else: whoever reads everything says what that means
    with tempfile.SpooledTemporaryFile(HELD_BYTES_MAX, "w+b", dir=str(scratch)) as file:
        shared = size - start >= shared_bytes_min
        parts = windows(descriptor, start, size, splitter, shared=shared, window_bytes=window_bytes)
        found = _walked(parts, size - start, splitter, known, file)
        if (
            not splitter.tail_follows
            and os.pread(descriptor, len(splitter.end), size - len(splitter.end)) != splitter.end
        ):
            _must_be_known(found)
        yield found


def _walked(
    parts: Generator[Window, None, None], size: int, splitter: Splitter, known: Finder, file: IO[bytes]
) -> Walked:
    scanned, candidates = Scanned(), Candidates()
    bytes_max = max(int(size * CANDIDATE_SHARE_MAX), BLOCK_BYTES)
    with contextlib.closing(parts):
        for chosen in scan(parts, splitter, known, splitter.first_line, scanned):
            file.write(b"".join(map(splitter.written, chosen.contents)))
            candidates.add(chosen, splitter)
            if scanned.candidate_bytes > bytes_max:
                raise UnsuitableError
    places = np.concatenate(scanned.places) if scanned.places else np.empty(0, np.int32)
    return Walked(places, candidates, scanned.tail, file)


def _must_be_known(found: Walked) -> None:
    """A file whose last record has no end may be cut: only a parser can tell, unless the record is known."""
    if not found.places.size or found.places[-1] < 0:
        raise UnsuitableError


def windows(
    descriptor: int, start: int, stop: int, splitter: Splitter, *, shared: bool = True, window_bytes: int = WINDOW_BYTES
) -> Generator[Window, None, None]:
    """Cut a part of a file that starts with a record. `shared`: threads may help."""
    edges = _edges(descriptor, start, stop, splitter.end, window_bytes)
    if not shared:
        for first, behind in edges:
            yield _window(descriptor, first, behind, stop, splitter)
        return
    with ThreadPoolExecutor(THREADS, "windows") as pool:
        coming: deque[Future[Window]] = deque()
        try:
            for first, behind in edges:
                coming.append(pool.submit(_window, descriptor, first, behind, stop, splitter))
                if len(coming) > THREADS:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            for each in coming:
                each.cancel()


def _window(descriptor: int, first: int, behind: int, stop: int, splitter: Splitter) -> Window:
    text = os.pread(descriptor, behind - first, first)
    if len(text) < behind - first:
        raise UnsuitableError  # the file was cut meanwhile
    return last_window(text, splitter) if behind == stop else Window(splitter.cut(text))


def _edges(descriptor: int, start: int, stop: int, end: bytes, window_bytes: int) -> Iterator[tuple[int, int]]:
    while start < stop:
        behind = _edge(descriptor, start, stop, end, window_bytes)
        yield start, behind
        start = behind


def _edge(descriptor: int, start: int, stop: int, end: bytes, window_bytes: int) -> int:
    """Return a place behind an `end`, or the last one."""
    size = window_bytes
    while start + size < stop:
        for looked in (min(EDGE_BYTES, size), size):
            text = os.pread(descriptor, looked, start + size - looked)
            found = text.rfind(end)
            if found >= 0:
                return start + size - looked + found + len(end)
        if size > CARRIED_BYTES_MAX:
            raise UnsuitableError
        size *= 2
    return stop
