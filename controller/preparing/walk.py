"""Walks over a large file, with a second process where that pays: which records are known, and the others' bytes.

The second half starts at a known record, because such a one is taken to stand outside of quotes and other text. If the
first half does not end exactly there, the guess was wrong and the walk is done again in one piece.

The second process is a fork of this one: it starts in a millisecond and shares the index. It touches arrays and files
only, is bound to this process, and is gone when the walk ends.
"""

import contextlib
import os
import pickle
import signal
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from controller.preparing.lifetime import bind_to_parent
from controller.products.raw import INSIDE, Chosen, Finder, Places, Scanned, UnsuitableError, lines_of, scan
from controller.products.splitting import Splitter

BLOCK_BYTES = 1 << 18
"""Stays in the second-level cache."""
GUESS_BYTES = 1 << 20
CANDIDATE_SHARE_MAX = 0.5
"""Of the bytes. Above, parsing everything in one go is faster."""
EXIT_UNSUITABLE = 9


@dataclass(slots=True)
class Candidates:
    """What is to be parsed, record by record; their bytes wait in a file."""

    pieces: list[int] = field(default_factory=list)
    """On which each starts."""
    hashes: list[int] = field(default_factory=list)
    heights: list[int] = field(default_factory=list)
    """Lines, or numbers, that each takes in the file."""
    exact: list[bool] = field(default_factory=list)
    blank: list[bool] = field(default_factory=list)
    plain: list[bool] = field(default_factory=list)

    def add(self, found: Chosen, splitter: Splitter) -> None:
        self.pieces += found.pieces
        self.hashes += found.hashes
        self.heights += map(splitter.height, found.contents)
        self.exact += map(splitter.is_exact, found.contents)
        self.blank += map(splitter.is_blank, found.contents)
        self.plain += map(splitter.is_plain, found.contents)

    def extend(self, other: "Candidates", pieces: int) -> None:
        """Take those of the second half, behind so many pieces of the first."""
        self.pieces += [piece + pieces for piece in other.pieces]
        self.hashes += other.hashes
        self.heights += other.heights
        self.exact += other.exact
        self.blank += other.blank
        self.plain += other.plain


@dataclass(slots=True)
class Walked:
    """What a walk met. The candidates wait in files without a name."""

    places: Places
    """Per piece of the file: place of a known record, or what `raw` says."""
    lines: npt.NDArray[np.int64]
    """Line, or number, on which each piece starts."""
    candidates: Candidates
    tail: bytes
    """What is behind the last record."""
    files: "list[IO[bytes]]"

    def contents(self) -> Iterator[bytes]:
        """All candidates, as they are written, as one text."""
        for file in self.files:
            file.seek(0)
            while piece := file.read(BLOCK_BYTES):
                yield piece


@dataclass(frozen=True, slots=True)
class _Half:
    scanned: Scanned
    candidates: Candidates


