"""The careful half of reading delimited text: one record at a time, so that one bad record costs one record.

The fast half (`reading`) gives whole blocks to Polars, which gives up on a block when a single record is ragged, has
a stray quote or is not UTF-8. Then this parser takes the block: it keeps every record of the right width, names the
others by line, and after an unbalanced quote goes on at the next physical line that is a record of the right width.
The standard library's `csv` cannot serve: it swallows everything behind an unbalanced quote and knows no lines.
"""

import re
from dataclasses import dataclass, field

SWALLOWED_BYTES_MAX = 65_536
"""A quoted value with line breaks and longer than this is taken for an unbalanced quote."""
SUSPICIOUS_WIDTH = 6
"""From this many columns on, a line with exactly the right number of delimiters inside a value is a swallowed one."""
SAMPLES_MAX = 100
LINE = "_line"
"""Private column of every frame that reading yields."""


@dataclass(frozen=True, slots=True)
class Bad:
    """Lines that are no record, and why."""

    line_from: int
    line_to: int
    reason: str


@dataclass(slots=True)
class Findings:
    """What reading met so far. `complete` is False once a row may have been missed."""

    unit: str = "line"
    """What the numbers count: lines where a file has them, else rows."""
    bad_rows: int = 0
    samples: list[Bad] = field(default_factory=list)
    resynchronised: bool = False
    apart: bool = False
    """Neighbours are not joined: they may not be any."""

    def add(self, bad: Bad) -> None:
        last = self.samples[-1] if self.samples and not self.apart else None
        if last and last.line_to + 1 == bad.line_from:
            self.samples[-1] = Bad(last.line_from, bad.line_to, bad.reason)
        elif len(self.samples) < SAMPLES_MAX:
            self.samples.append(bad)
        self.bad_rows += 1

    @property
    def complete(self) -> bool:
        return self.bad_rows == 0 and not self.resynchronised


@dataclass(slots=True)
class Records:
    """Good records with the line on which each starts, and bytes that need more input to be a record."""

    rows: list[list[str | None]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    rest: bytes = b""
    next_line: int = 1
    cut: str | None = None
    """How the last record shows that the file was cut."""


class RecordParser:
    """Parses blocks of delimited text in UTF-8. Quoting is RFC 4180; a quote inside an unquoted value is text."""

    def __init__(self, delimiter: str, line_bytes_max: int) -> None:
        self._delimiter = delimiter.encode()
        self._line_bytes_max = line_bytes_max
        escaped = re.escape(self._delimiter)
        self._field = re.compile(
            rb'"((?:[^"]++|"")*+)"(?='
            + escaped
            + rb'|\r?\n|\r?\Z)|([^"\n'
            + escaped
            + rb"][^\n"
            + escaped
            + rb"]*|(?="
            + escaped
            + rb"|\r?\n|\r?\Z))"
        )

    def first(self, data: bytes) -> tuple[list[str], int] | None:
        """Return the first record of any width and the number of bytes it takes, or None where it is none."""
        parsed = self._record(data, 0)
        if parsed is None:
            return None
        fields, end = parsed
        return [_text(value) for value in fields], end

    def parse(self, data: bytes, width: int, first_line: int, findings: Findings, *, final: bool) -> Records:
        """Parse as far as possible. Bytes that might become a record with more input are returned as `rest`."""
        found = Records(next_line=first_line)
        position = 0
        while position < len(data):
            line_end = _line_end(data, position)
            if not data[position:line_end].strip():
                position, found.next_line = line_end, found.next_line + 1
                continue
            parsed = self._record(data, position)
            if parsed is None and not final and self._may_continue(data, position):
                found.rest = data[position:]
                return found
            end, reason, fields = self._judge(parsed, width, position, line_end)
            if reason is None and (texts := _texts(fields)) is not None:
                found.rows.append(texts)
                found.lines.append(found.next_line)
                found.next_line += data.count(b"\n", position, end)
                position = end
                continue
            if final and line_end == len(data) and not data.endswith(b"\n") and (len(fields) < width):
                found.cut = f"line {found.next_line} {reason} and no line break"
            findings.add(Bad(found.next_line, found.next_line, reason or "is not UTF-8"))
            findings.resynchronised |= reason is not None and reason.startswith("has a quote")
            position, found.next_line = line_end, found.next_line + 1
        return found

    def _judge(
        self, parsed: tuple[list[bytes], int] | None, width: int, position: int, line_end: int
    ) -> tuple[int, str | None, list[bytes]]:
        if parsed is None and line_end - position > self._line_bytes_max:
            return line_end, "is longer than Meta allows", []
        if parsed is None:
            return line_end, "has a quote that is not closed or closed too early", []
        fields, end = parsed
        if end > line_end and (len(fields) != width or any(self._swallowed(value, width) for value in fields)):
            return line_end, "has a quote that is not closed", []
        if len(fields) != width:
            return line_end, f"has {len(fields)} values where the header has {width}", fields
        if end - position > self._line_bytes_max:
            return line_end, "is longer than Meta allows", fields
        return end, None, fields

    def _swallowed(self, value: bytes, width: int) -> bool:
        """Tell whether a value with line breaks holds what looks like records."""
        if b"\n" not in value:
            return False
        if len(value) > SWALLOWED_BYTES_MAX:
            return True
        inner = value.split(b"\n")[1:-1]
        return width >= SUSPICIOUS_WIDTH and any(line.count(self._delimiter) == width - 1 for line in inner)

    def _may_continue(self, data: bytes, position: int) -> bool:
        """Tell whether the record at the end of the data may only be cut: an open quote and not yet too long."""
        return len(data) - position <= SWALLOWED_BYTES_MAX and data.count(b'"', position) % 2 == 1

    def _record(self, data: bytes, position: int) -> tuple[list[bytes], int] | None:
        line_end = _line_end(data, position)
        if data.find(b'"', position, line_end) < 0:
            return data[position:line_end].rstrip(b"\r\n").split(self._delimiter), line_end
        fields: list[bytes] = []
        while True:
            # A value ends on its line, or spans lines and is not too long: what is behind that is never looked at.
            limit = max(line_end, min(len(data), position + SWALLOWED_BYTES_MAX))
            match = self._field.match(data, position, limit)
            if match is None or match.end() == limit < len(data):
                return None
            quoted, plain = match.groups()
            position = match.end()
            if position > line_end:
                line_end = _line_end(data, position)
            fields.append(plain if quoted is None else quoted.replace(b'""', b'"'))
            if data[position : position + 1] == self._delimiter:
                position += 1
                continue
            if plain and plain.endswith(b"\r"):
                fields[-1] = plain[:-1]
            return fields, line_end


def _line_end(data: bytes, position: int) -> int:
    found = data.find(b"\n", position)
    return len(data) if found < 0 else found + 1


def _text(value: bytes) -> str:
    return value.decode("utf-8", errors="replace")


def _texts(fields: list[bytes]) -> list[str | None] | None:
    try:
        return [value.decode("utf-8") or None for value in fields]
    except UnicodeDecodeError:
        return None
