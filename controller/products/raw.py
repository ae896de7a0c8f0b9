"""Records as raw bytes: how a text falls into them, and which of them were seen before.

A record whose bytes hash to a stored value was read before and need not be parsed again. A `Splitter` says where
records end; `Index` finds stored hashes; `scan` walks over a text and tells known records from candidates.

The walk is exact in its own terms: it starts between records, a known record is whole, and what is unknown is joined
with what follows until it is whole. A candidate is therefore a run of bytes that starts and ends between records, of
which only a parser knows how many rows it holds.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
import xxhash

GROUP_PIECES = 16_384
"""Hashes that are looked up together: enough for array operations to pay, few enough to stay in the cache."""
JOINED_BYTES_MAX = 65_536
"""As in `records`: a quoted value that is longer is taken for an unbalanced quote."""
JOINED_AT_ONCE = 16
CARRIED_BYTES_MAX = JOINED_BYTES_MAX * 128
INSIDE = -2
"""In `Scanned.places`: the rest of a record, or nothing but blanks. -1 is a record that has to be parsed."""
NOT_FOUND = -1
ANCHOR_EVERY = 8
"""Hashes of which one is looked up. Of a usual export, one in thirty has another neighbour than before."""
AMONG_PIECE = 1 << 20
"""Hashes that are looked for at once."""

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int32]
Positions = npt.NDArray[np.int64]
END_OF_LINE = b"\n"

hash_of = xxhash.xxh3_64_intdigest


@dataclass(frozen=True, slots=True)
class Pieces:
    """A text that was cut. Between a stop and the next start are an `end` and blanks that belong to neither."""

    text: bytes
    starts: Positions
    stops: Positions
    hashes: Hashes

    def __len__(self) -> int:
        return int(self.starts.size)

    def __iter__(self) -> Iterator[bytes]:
        for start, stop in zip(self.starts.tolist(), self.stops.tolist(), strict=True):
            yield self.text[start:stop]

    def contents(self, chosen: npt.NDArray[np.intp]) -> list[bytes]:
        edges = zip(self.starts[chosen].tolist(), self.stops[chosen].tolist(), strict=True)
        return [self.text[start:stop] for start, stop in edges]

    def behind(self, used: int, end: bytes) -> bytes:
        """Return the text behind so many pieces."""
        if used == len(self):
            return b""
        return self.text[int(self.stops[used - 1]) + len(end) if used else 0 :]


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

    def cut(self, text: bytes) -> Pieces:
        """Cut behind each `end`, and hash the pieces. The last one may have no end."""
        ...

    def may_go_on(self, contents: list[bytes]) -> Sequence[bool]:
        """Tell which records may need the next piece. Cheaper than `goes_on`, which knows."""
        ...

    def goes_on(self, content: bytes) -> bool:
        """Tell whether the record needs the next piece to be whole."""
        ...

    def unsure(self, pieces: Pieces) -> Iterable[int]:
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


@dataclass(frozen=True, slots=True)
class InOrder:
    """Finds hashes that mostly come in the order of their places, at half of what looking each of them up takes.

    Some are looked up; those between them are compared with what is stored around the places of these.
    """

    index: Index
    hashes: Hashes
    """By place; 0 where a place has none."""

    @classmethod
    def of(cls, index: Index, places: int) -> "InOrder":
        hashes = np.zeros(places, np.uint64)
        hashes[index.places] = index.keys
        return cls(index, hashes)

    def find(self, hashes: Hashes) -> Places:
        """Return the place of each hash, or -1."""
        anchors = self.index.find(hashes[::ANCHOR_EVERY]).astype(np.int64)
        number = np.arange(hashes.size)
        segment, offset = number // ANCHOR_EVERY, number % ANCHOR_EVERY
        found, missing = self._guessed(hashes, anchors[segment], offset)
        if missing.size:
            following = np.append(anchors[1:], NOT_FOUND)[segment[missing]]
            found[missing], left = self._guessed(hashes[missing], following, offset[missing] - ANCHOR_EVERY)
            missing = missing[left]
            found[missing] = self.index.find(hashes[missing])
        return found

    def _guessed(self, hashes: Hashes, anchors: Positions, offsets: Positions) -> tuple[Places, npt.NDArray[np.intp]]:
        """Return the places that are so far from the anchors, as far as they are right, and which are not."""
        places = anchors + offsets
        np.clip(places, 0, max(self.hashes.size - 1, 0), out=places)
        right = (anchors >= 0) & (hashes != 0)
        right &= self.hashes[places] == hashes if self.hashes.size else False
        return np.where(right, places, NOT_FOUND).astype(np.int32), np.flatnonzero(~right)


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a text that ends behind an `end`. Of the last one, `tail` is what is behind its last record."""

    pieces: Pieces
    tail: bytes = b""


