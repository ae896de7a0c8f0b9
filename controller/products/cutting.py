"""Pieces of a text as raw bytes: where each stands, and its xxh3.

Large texts are cut by Polars, on both cores while Python does something else. It hashes lines as well, in less than
half of the processor time that `split` and a hash per line take. What it makes of them must be what Python would: it
strips a carriage return from the end of a line, unpacks what looks packed, and refuses what is not UTF-8. So the
lengths of its lines have to add up to the text; lines that lack their carriage return get it back, and all else is left
to Python.
"""

import re

import numpy as np
import polars as pl

from controller.products.fingerprints import xxh3
from controller.products.raw import END_OF_LINE, Hashes, Pieces, Positions, hash_of
from controller.products.reading import PACKED_MAGIC

NATIVE_BYTES_MIN = 1 << 16
"""Below, starting a query takes longer than the work."""
BLANKS_MAX = 64
"""So many blanks in front of pieces are skipped for all of them together, more for each by itself."""
_BLANK = np.isin(np.arange(256), list(b" \t\n\r\v\f"))
"""What `bytes.lstrip` takes for blank."""
_RETURN = 13
_LINE = pl.col("line")


def cut_lines(text: bytes, native_bytes_min: int = NATIVE_BYTES_MIN) -> Pieces:
    """Cut behind each line break. The last line may have none."""
    if len(text) >= native_bytes_min and not text.startswith(PACKED_MAGIC):
        found = _native(text)
        if found is not None:
            return found
    return _plain(text)


def cut_behind(end: bytes, text: bytes, *, strip: bool = False, native_bytes_min: int = NATIVE_BYTES_MIN) -> Pieces:
    """Cut behind each `end`. The last piece may have none. `strip`: blanks in front of a piece are no part of it."""
    ends = _ends(text, end) if len(text) >= native_bytes_min else None
    if ends is None:
        ends = np.array([found.start() for found in re.finditer(re.escape(end), text)], np.int64)
    starts = np.concatenate(([0], ends + len(end))).astype(np.int64)
    stops = np.append(ends, len(text)) if starts[-1] < len(text) else ends
    starts = starts[: stops.size]
    if strip:
        starts = _behind_blanks(text, starts, stops)
    content = memoryview(text)
    edges = zip(starts.tolist(), stops.tolist(), strict=True)
    hashes = [hash_of(content[start:stop]) for start, stop in edges]
    return Pieces(text, starts, stops, np.array(hashes, np.uint64))


def _ends(text: bytes, end: bytes) -> Positions | None:
    """Return where `end` is found, or None where Polars cannot tell."""
    try:
        found = pl.Series([text], dtype=pl.Binary).cast(pl.String).str.find_many([end.decode()])
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, UnicodeDecodeError):
        return None
    return found.explode(empty_as_null=False).to_numpy().astype(np.int64)


def _behind_blanks(text: bytes, starts: Positions, stops: Positions) -> Positions:
    """Return where pieces start without the blanks in front of them."""
    content = np.frombuffer(text, np.uint8)
    found = starts.copy()
    blank = np.flatnonzero(found < stops)
    for _ in range(BLANKS_MAX):
        blank = blank[_BLANK[content[found[blank]]]]
        if not blank.size:
            return found
        found[blank] += 1
        blank = blank[found[blank] < stops[blank]]
    for at in blank.tolist():
        start, stop = int(found[at]), int(stops[at])
        found[at] = stop - len(text[start:stop].lstrip())
    return found


def _plain(text: bytes) -> Pieces:
    lines = text.split(END_OF_LINE)
    if not lines[-1]:
        lines.pop()
    hashes = np.fromiter(map(hash_of, lines), np.uint64, len(lines))
    return _pieces(text, np.fromiter(map(len, lines), np.int64, len(lines)), hashes)


def _pieces(text: bytes, lengths: Positions, hashes: Hashes) -> Pieces:
    stops = np.cumsum(lengths + 1) - 1
    return Pieces(text, stops - lengths, stops, hashes)


def _native(text: bytes) -> Pieces | None:
    """Return the lines, or None where Polars does not take them for what they are."""
    found = _query(text, xxh3(_LINE))
    if found is None:
        return None
    lengths, hashes = found
    whole = len(text) + (not text.endswith(END_OF_LINE))
    if int(lengths.sum()) + lengths.size == whole:
        return _pieces(text, lengths, hashes)
    return _with_returns(text, lengths, hashes)


def _with_returns(text: bytes, lengths: Positions, hashes: Hashes) -> Pieces | None:
    """Give lines back the carriage return that they lack."""
    content = np.frombuffer(text, np.uint8)
    stops = np.flatnonzero(content == END_OF_LINE[0])
    if not text.endswith(END_OF_LINE):
        stops = np.append(stops, content.size)
    if stops.size != lengths.size:
        return None
    lacking = np.diff(stops, prepend=-1) - 1 - lengths
    cut_off = lacking == 1
    if bool((lacking[~cut_off] != 0).any()) or bool((content[stops[cut_off] - 1] != _RETURN).any()):
        return None
    again = _query(text, xxh3(_LINE + "\r"))
    if again is None:
        return None
    return _pieces(text, lengths + lacking, np.where(cut_off, again[1], hashes))


def _query(text: bytes, hashed: pl.Expr) -> tuple[Positions, Hashes] | None:
    lines = pl.scan_lines(text).select(hashed.alias("hash"), length=_LINE.str.len_bytes())
    try:
        found = lines.collect(engine="streaming")
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None
    return found.get_column("length").to_numpy().astype(np.int64), found.get_column("hash").to_numpy()
