"""Records as raw bytes: how a text falls into them, and which of them were seen before.

A record whose bytes hash to a stored value was read before and need not be parsed again. A `Splitter` says where
records end; `Index` finds stored hashes; `scan` walks over a text and tells known records from candidates.

The walk is exact in its own terms: it starts between records, a known record is whole, and what is unknown is joined
with what follows until it is whole. A candidate is therefore a run of bytes that starts and ends between records, of
which only a parser knows how many rows it holds.
"""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
import xxhash

GROUP_PIECES = 8_192
"""Pieces that are looked up together: enough for array operations to pay, few enough to stay in the cache."""
JOINED_BYTES_MAX = 65_536
"""As in `records`: a quoted value that is longer is taken for an unbalanced quote."""
CARRIED_BYTES_MAX = JOINED_BYTES_MAX * 128
CANDIDATE, INSIDE = -1, -2
"""In `Scanned.places`: a record that has to be parsed; the rest of a record, or nothing but blanks."""
NOT_FOUND = -1
AMONG_PIECE = 1 << 20
"""Hashes that are looked for at once."""

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int32]
Breaks = npt.NDArray[np.int32]

hash_of = xxhash.xxh3_64_intdigest


class Finder(Protocol):
    """Knows the hashes of records that were read before."""

    def find(self, hashes: Hashes) -> Places:
        """Return the place of each, or -1."""
        ...


class UnsuitableError(Exception):
    """The text cannot be walked record by record: everything has to be parsed."""


class Splitter(Protocol):
    """How a text falls into records: behind a head, cut at `end`, pieces joined until they are whole."""

    @property
    def head_bytes(self) -> int:
        """What comes before the first record: a header, or the beginning of a document."""
        ...

    @property
    def end(self) -> bytes: ...

    @property
    def guard(self) -> bytes:
        """What must be the same for the bytes of a record to mean the same row."""
        ...

    @property
    def numbered(self) -> bool:
        """Records are named by their number instead of by their line."""
        ...

    def measured(self, pieces: list[bytes]) -> tuple[Hashes, Breaks | None]:
        """Return the hash of each piece, and of each the line breaks in front of the record and in all.

        Without breaks each piece is one line, or one number.
        """
        ...

    def hash_of(self, content: bytes) -> int: ...

    def goes_on(self, content: bytes) -> bool:
        """Tell whether the record needs the next piece to be whole."""
        ...

    def unsure(self, pieces: list[bytes]) -> Iterable[int]:
        """Return which pieces may need the next one or may not be plain; all others are records and plain."""
        ...

    def is_nothing(self, piece: bytes) -> bool: ...

    def is_plain(self, content: bytes) -> bool:
        """Tell whether a record that gave exactly one row may be known by its hash."""
        ...

    def last(self, carried: bytes) -> tuple[bytes | None, bytes]:
        """Return the record behind the last `end`, and what closes the document."""
        ...


def among(hashes: Hashes, chosen: Hashes) -> npt.NDArray[np.bool_]:
    """Tell which hashes are among the chosen ones, in little memory however many there are."""
    found = np.zeros(hashes.size, dtype=bool)
    known = np.unique(chosen)
    if known.size:
        for at in range(0, hashes.size, AMONG_PIECE):
            some = hashes[at : at + AMONG_PIECE]
            places = np.minimum(np.searchsorted(known, some), known.size - 1)
            found[at : at + AMONG_PIECE] = known[places] == some
    return found


