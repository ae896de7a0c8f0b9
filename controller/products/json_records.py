"""JSON in two forms: one object per line, or one array of objects somewhere in a document.

Promises: memory is bounded by a block and the longest row; one bad row costs itself and is named; a document that ends
before its array does is refused. Nothing that is nested in a broken row is taken for a row: after one, reading goes on
at the next object that has the keys of the others.

The standard library parses: it alone keeps the text of numbers (9.90, 007, ids of 20 digits), and it says where a
value ends, which is what streaming an array needs. Streaming parsers of other libraries give events, ten times slower.
"""

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import polars as pl

from controller.faults import Fault
from controller.products.nested import COLUMNS_MAX, Number, Row, flatten, frames_of
from controller.products.pieces import of_size
from controller.products.records import Bad, Findings
from controller.products.shapes import malformed

_DECODER = json.JSONDecoder(parse_int=Number, parse_float=Number, parse_constant=str, strict=False)
_BLANK = re.compile(r"[ \t\r\n]*")
_FOREIGN = re.compile("[\udc80-\udcff]")
"""Bytes that are no UTF-8, as `surrogateescape` shows them."""
_HALF = re.compile(rb"\\u[dD]")
"""An escape that may be half of a surrogate pair; such text is looked at more closely."""
_CANDIDATE = re.compile(r"[,\[\n]\s*(?=\{)")
_STRUCTURE = re.compile(r'"(?:[^"\\]++|\\.)*+"|["\[\]{}]', re.DOTALL)
_CUT_CHARACTERS = 16
"""An error so close to the end of what was read may only be the end."""
BLOCK_CHARACTERS = 16 << 20
_TAIL_CHARACTERS = 256
_UNLIKE = "is not like the other rows"
_INVALID = "is not valid JSON"
ALIKE_PERCENT = 60
"""A row has at least so many of the keys of the first one, when the one before it was broken."""


def read_lines(
    pieces: Iterable[bytes], findings: Findings, line_bytes_max: int, block_bytes: int
) -> Iterator[pl.DataFrame]:
    line = 1
    carried = b""
    names: set[str] = set()
    for piece in of_size(pieces, block_bytes):
        data = carried + piece
        end = data.rfind(b"\n") + 1
        block, carried = data[:end], data[end:]
        if len(carried) > line_bytes_max:
            number = line + block.count(b"\n")
            raise malformed(f"line {number} is longer than {line_bytes_max} bytes; is it JSON rather than JSON Lines?")
        if block:
            yield from _lines_frames(block, line, findings, names)
        line += block.count(b"\n")
    if carried.strip() or line == 1:
        if carried.strip() and _parsed_line(carried) is None:
            raise malformed(f"line {line} is no complete object and has no line break: the file was cut short")
        yield from _lines_frames(carried, line, findings, names)


def _lines_frames(block: bytes, first_line: int, findings: Findings, names: set[str]) -> Iterator[pl.DataFrame]:
    rows: list[Row] = []
    lines: list[int] = []
    for number, raw in enumerate(block.split(b"\n"), start=first_line):
        if not raw.strip():
            continue
        item = _parsed_line(raw)
        if item is None:
            findings.add(Bad(number, number, "is not a JSON object in UTF-8"))
            continue
        rows.append(_row(item, names, sound=_HALF.search(raw) is None))
        lines.append(number)
    yield from frames_of(rows, lines)


def _parsed_line(raw: bytes) -> dict[str, Any] | None:
    try:
        text = raw.decode("utf-8").strip()
        found, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and end == len(text) else None


def _row(item: dict[str, Any], names: set[str], *, sound: bool = False) -> Row:
    row = flatten(item, names, sound=sound)
    if len(names) > COLUMNS_MAX * 2:
        raise malformed(f"the rows have more than {COLUMNS_MAX} different fields: are they keyed by an id?")
    return row


def read_array(
    pieces: Iterable[bytes], path: tuple[str, ...], findings: Findings, line_bytes_max: int, block_bytes: int
) -> Iterator[pl.DataFrame]:
    """Yield the rows of the array at `path`; `_line` is the number of the row."""
    findings.unit = "row"
    text = _Text(pieces, block_bytes)
    _Walk(text).to_array(path)
    yield from _Array(text, len(path), findings, line_bytes_max).frames()


