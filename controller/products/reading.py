"""Bytes of a file in, frames of text out: CSV, TSV and JSON Lines, block by block.

Promises: every value is the text that stands in the file; a malformed row never ends the read and never shifts
another; `Findings` names what could not be read. Blocks are cut where the number of quotes so far is even, given to
Polars, and checked by conservation: the delimiters of a block are those between its columns plus those inside its
values. Where Polars refuses or the count is off, the record parser takes over for that block.
"""

import codecs
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import polars as pl

from controller.faults import Disposition, Fault
from controller.products.records import Bad, Findings, RecordParser

BLOCK_BYTES = 16 << 20
"""Large enough that Polars' start-up per call does not show, small enough for a few to be in memory."""
DELIMITERS = (",", "\t", ";", "|")
LINE = "_line"
HEADER_BYTES_MAX = 1 << 20
_PACKED_MAGIC = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"x\x01", b"x\x5e", b"x\x9c", b"x\xda")
"""gzip, zstd, zlib: Polars unpacks a block that happens to start like this."""
_BOM = codecs.BOM_UTF8
_WIDE_BOMS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


@dataclass(frozen=True, slots=True)
class Shape:
    """What the bytes are: `delimiter` None means JSON Lines."""

    delimiter: str | None


def malformed(why: str) -> Fault:
    return Fault("SourceMalformed", Disposition.RETRY, why)


def detect(head: bytes) -> Shape:
    """Tell the format from the first bytes. Refuses what certainly is none of the formats."""
    text = head.removeprefix(_BOM).lstrip()
    if text.startswith(b"{"):
        return Shape(None)
    if text.startswith(b"<"):
        raise malformed("the source answered an HTML or XML page, not CSV, TSV or JSON Lines")
    if text.startswith((b"PK\x03\x04", b"PAR1", b"BZh", b"\x28\xb5\x2f\xfd")):
        raise malformed("the source is a packed or binary file; CSV, TSV and JSON Lines, plain or gzip, are read")
    return Shape(detect_delimiter(head))


def detect_delimiter(head: bytes) -> str:
    """Take the separator that is most frequent outside quotes in the header line."""
    line = _skip_comments(head.removeprefix(_BOM)).split(b"\n", 1)[0]
    outside = b"".join(line.split(b'"')[::2])
    return max(DELIMITERS, key=lambda each: (outside.count(each.encode()), -DELIMITERS.index(each)))