def last_window(text: bytes, splitter: Splitter) -> Window:
    """Cut the last part of a text."""
    found = text.rfind(splitter.end)
    at = found + len(splitter.end) if found >= 0 else 0
    last, tail = splitter.last(text[at:])
    return Window(splitter.cut(text[:at] + (last or b"")), tail)


@dataclass(slots=True)
class Scanned:
    """What a walk met. `places` has one entry per piece."""

    places: list[Places] = field(default_factory=list)
    tail: bytes = b""
    candidate_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Chosen:
    """Records that have to be parsed. `pieces` count from the start of the walk; `lines` are where they start."""

    pieces: list[int]
    lines: list[int]
    contents: list[bytes]
    hashes: list[int]


def scan(
    windows: Iterable[Window], splitter: Splitter, index: Finder, first_line: int, scanned: Scanned
) -> Iterator[Chosen]:
    """Walk over a text that starts with a record. Yields candidates in order, many at once; fills `scanned`."""
    held = b""
    done, line = 0, first_line
    for window in windows:
        pieces = splitter.cut(held + window.pieces.text) if held else window.pieces
        group = _grouped(pieces, splitter, index)
        begins = group.places != INSIDE
        lines, line = _lines_at(pieces, begins, group.at, line, splitter)
        scanned.places.append(group.places)
        scanned.tail = window.tail
        if group.at:
            scanned.candidate_bytes += sum(map(len, group.contents))
            yield Chosen([each + done for each in group.at], lines, group.contents, group.hashes)
        done += group.places.size
        held = pieces.behind(group.places.size, splitter.end)
    if held:
        raise UnsuitableError  # a record is not whole at the end


@dataclass(frozen=True, slots=True)
class _Group:
    """Pieces that were looked up: the places of so many, and those that stand for records to be parsed."""

    places: Places
    at: list[int]
    contents: list[bytes]
    hashes: list[int]


def _grouped(pieces: Pieces, splitter: Splitter, index: Finder) -> _Group:
    """Look up pieces. A record that may go on waits for the next ones."""
    places = _found(index, pieces.hashes)
    met: list[int] = []
    contents: list[bytes] = []
    digests: list[int] = []
    used, after = places.size, 0
    missing = np.flatnonzero(places < 0)
    unknown = pieces.contents(missing)
    for at, piece, may_go_on in zip(missing.tolist(), unknown, splitter.may_go_on(unknown), strict=True):
        if at < after:
            continue
        content = piece
        if may_go_on and splitter.goes_on(content):
            content, after = _joined(pieces, at, splitter)
            if after < 0:
                used = at
                break
            digests.append(hash_of(content))
            places[at + 1 : after] = INSIDE
        elif splitter.is_nothing(content):
            places[at] = INSIDE
            continue
        else:
            digests.append(int(pieces.hashes[at]))
        met.append(at)
        contents.append(content)
    known = index.find(np.array(digests, np.uint64))
    places[met] = known
    new = np.flatnonzero(known < 0).tolist()
    return _Group(
        places[:used],
        [met[each] for each in new],
        [contents[each] for each in new],
        [digests[each] for each in new],
    )


def _found(index: Finder, hashes: Hashes) -> Places:
    parts = [index.find(hashes[at : at + GROUP_PIECES]) for at in range(0, hashes.size, GROUP_PIECES)]
    return np.concatenate(parts) if parts else np.empty(0, np.int32)