def start_of_array(start: bytes, path: tuple[str, ...]) -> int | None:
    """Return the place behind the bracket of the array at `path`, or None where it is not in sight yet."""
    text = _Text([start], len(start))
    text.more()
    _Walk(text).to_array(path)
    return None if text.final else len(text.window[: text.at].encode("utf-8", "surrogateescape"))


def closes(tail: bytes, depth: int) -> bool:
    """Tell whether what is behind the last row closes an array at this depth, and the document."""
    text = _Text([tail], len(tail))
    try:
        text.expect("]")
        if depth:
            text.leave(depth)
    except Fault:
        return False
    return True


class _Text:
    """A window of the document's text: grows at its end, is dropped at its start."""

    def __init__(self, pieces: Iterable[bytes], block_bytes: int) -> None:
        self._pieces = of_size(pieces, block_bytes)
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self.window = ""
        self.at = 0
        self.final = False

    def more(self) -> bool:
        """Drop what is behind, append a block. False at the end."""
        if self.final:
            return False
        piece = next(self._pieces, None)
        self.final = piece is None
        self.window = self.window[self.at :] + self._decoder.decode(piece or b"", final=self.final)
        self.at = 0
        return not self.final

    def peek(self) -> str:
        """Return the next character that is not blank, or an empty string at the end."""
        while True:
            found = _BLANK.match(self.window, self.at)
            self.at = found.end() if found else self.at
            if self.at < len(self.window):
                return self.window[self.at]
            if not self.more():
                return ""

    def expect(self, wanted: str) -> None:
        found = self.peek()
        if found != wanted:
            raise malformed(_cut() if not found else f"the JSON document has {found!r} where {wanted!r} must be")
        self.at += 1

    def key(self) -> str:
        """Read the name of a member and the colon behind it."""
        if self.peek() != '"':
            raise malformed("the JSON document has a member without a name")
        while True:
            try:
                found, self.at = _DECODER.raw_decode(self.window, self.at)
            except ValueError:
                if not self.more():
                    raise malformed(_cut()) from None
            else:
                self.expect(":")
                return str(found)

    def skip_value(self) -> None:
        """Leave a value behind, however large it is."""
        if self.peek() not in "[{":
            self._skip_scalar()
            return
        self.leave(0)

    def leave(self, depth: int) -> None:
        """Go to where this many brackets are closed, and those that open meanwhile."""
        while True:
            found = _STRUCTURE.search(self.window, self.at)
            if found is None or found[0] == '"':  # a string that the window cuts
                self.at = found.start() if found else len(self.window)
                if not self.more():
                    raise malformed(_cut())
                continue
            self.at = found.end()
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
            if depth <= 0:
                return

    def _skip_scalar(self) -> None:
        while True:
            try:
                _, end = _DECODER.raw_decode(self.window, self.at)
            except ValueError:
                end = len(self.window)
            if end < len(self.window):
                self.at = end
                return
            if not self.more():
                raise malformed(_cut())


class _Walk:
    """Goes down the document to the array."""

    def __init__(self, text: _Text) -> None:
        self._text = text

    def to_array(self, path: tuple[str, ...]) -> None:
        for depth, wanted in enumerate(path):
            self._to_member(wanted, ".".join(path[: depth + 1]))
        found = self._text.peek()
        if found == "[":
            self._text.at += 1
            return
        if not found:
            raise malformed(_cut())
        if path:
            raise malformed(f"format.rowsAt: {'.'.join(path)} is no array; name the array that holds the rows")
        known = ", ".join(self._arrays()) or "none at its top"
        raise malformed(f"the JSON document is no array; name the one with the rows in format.rowsAt (found: {known})")

    def _to_member(self, wanted: str, shown: str) -> None:
        if self._text.peek() != "{":
            raise malformed(f"format.rowsAt: the JSON document has no object where {shown} should be")
        self._text.at += 1
        seen: list[str] = []
        while self._text.peek() == '"':
            name = self._text.key()
            if name == wanted:
                return
            seen.append(name)
            self._text.skip_value()
            if self._text.peek() == ",":
                self._text.at += 1
        known = ", ".join(seen[:8]) or "none"
        raise malformed(f"format.rowsAt: the JSON document has no {shown}; members there: {known}")

    def _arrays(self) -> Iterator[str]:
        if self._text.peek() != "{":
            return
        self._text.at += 1
        while self._text.peek() == '"':
            name = self._text.key()
            if self._text.peek() == "[":
                yield name
            self._text.skip_value()
            if self._text.peek() == ",":
                self._text.at += 1