def as_utf8(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Drop a byte order mark; turn UTF-16, which a byte order mark announces, into UTF-8."""
    decoder: codecs.IncrementalDecoder | None = None
    first = True
    for piece in _first_of_size(pieces, 4):
        if first:
            first = False
            wide = _WIDE_BOMS.get(piece[:2])
            decoder = codecs.getincrementaldecoder(wide)("replace") if wide else None
            piece = piece.removeprefix(_BOM)  # noqa: PLW2901
        yield decoder.decode(piece).encode() if decoder else piece


def read(
    pieces: Iterable[bytes],
    shape: Shape,
    findings: Findings,
    *,
    line_bytes_max: int,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[pl.DataFrame]:
    """Yield frames whose columns are the source's, all text, plus `_line` with the line each row starts on."""
    text = as_utf8(pieces)
    if shape.delimiter is None:
        return _read_json_lines(text, findings, line_bytes_max, block_bytes)
    return _DelimitedReader(shape.delimiter, findings, line_bytes_max, block_bytes).frames(text)


class _DelimitedReader:
    def __init__(self, delimiter: str, findings: Findings, line_bytes_max: int, block_bytes: int) -> None:
        self._block_bytes = block_bytes
        self._delimiter = delimiter
        self._parser = RecordParser(delimiter, line_bytes_max)
        self._findings = findings
        self._line_bytes_max = line_bytes_max
        self._columns: list[str] = []
        self._line = 1

    def frames(self, pieces: Iterable[bytes]) -> Iterator[pl.DataFrame]:
        carried = b""
        empty = True
        for piece in _of_size(pieces, self._block_bytes):
            carried += piece
            if not self._columns:
                carried = self._after_header(carried, final=False)
                if not self._columns:
                    continue
            block, carried = self._cut(carried)
            if block:
                frame, rest = self._frame(block, final=False)
                carried = rest + carried
                empty = False
                yield frame
        if not self._columns:
            carried = self._after_header(carried, final=True)
        if carried:
            yield self._frame(carried, final=True)[0]
        elif empty and self._columns:
            yield self._to_frame([], [])

    def _after_header(self, data: bytes, *, final: bool) -> bytes:
        """Take the header off. As long as it may be cut, nothing is taken."""
        start = _skip_comments(data)
        found = self._parser.first(start[:HEADER_BYTES_MAX])
        whole = found is not None and start[: found[1]].endswith(b"\n")
        if not final and not whole and len(start) <= HEADER_BYTES_MAX:
            return data
        if found is None:
            raise malformed("the header has a quote that is not closed")
        names, end = found
        if not start.strip():
            return b""
        self._columns = column_names(names)
        self._line += data.count(b"\n", 0, len(data) - len(start) + end)
        return start[end:]

    def _cut(self, data: bytes) -> tuple[bytes, bytes]:
        """Cut behind the last line break with an even number of quotes before it, or else behind the last one."""
        end = data.rfind(b"\n") + 1
        if not end:
            if len(data) > self._line_bytes_max:
                self._findings.add(Bad(self._line, self._line, "is longer than Meta allows"))
                return b"", b""
            return b"", data
        quotes = data.count(b'"', 0, end)
        position = end
        for _ in range(64):
            if quotes % 2 == 0:
                return data[:position], data[position:]
            quote = data.rfind(b'"', 0, position)
            position = data.rfind(b"\n", 0, quote) + 1
            if not position:
                break
            quotes -= data.count(b'"', position, end)
            end = position
        return (
            (b"", data)
            if len(data) < self._block_bytes
            else (data[: data.rfind(b"\n") + 1], data[data.rfind(b"\n") + 1 :])
        )

    def _frame(self, block: bytes, *, final: bool) -> tuple[pl.DataFrame, bytes]:
        frame = self._fast(block)
        if frame is not None:
            self._line += block.count(b"\n")
            return frame, b""
        found = self._parser.parse(block, len(self._columns), self._line, self._findings, final=final)
        self._line = found.next_line
        return self._to_frame(found.rows, found.lines), found.rest

    def _to_frame(self, rows: list[list[str | None]], lines: list[int]) -> pl.DataFrame:
        frame = pl.DataFrame(rows, schema=dict.fromkeys(self._columns, pl.String), orient="row")
        return _without_blank(frame.with_columns(pl.Series(LINE, lines, dtype=pl.UInt64)), self._columns)

    def _fast(self, block: bytes) -> pl.DataFrame | None:
        """Let Polars parse, and return None unless every byte is accounted for."""
        if block.startswith(_PACKED_MAGIC):
            return None
        schema = {f"c{number}": pl.String for number in range(len(self._columns))}
        try:
            frame = pl.read_csv(
                block, has_header=False, schema=schema, separator=self._delimiter, infer_schema=False, glob=False
            )
        except (pl.exceptions.PolarsError, OSError):
            return None
        breaks = block.count(b"\n") + (not block.endswith(b"\n"))
        inside = breaks - frame.height
        has_quotes = b'"' in block
        if inside < 0 or (inside and not has_quotes) or self._is_short(frame, block, has_quotes=has_quotes):
            return None
        line = pl.int_range(pl.len(), dtype=pl.UInt64) + self._line
        if inside:
            values = pl.all()
            if frame.select(pl.any_horizontal(self._looks_swallowed(values))).to_series().any():
                return None
            counts = pl.sum_horizontal(values.str.count_matches("\n", literal=True).fill_null(0))
            line += counts.cast(pl.UInt64).cum_sum().shift(1, fill_value=0)
        frame = frame.with_columns(line.alias(LINE)).rename(dict(zip(schema, self._columns, strict=True)))
        return _without_blank(frame, self._columns)

    def _looks_swallowed(self, values: pl.Expr) -> pl.Expr:
        many = values.str.count_matches(self._delimiter, literal=True) >= max(len(self._columns) - 1, 5)
        return values.str.contains("\n", literal=True) & (many | (values.str.len_bytes() > 65_536))

    def _is_short(self, frame: pl.DataFrame, block: bytes, *, has_quotes: bool) -> bool:
        """Tell whether a row has fewer values than the header: Polars fills those up in silence."""
        if not frame.height or not frame.get_column(frame.columns[-1]).null_count():
            return False
        expected = frame.height * (len(self._columns) - 1)
        if has_quotes:
            counts = pl.all().str.count_matches(self._delimiter, literal=True).sum()
            expected += sum(frame.select(counts).row(0))
        return block.count(self._delimiter.encode()) != expected


def column_names(names: list[str]) -> list[str]:
    """Make the names of a header unique and non-empty, in a way that a person recognises."""
    found: list[str] = []
    for number, raw in enumerate(names, start=1):
        name = raw.strip() or f"column {number}"
        repeat = 2
        unique = name
        while unique in found:
            unique = f"{name} ({repeat})"
            repeat += 1
        found.append(unique)
    return found


def _without_blank(frame: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """Drop rows without any value: blank lines, or delimiters alone."""
    if not columns or not frame.get_column(columns[0]).null_count():
        return frame
    return frame.filter(~pl.all_horizontal(pl.col(columns).is_null()))


def _read_json_lines(
    pieces: Iterable[bytes], findings: Findings, line_bytes_max: int, block_bytes: int
) -> Iterator[pl.DataFrame]:
    line = 1
    carried = b""
    for piece in _of_size(pieces, block_bytes):
        data = carried + piece
        end = data.rfind(b"\n") + 1
        block, carried = data[:end], data[end:]
        if len(carried) > line_bytes_max:
            number = line + block.count(b"\n")
            raise malformed(f"line {number} is longer than {line_bytes_max} bytes")
        if block:
            yield _json_frame(block, line, findings)
        line += block.count(b"\n")
    if carried.strip() or line == 1:
        yield _json_frame(carried, line, findings)


def _json_frame(block: bytes, first_line: int, findings: Findings) -> pl.DataFrame:
    columns: dict[str, list[str | None]] = {}
    lines: list[int] = []
    for number, raw in enumerate(block.split(b"\n"), start=first_line):
        if not raw.strip():
            continue
        row = _json_row(raw)
        if row is None:
            findings.add(Bad(number, number, "is not a JSON object in UTF-8"))
            continue
        for name in row.keys() - columns.keys():
            columns[name] = [None] * len(lines)
        for name, values in columns.items():
            values.append(row.get(name))
        lines.append(number)
    names = sorted(columns)
    frame = pl.DataFrame({name: columns[name] for name in names}, schema=dict.fromkeys(names, pl.String))
    return frame.with_columns(pl.Series(LINE, lines, dtype=pl.UInt64))


def _json_row(raw: bytes) -> dict[str, str | None] | None:
    """Parse one object; numbers stay the text they are, so that 9.90 and 007 survive."""
    try:
        found = json.loads(raw, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    return {str(name).strip(): _json_text(value) for name, value in found.items()}


def _json_text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value.encode("utf-8", "replace").decode() if value else None
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _skip_comments(data: bytes) -> bytes:
    """Skip blank lines and lines that start with '#' before the header, as in Meta's own template."""
    while (line := data.split(b"\n", 1))[0].strip() == b"" or line[0].startswith(b"#"):
        if len(line) == 1:
            break
        data = line[1]
    return data


def _of_size(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Gather pieces to blocks of at least `size` bytes; the last may be smaller."""
    gathered: list[bytes] = []
    length = 0
    for piece in pieces:
        gathered.append(piece)
        length += len(piece)
        if length >= size:
            yield b"".join(gathered)
            gathered, length = [], 0
    if gathered:
        yield b"".join(gathered)


def _first_of_size(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Join pieces until the first one has at least `size` bytes; pass the others on."""
    gathered = b""
    started = False
    for piece in pieces:
        if started:
            yield piece
            continue
        gathered += piece
        if len(gathered) >= size:
            started = True
            yield gathered
    if not started and gathered:
        yield gathered
