"""Records as raw bytes: how a text falls into them, and which of them were seen before.

A record whose bytes hash to a stored value was read before and need not be parsed again. `Splitter` says where records
end; `Index` finds stored hashes; `scan` walks over a text and tells known records from candidates.

The walk is exact in its own terms: it starts outside of quotes, a known record is balanced, and what is unknown is
joined with what follows until its quotes are balanced. A candidate is therefore a run of bytes that starts and ends
outside of quotes, of which only a parser knows how many rows it holds.
"""

import itertools
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
CANDIDATE, INSIDE = -1, -2
"""In `Scanned.places`: a record that has to be parsed; the rest of a record, or nothing but blanks."""
NOT_FOUND = -1

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int32]

hash_of = xxhash.xxh3_64_intdigest


class Finder(Protocol):
    """Knows the hashes of records that were read before."""

    def find(self, hashes: Hashes) -> Places:
        """Return the place of each, or -1."""
        ...


class UnsuitableError(Exception):
    """The text cannot be walked record by record: everything has to be parsed."""


@dataclass(frozen=True, slots=True)
class Splitter:
    """How a text falls into records."""

    end: bytes = b"\n"
    quote: bytes | None = b'"'
    """Inside of a pair of these, `end` is text."""
    head_bytes: int = 0
    """What comes before the first record: a header, or the beginning of a document."""
    tail: bytes = b""
    """What closes a document of which only some records are kept."""


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
    """What a walk met. `places` has one entry per piece, which in lines is the line."""

    places: list[Places] = field(default_factory=list)
    candidates: int = 0
    candidate_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """Bytes that have to be parsed. `piece` counts from the start of the walk."""

    piece: int
    content: bytes


def scan(blocks: Iterable[bytes], splitter: Splitter, index: Finder, scanned: Scanned) -> Iterator[Candidate]:
    """Walk over blocks of a text that starts with a record. Yields candidates in order; fills `scanned`."""
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
        if len(carried) > JOINED_BYTES_MAX * 128:
            raise UnsuitableError
    if carried:
        pieces.append(carried)
    if pieces:
        used = yield from _group(pieces, splitter, index, scanned, done)
        if used < len(pieces):
            raise UnsuitableError  # a quote is open at the end


def _group(
    pieces: list[bytes], splitter: Splitter, index: Finder, scanned: Scanned, done: int
) -> Generator[Candidate, None, int]:
    """Look up pieces. Returns how many were used: a record that may go on waits for the next group."""
    count = len(pieces)
    places = index.find(np.fromiter(map(hash_of, pieces), np.uint64, count))
    joined: list[tuple[int, bytes]] = []
    used = count
    after = 0
    quote = splitter.quote
    for at in np.flatnonzero(places < 0).tolist():
        if at < after:
            continue
        piece = pieces[at]
        if quote is not None and piece.count(quote) & 1:
            after = _closing(pieces, at, quote)
            if after < 0:
                used = at
                break
            joined.append((at, splitter.end.join(pieces[at:after])))
            places[at + 1 : after] = INSIDE
        elif not piece or piece.isspace():
            places[at] = INSIDE
        else:
            joined.append((at, piece))
    places = places[:used]
    known = index.find(np.fromiter((hash_of(content) for _, content in joined), np.uint64, len(joined)))
    for (at, content), place in zip(joined, known.tolist(), strict=True):
        places[at] = place
        if place < 0:
            scanned.candidates += 1
            scanned.candidate_bytes += len(content)
            yield Candidate(done + at, content)
    scanned.places.append(places)
    return used


def _closing(pieces: list[bytes], at: int, quote: bytes) -> int:
    """Return the piece behind the record that starts at `at`, or -1 where it is not in sight yet."""
    size = 0
    odd = 0
    for number in range(at, len(pieces)):
        piece = pieces[number]
        odd ^= piece.count(quote) & 1
        size += len(piece) + 1
        if not odd:
            return number + 1
        if size > JOINED_BYTES_MAX:
            raise UnsuitableError
    return -1


def hash_records(blocks: Iterable[bytes], splitter: Splitter, *, torn: bool) -> tuple[npt.NDArray[np.int64], Hashes]:
    """Return the piece on which each record starts, and its hash. `torn` leaves out records of several pieces."""
    starts: list[npt.NDArray[np.int64]] = []
    hashes: list[Hashes] = []
    pieces: list[bytes] = []
    carried = b""
    done = 0
    for block in itertools.chain(blocks, (None,)):
        if block is None:
            pieces += [carried] if carried else []
        else:
            fresh = (carried + block).split(splitter.end)
            carried = fresh.pop()
            pieces += fresh
        if pieces and (block is None or len(pieces) >= GROUP_PIECES):
            used, at, values = _records(pieces, splitter, torn=torn)
            if block is None and used < len(pieces):
                raise UnsuitableError
            starts.append(at + done)
            hashes.append(values)
            done += used
            pieces = pieces[used:]
    nothing = np.empty(0, np.int64), np.empty(0, np.uint64)
    return (np.concatenate(starts), np.concatenate(hashes)) if starts else nothing


def _records(pieces: list[bytes], splitter: Splitter, *, torn: bool) -> tuple[int, npt.NDArray[np.int64], Hashes]:
    """Hash the records of some pieces; the last may need more of them."""
    quote = splitter.quote
    hashes = np.fromiter(map(hash_of, pieces), np.uint64, len(pieces))
    starts = np.arange(len(pieces), dtype=np.int64)
    if quote is None:
        return len(pieces), starts, hashes
    odd = np.flatnonzero(np.fromiter((piece.count(quote) for piece in pieces), np.uint32, len(pieces)) & 1)
    used = len(pieces)
    if odd.size % 2:
        used = int(odd[-1])
        odd = odd[:-1]
        if sum(map(len, pieces[used:])) > JOINED_BYTES_MAX:
            raise UnsuitableError
    keeps = np.ones(used, bool)
    for first, last in odd.reshape(-1, 2).tolist():
        content = splitter.end.join(pieces[first : last + 1])
        if len(content) > JOINED_BYTES_MAX:
            raise UnsuitableError
        hashes[first] = hash_of(content)
        keeps[first + (0 if torn else 1) : last + 1] = False
    return used, starts[:used][keeps], hashes[:used][keeps]