class _Array:
    """Reads the elements of an array whose bracket is behind us."""

    def __init__(self, text: _Text, depth: int, findings: Findings, row_characters_max: int) -> None:
        self._text = text
        self._depth = depth
        self._findings = findings
        self._row_characters_max = row_characters_max
        self._number = 0
        self._like: frozenset[str] = frozenset()
        self._names: set[str] = set()
        self._broken = False
        self._sound = False

    def frames(self) -> Iterator[pl.DataFrame]:
        rows: list[Row] = []
        lines: list[int] = []
        gathered = 0
        for item, size in self._items():
            rows.append(_row(item, self._names, sound=self._sound))
            lines.append(self._number)
            gathered += size
            if gathered >= BLOCK_CHARACTERS:
                yield from frames_of(rows, lines)
                rows, lines, gathered = [], [], 0
        yield from frames_of(rows, lines)

    def _items(self) -> Iterator[tuple[dict[str, Any], int]]:
        text = self._text
        if text.peek() == "]":
            text.at += 1
            self._end()
            return
        while True:
            start = text.at
            item = self._next()
            if item is not None:
                yield item, max(text.at - start, 1)
            following = text.peek()
            if item is not None and following == ",":
                text.at += 1
                text.peek()
                continue
            if item is not None and following == "]":
                text.at += 1
                self._end()
                return
            if not following and not self._broken:
                raise malformed(_cut())
            if not self._resynchronise(named=item is None):
                return

    def _next(self) -> dict[str, Any] | None:
        """Parse the element here, or name it, return None and stay."""
        text = self._text
        if not text.peek():
            return None
        self._number += 1
        item, end, reason = self._parsed()
        if reason is None and not isinstance(item, dict):
            reason = "is not an object"
        elif reason is None and end - text.at > self._row_characters_max:
            reason = "is longer than Meta allows"
        elif reason is None and _FOREIGN.search(text.window, text.at, end):
            reason = "is not UTF-8"
        elif reason is None and self._broken and not self._is_alike(item):
            reason = _UNLIKE
        if reason is not None:
            self._refuse(reason)
            return None
        self._like = self._like or frozenset(item)
        self._broken = False
        self._sound = text.window.find("\\u", text.at, end) < 0
        text.at = end
        return dict(item)

    def _parsed(self) -> tuple[Any, int, str | None]:
        text = self._text
        while True:
            try:
                item, end = _DECODER.raw_decode(text.window, text.at)
            except RecursionError:
                return None, 0, "is nested too deeply"
            except json.JSONDecodeError as error:
                if self._may_be_cut(error) and text.more():
                    continue
                return None, 0, _INVALID
            return item, end, None

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        text = self._text
        near = error.pos >= len(text.window) - _CUT_CHARACTERS or error.msg.startswith("Unterminated")
        return not text.final and near and len(text.window) - text.at <= self._row_characters_max

    def _is_alike(self, item: dict[str, Any]) -> bool:
        return len(self._like & item.keys()) * 100 >= ALIKE_PERCENT * len(self._like)

    def _refuse(self, reason: str) -> None:
        """Name a row; what is met while looking for the next one belongs to the same."""
        if self._broken and reason in {_UNLIKE, _INVALID}:
            self._number -= 1
        else:
            self._findings.add(Bad(self._number, self._number, reason))
        self._findings.resynchronised = True
        self._broken = True

    def _resynchronise(self, *, named: bool) -> bool:
        """Go to where the next row may begin. False at the end of the document."""
        text = self._text
        if not named:
            self._number += 1
            self._refuse("is followed by what is no row")
        while True:
            found = _CANDIDATE.search(text.window, text.at)
            if found is not None:
                text.at = found.end()
                return True
            tail = text.window[text.at :][-_TAIL_CHARACTERS:]
            text.at = max(text.at, len(text.window) - _TAIL_CHARACTERS)
            if not text.more():
                if not re.search(r"\][\s\]}]*\Z", tail):
                    raise malformed(_cut())
                return False

    def _end(self) -> None:
        """Leave the rest of the document behind; its brackets must close."""
        if self._depth:
            self._text.leave(self._depth)


def _cut() -> str:
    return "the JSON document ends before it is complete: the file was cut short"