@contextlib.contextmanager
def walk(
    descriptor: int,
    size: int,
    splitter: Splitter,
    known: Finder,
    scratch: Path,
    *,
    shared_bytes_min: int,
) -> Iterator[Walked]:
    """Walk over a file. Raises UnsuitableError where everything has to be parsed."""
    start = splitter.head_bytes
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile(dir=scratch)) for _ in range(3)]
        found = None
        if size == start:
            raise UnsuitableError  # a head and nothing else: whoever reads everything says what that means
        if size - start >= shared_bytes_min:
            middle = _known_start(descriptor, start + (size - start) // 2, splitter, known)
            if middle is not None:
                found = _shared(descriptor, (start, middle, size), splitter, known, files)
        if found is None:
            files[0].seek(0)
            files[0].truncate()
            found = _joined(splitter, [(_half(descriptor, start, size, splitter, known, files[0]), files[0])])
        if (
            not splitter.tail_follows
            and os.pread(descriptor, len(splitter.end), size - len(splitter.end)) != splitter.end
        ):
            _must_be_known(found)
        yield found


def _must_be_known(found: Walked) -> None:
    """A file whose last record has no end may be cut: only a parser can tell, unless the record is known."""
    if not found.places.size or found.places[-1] < 0:
        raise UnsuitableError


def blocks(descriptor: int, start: int, stop: int) -> Iterator[bytes]:
    while start < stop:
        block = os.pread(descriptor, min(BLOCK_BYTES, stop - start), start)
        if not block:
            return
        start += len(block)
        yield block


def _half(
    descriptor: int, start: int, stop: int, splitter: Splitter, known: Finder, file: IO[bytes], *, final: bool = True
) -> _Half:
    scanned = Scanned()
    candidates = Candidates()
    bytes_max = max(int((stop - start) * CANDIDATE_SHARE_MAX), BLOCK_BYTES)
    for chosen in scan(blocks(descriptor, start, stop), splitter, known, scanned, final=final):
        file.write(b"".join(map(splitter.written, chosen.contents)))
        candidates.add(chosen, splitter)
        if scanned.candidate_bytes > bytes_max:
            raise UnsuitableError
    file.flush()
    return _Half(scanned, candidates)


def _joined(splitter: Splitter, halves: list[tuple[_Half, IO[bytes]]]) -> Walked:
    found, candidates = Scanned(), Candidates()
    pieces = 0
    for half, _ in halves:
        found.places += half.scanned.places
        found.breaks += half.scanned.breaks
        found.tail = half.scanned.tail
        candidates.extend(half.candidates, pieces)
        pieces += sum(each.size for each in half.scanned.places)
    places = np.concatenate(found.places) if found.places else np.empty(0, np.int32)
    breaks = np.concatenate(found.breaks) if found.breaks else None
    lines, _ = lines_of(places != INSIDE, breaks, splitter.first_line, numbered=splitter.numbered)
    return Walked(places, lines, candidates, found.tail, [file for _, file in halves])


def _known_start(descriptor: int, near: int, splitter: Splitter, known: Finder) -> int | None:
    """Find the start of a known record behind a place in the middle."""
    block = os.pread(descriptor, GUESS_BYTES, near)
    first = block.find(splitter.end)
    if first < 0:
        return None
    at = near + first + len(splitter.end)
    pieces = block[first + len(splitter.end) :].split(splitter.end)[:-1]
    if not pieces:
        return None
    found = known.find(splitter.measured(pieces)[0])
    for piece, place in zip(pieces, found.tolist(), strict=True):
        if place >= 0:
            return at
        at += len(piece) + len(splitter.end)
    return None


def _shared(
    descriptor: int, edges: tuple[int, int, int], splitter: Splitter, known: Finder, files: Sequence[IO[bytes]]
) -> Walked | None:
    """Walk in two processes; None where the first half did not end where the second began."""
    start, middle, stop = edges
    own, other, answer = files
    child = os.fork()
    if child == 0:
        _as_child(descriptor, (middle, stop), splitter, known, other, answer)
    ended = False
    try:
        try:
            first = _half(descriptor, start, middle, splitter, known, own, final=False)
        except UnsuitableError:
            return None
        _, status = os.waitpid(child, 0)
        ended = True
    finally:
        if not ended:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == EXIT_UNSUITABLE:
        return None
    if code != 0:
        raise ChildProcessError(f"the second process of a walk ended with {code}")
    answer.seek(0)
    second = pickle.load(answer)  # noqa: S301 - written by our own fork into a file without a name
    return _joined(splitter, [(first, own), (second, other)])


def _as_child(
    descriptor: int,
    edges: tuple[int, int],
    splitter: Splitter,
    known: Finder,
    file: IO[bytes],
    answer: IO[bytes],
) -> None:
    """Walk over the second half and end, whatever happens: nothing of the parent's may run here."""
    code = 1
    try:
        if bind_to_parent(os.getppid()):
            half = _half(descriptor, *edges, splitter, known, file)
            pickle.dump(half, answer, protocol=pickle.HIGHEST_PROTOCOL)
            answer.flush()
            code = 0
    except UnsuitableError:
        code = EXIT_UNSUITABLE
    finally:
        os._exit(code)