@dataclass(frozen=True, slots=True)
class Index:
    """Finds the place of a stored hash. `starts` is a directory over the top bits of the sorted `keys`."""

    keys: Hashes
    places: Places
    starts: npt.NDArray[np.uint32]

    @classmethod
    def of(cls, hashes: Hashes, places: Places) -> "Index":
        """Build an index. A hash that stands for two places finds neither: both will be looked at."""
        order = np.argsort(hashes, kind="stable")
        keys, places = hashes[order], places[order]
        same = np.flatnonzero(keys[1:] == keys[:-1])
        if same.size:
            unique = np.ones(keys.size, dtype=bool)
            unique[same] = unique[same + 1] = False
            keys, places = keys[unique], places[unique]
        bits = max(int(keys.size).bit_length() - 1, 0)
        edges = np.arange(1, 1 << bits, dtype=np.uint64) << np.uint64(64 - bits) if bits else np.empty(0, np.uint64)
        inner = np.searchsorted(keys, edges)
        starts = np.concatenate(([0], inner, [keys.size])).astype(np.uint32)
        return cls(keys, places, starts)

    def find(self, hashes: Hashes) -> Places:
        """Return the place of each hash, or -1."""
        found = np.full(hashes.size, NOT_FOUND, dtype=np.int32)
        if not self.keys.size:
            return found
        bits = (self.starts.size - 1).bit_length() - 1
        top = (hashes >> np.uint64(64 - bits)).astype(np.int64) if bits else np.zeros(hashes.size, np.int64)
        at = self.starts[top].astype(np.int64)
        stop = self.starts[top + 1]
        active = np.flatnonzero(at < stop)
        while active.size:
            here = at[active]
            hit = self.keys[here] == hashes[active]
            found[active[hit]] = self.places[here[hit]]
            active = active[~hit]
            at[active] += 1
            active = active[at[active] < stop[active]]
        return found


@dataclass(slots=True)
class Scanned:
    """What a walk met. `places` has one entry per piece; `breaks` as well, where pieces are not lines."""

    places: list[Places] = field(default_factory=list)
    breaks: list[Breaks] = field(default_factory=list)
    tail: bytes = b""
    candidate_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Chosen:
    """Records that have to be parsed. `pieces` count from the start of the walk."""

    pieces: list[int]
    contents: list[bytes]
    hashes: list[int]


def scan(
    blocks: Iterable[bytes], splitter: Splitter, index: Finder, scanned: Scanned, *, final: bool = True
) -> Iterator[Chosen]:
    """Walk over blocks of a text that starts with a record. Yields candidates in order, many at once; fills `scanned`.

    Without `final` the text ends behind an `end`, and another walk goes on there.
    """
    pieces: list[bytes] = []
    carried = b""
    done = 0
    for block in blocks:
        fresh = (carried + block).split(splitter.end)
        carried = fresh.pop()
        pieces += fresh
        if len(pieces) >= GROUP_PIECES:
            used = yield from _group(pieces, splitter, index, scanned, done)
            done += used
            pieces = pieces[used:]
        if len(carried) > CARRIED_BYTES_MAX:
            raise UnsuitableError
    if final:
        last, scanned.tail = splitter.last(carried)
        pieces += [last] if last is not None else []
    elif carried:
        raise UnsuitableError
    if pieces:
        used = yield from _group(pieces, splitter, index, scanned, done)
        if used < len(pieces):
            raise UnsuitableError  # a record is not whole at the end


def _group(
    pieces: list[bytes], splitter: Splitter, index: Finder, scanned: Scanned, done: int
) -> Generator[Chosen, None, int]:
    """Look up pieces. Returns how many were used: a record that may go on waits for the next group."""
    count = len(pieces)
    hashes, breaks = splitter.measured(pieces)
    places = index.find(hashes)
    met: list[int] = []
    contents: list[bytes] = []
    digests: list[int] = []
    used = count
    after = 0
    for at in np.flatnonzero(places < 0).tolist():
        if at < after:
            continue
        content = pieces[at]
        if splitter.goes_on(content):
            after = _closing(pieces, at, splitter)
            if after < 0:
                used = at
                break
            content = splitter.end.join(pieces[at:after])
            digests.append(splitter.hash_of(content))
            places[at + 1 : after] = INSIDE
        elif splitter.is_nothing(content):
            places[at] = INSIDE
            continue
        else:
            digests.append(int(hashes[at]))
        met.append(at)
        contents.append(content)
    places = places[:used]
    known = index.find(np.array(digests, np.uint64))
    places[met] = known
    unknown = np.flatnonzero(known < 0).tolist()
    if unknown:
        chosen = Chosen(
            [met[each] + done for each in unknown],
            [contents[each] for each in unknown],
            [digests[each] for each in unknown],
        )
        scanned.candidate_bytes += sum(map(len, chosen.contents))
        yield chosen
    scanned.places.append(places)
    if breaks is not None:
        scanned.breaks.append(breaks[:used])
    return used