def _joined(pieces: Pieces, at: int, splitter: Splitter) -> tuple[bytes, int]:
    """Return the record that starts on a piece and the piece behind it, or -1 where that is not in sight yet."""
    start = int(pieces.starts[at])
    bytes_max = JOINED_BYTES_MAX + int(pieces.stops[at]) - start
    for seen in range(at + 1, len(pieces), JOINED_AT_ONCE):
        for number, stop in enumerate(pieces.stops[seen : seen + JOINED_AT_ONCE].tolist(), start=seen):
            content = pieces.text[start:stop]
            if len(content) > bytes_max:
                raise UnsuitableError
            if not splitter.goes_on(content):
                return content, number + 1
    return b"", -1


@dataclass(frozen=True, slots=True)
class Hashed:
    """Records of a text: the line, or number, on which each starts, and its hash; 0 where it may not be known by it."""

    starts: Positions
    hashes: Hashes


def hash_records(windows: Iterable[Window], splitter: Splitter, first_line: int, *, torn: bool) -> Hashed:
    """Hash all records of a text that starts with one. What shares a line with another has no hash.

    `torn`: there were rows that could not be read; then a record of several pieces may be more than one row.
    """
    found = _Records(splitter, first_line, torn=torn)
    held = b""
    for window in windows:
        pieces = splitter.cut(held + window.pieces.text) if held else window.pieces
        held = pieces.behind(found.add(pieces), splitter.end)
    if held:
        raise UnsuitableError
    return found.hashed()


class _Records:
    def __init__(self, splitter: Splitter, first_line: int, *, torn: bool) -> None:
        self._splitter = splitter
        self._line = first_line
        self._torn = torn
        self._starts: list[Positions] = []
        self._stops: list[Positions] = []
        self._hashes: list[Hashes] = []

    def add(self, pieces: Pieces) -> int:
        """Hash the records of some pieces, and return how many were used: the last may need more of them."""
        splitter = self._splitter
        hashes = pieces.hashes.copy()
        used, after = hashes.size, 0
        keeps = np.ones(used, bool)
        for at in splitter.unsure(pieces):
            if at < after:
                continue
            (content,) = pieces.contents(np.array([at]))
            if splitter.goes_on(content):
                content, after = _joined(pieces, at, splitter)
                if after < 0:
                    used = at
                    break
                keeps[at + 1 : after] = False
                hashes[at] = 0 if self._torn else hash_of(content)
            if not splitter.is_plain(content):
                hashes[at] = 0
        self._place(pieces, hashes[:used], keeps[:used])
        return used

    def _place(self, pieces: Pieces, hashes: Hashes, keeps: npt.NDArray[np.bool_]) -> None:
        starts, stops, self._line = lines_of(pieces, keeps, self._line, self._splitter)
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


def _lines_at(
    pieces: Pieces, begins: npt.NDArray[np.bool_], chosen: list[int], first: int, splitter: Splitter
) -> tuple[list[int], int]:
    """Return the line, or number, on which chosen pieces start, and the one of what follows; as `lines_of` says."""
    if splitter.numbered or splitter.end == END_OF_LINE:
        starts, _, following = lines_of(pieces, begins, first, splitter)
        return starts[chosen].tolist(), following
    content = np.frombuffer(pieces.text, np.uint8)
    lines, at = [], 0
    edges = [*pieces.starts[chosen].tolist(), int(pieces.stops[begins.size - 1]) if begins.size else 0]
    for edge in edges:
        first += int(np.count_nonzero(content[at:edge] == END_OF_LINE[0]))
        lines.append(first)
        at = edge
    return lines[:-1], first


def lines_of(
    pieces: Pieces, begins: npt.NDArray[np.bool_], first: int, splitter: Splitter
) -> tuple[Positions, Positions, int]:
    """Return the line, or number, on which each of the first pieces starts and ends, and the one of what follows.

    `begins`: which of so many pieces start a record.
    """
    used = begins.size
    if splitter.numbered:
        lines = first - 1 + np.cumsum(begins, dtype=np.int64)
        return lines, lines, first + int(np.count_nonzero(begins))
    if splitter.end == END_OF_LINE:
        lines = np.arange(first, first + used, dtype=np.int64)
        return lines, lines, first + used
    breaks = np.flatnonzero(np.frombuffer(pieces.text, np.uint8) == END_OF_LINE[0])
    starts = first + np.searchsorted(breaks, pieces.starts[:used])
    stops = first + np.searchsorted(breaks, pieces.stops[:used])
    return starts, stops, int(stops[-1]) if used else first