def _closing(pieces: list[bytes], at: int, splitter: Splitter) -> int:
    """Return the piece behind the record that starts at `at`, or -1 where it is not in sight yet."""
    content = pieces[at]
    for number in range(at + 1, len(pieces)):
        content += splitter.end + pieces[number]
        if len(content) > JOINED_BYTES_MAX + len(pieces[at]):
            raise UnsuitableError
        if not splitter.goes_on(content):
            return number + 1
    return -1


@dataclass(frozen=True, slots=True)
class Hashed:
    """Records of a text: the line, or number, on which each starts, and its hash; 0 where it may not be known by it."""

    starts: npt.NDArray[np.int64]
    hashes: Hashes


def hash_records(blocks: Iterable[bytes], splitter: Splitter, first_line: int, *, torn: bool) -> Hashed:
    """Hash all records of a text that starts with one. What shares a line with another has no hash.

    `torn`: there were rows that could not be read; then a record of several pieces may be more than one row.
    """
    found = _Records(splitter, first_line, torn=torn)
    pieces: list[bytes] = []
    carried = b""
    for block in blocks:
        fresh = (carried + block).split(splitter.end)
        carried = fresh.pop()
        pieces += fresh
        if len(pieces) >= GROUP_PIECES:
            pieces = pieces[found.add(pieces) :]
        if len(carried) > CARRIED_BYTES_MAX:
            raise UnsuitableError
    last, _ = splitter.last(carried)
    pieces += [last] if last is not None else []
    if found.add(pieces) < len(pieces):
        raise UnsuitableError
    return found.hashed()


class _Records:
    def __init__(self, splitter: Splitter, first_line: int, *, torn: bool) -> None:
        self._splitter = splitter
        self._line = first_line
        self._torn = torn
        self._starts: list[npt.NDArray[np.int64]] = []
        self._stops: list[npt.NDArray[np.int64]] = []
        self._hashes: list[Hashes] = []

    def add(self, pieces: list[bytes]) -> int:
        """Hash the records of some pieces, and return how many were used: the last may need more of them."""
        splitter = self._splitter
        if not pieces:
            return 0
        hashes, breaks = splitter.measured(pieces)
        used, after = len(pieces), 0
        keeps = np.ones(used, bool)
        for at in splitter.unsure(pieces):
            if at < after:
                continue
            content = pieces[at]
            if splitter.goes_on(content):
                after = _closing(pieces, at, splitter)
                if after < 0:
                    used = at
                    break
                keeps[at + 1 : after] = False
                content = splitter.end.join(pieces[at:after])
                hashes[at] = 0 if self._torn else splitter.hash_of(content)
            if not splitter.is_plain(content):
                hashes[at] = 0
        self._place(hashes[:used], keeps[:used], breaks[:used] if breaks is not None else None)
        return used

    def _place(self, hashes: Hashes, keeps: npt.NDArray[np.bool_], breaks: Breaks | None) -> None:
        starts, stops = lines_of(keeps, breaks, self._line, numbered=self._splitter.numbered)
        self._line = int(stops[-1]) + (breaks is None) if stops.size else self._line
        at = np.flatnonzero(keeps)
        self._starts.append(starts[at])
        self._stops.append(stops[np.append(at[1:], keeps.size) - 1] if at.size else stops)
        self._hashes.append(hashes[at])

    def hashed(self) -> Hashed:
        if not self._starts:
            return Hashed(np.empty(0, np.int64), np.empty(0, np.uint64))
        starts, stops = np.concatenate(self._starts), np.concatenate(self._stops)
        hashes = np.concatenate(self._hashes)
        hashes[1:][starts[1:] <= stops[:-1]] = 0
        hashes[:-1][starts[1:] == starts[:-1]] = 0
        return Hashed(starts, hashes)


def lines_of(
    begins: npt.NDArray[np.bool_], breaks: Breaks | None, first: int, *, numbered: bool
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the line, or number, on which each piece starts, and the one on which it ends."""
    if breaks is not None:
        stops = first + np.cumsum(breaks[:, 1], dtype=np.int64)
        return stops - breaks[:, 1] + breaks[:, 0], stops
    steps = np.cumsum(begins, dtype=np.int64) if numbered else np.arange(1, begins.size + 1, dtype=np.int64)
    lines = first - 1 + steps
    return lines, lines
