"""Bytes of a file in, frames of text out, block by block: the one door to the formats that are streams.

Promises: every value is the text that stands in the file; a malformed row never ends the read and never shifts
another; `Findings` names what could not be read; a file that visibly was cut is refused as a whole. Delimited text is
read here, the other formats in `json_records` and `xml_records`. Its blocks are cut where the number of quotes so far
is even, given to Polars, and checked by conservation: the delimiters of a block are those between its columns plus
those inside its values. Where Polars refuses or the count is off, the record parser takes over for that block.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl

from controller.api.v1alpha1.items import FileType
from controller.products.nested import COLUMNS_MAX
from controller.products.pieces import gather
from controller.products.records import LINE, Bad, Findings, RecordParser
from controller.products.shapes import BOM, Shape, malformed, skip_comments

BLOCK_BYTES = 16 << 20
"""Large enough that Polars' start-up per call does not show, small enough for a few to be in memory."""
HEADER_BYTES_MAX = 1 << 20
CUTS_MAX = 64
"""Places that are tried before a quote is taken for one that nobody closes."""
QUOTE = b'"'
_COUNTED_BYTES = 1 << 17
"""What is counted at once stays in the cache."""
PACKED_MAGIC = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"x\x01", b"x\x5e", b"x\x9c", b"x\xda")
"""gzip, zstd, zlib: Polars unpacks a block that happens to start like this."""


def read(
    pieces: Iterable[bytes],
    shape: Shape,
    findings: Findings,
    *,
    line_bytes_max: int,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[pl.DataFrame]:
    """Yield frames whose columns are the source's, all text, plus `_line` with the line each row starts on.

    The pieces are UTF-8. Frames of delimited text all have the columns of its header; frames of other formats have
    the columns that occur in their block.
    """
    text = _without_bom(pieces)
    match shape.type:  # a format brings its parser along
        case FileType.JSON_LINES:
            from controller.products import json_records

            return json_records.read_lines(text, findings, line_bytes_max, block_bytes)
        case FileType.JSON:
            from controller.products import json_records

            return json_records.read_array(text, shape.rows_at, findings, line_bytes_max, block_bytes)
        case FileType.XML:
            from controller.products import xml_records

            return xml_records.read(text, shape.rows_at, findings, line_bytes_max, block_bytes)
        case FileType.CSV | FileType.TSV:
            return _DelimitedReader(shape.delimiter, findings, line_bytes_max, block_bytes).frames(text)
        case _:
            raise malformed(f"a file in {shape.type} is no stream of rows")


def _without_bom(pieces: Iterable[bytes]) -> Iterator[bytes]:
    first = True
    for piece in _first_of_size(pieces, len(BOM)):
        yield piece.removeprefix(BOM) if first else piece
        first = False


class _DelimitedReader:
    def __init__(self, delimiter: str, findings: Findings, line_bytes_max: int, block_bytes: int) -> None:
        self._block_bytes = block_bytes
        self._delimiter = delimiter
        self._parser = RecordParser(delimiter, line_bytes_max)
        self._findings = findings
        self._line_bytes_max = line_bytes_max
        self._columns: list[str] = []
        self._line = 1
        self._skipping = False
        self._broken: set[str] = set()
        """Columns whose values had line breaks."""

    def frames(self, pieces: Iterable[bytes]) -> Iterator[pl.DataFrame]:
        carried = b""
        empty = True
        for gathered in gather(pieces, self._block_bytes):
            held = [carried, *self._behind_skipped(gathered)]
            if not self._columns:
                carried = self._after_header(b"".join(held), final=False)
                if not self._columns:
                    continue
                held = [carried]
            block, carried = self._cut_in_last(held) or self._cut(b"".join(held))
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

    def _behind_skipped(self, pieces: list[bytes]) -> list[bytes]:
        """Drop the rest of a line that is too long: its end could look like a row."""
        if not self._skipping:
            return pieces
        data = b"".join(pieces)
        end = data.find(b"\n") + 1
        if not end:
            return []
        self._skipping = False
        self._line += 1
        return [data[end:]]

    def _after_header(self, data: bytes, *, final: bool) -> bytes:
        """Take the header off. As long as it may be cut, nothing is taken."""
        start = skip_comments(data)
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

    def _cut_in_last(self, held: list[bytes]) -> tuple[bytes, bytes] | None:
        """Cut as `_cut` does, where that is within the last piece: then nothing is copied but once."""
        last = held[-1]
        end = last.rfind(b"\n") + 1
        if not end:
            return None
        position = _even(last, end, sum(count(piece, QUOTE) for piece in held[:-1]))
        return (b"".join([*held[:-1], last[:position]]), last[position:]) if position else None

    def _cut(self, data: bytes) -> tuple[bytes, bytes]:
        """Cut behind the last line break with an even number of quotes before it, or else behind the last one."""
        end = data.rfind(b"\n") + 1
        if not end:
            if len(data) > self._line_bytes_max:
                self._findings.add(Bad(self._line, self._line, "is longer than Meta allows"))
                self._skipping = True
                return b"", b""
            return b"", data
        position = _even(data, end, 0)
        if position:
            return data[:position], data[position:]
        return (b"", data) if len(data) < self._block_bytes else (data[:end], data[end:])

    def _frame(self, block: bytes, *, final: bool) -> tuple[pl.DataFrame, bytes]:
        breaks = count(block, b"\n")
        frame = self._fast(block, breaks)
        if frame is not None:
            self._line += breaks
            return frame, b""
        found = self._parser.parse(block, len(self._columns), self._line, self._findings, final=final)
        if found.cut:
            raise malformed(f"{found.cut}: the file was cut short")
        self._line = found.next_line
        return self._to_frame(found.rows, found.lines), found.rest

    def _to_frame(self, rows: list[list[str | None]], lines: list[int]) -> pl.DataFrame:
        frame = pl.DataFrame(rows, schema=dict.fromkeys(self._columns, pl.String), orient="row")
        return _without_blank(frame.with_columns(pl.Series(LINE, lines, dtype=pl.UInt64)), self._columns)

    def _fast(self, block: bytes, breaks: int) -> pl.DataFrame | None:
        """Let Polars parse, and return None unless every byte is accounted for. `breaks`: line breaks of the block."""
        if block.startswith(PACKED_MAGIC):
            return None
        schema = {f"c{number}": pl.String for number in range(len(self._columns))}
        try:
            frame = pl.read_csv(
                block, has_header=False, schema=schema, separator=self._delimiter, infer_schema=False, glob=False
            )
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
            return None
        inside = breaks + (not block.endswith(b"\n")) - frame.height
        has_quotes = b'"' in block
        if inside < 0 or (inside and not has_quotes) or self._is_short(frame, block, has_quotes=has_quotes):
            return None
        line = pl.int_range(pl.len(), dtype=pl.UInt64) + self._line
        if inside:
            counts = self._breaks(frame, inside)
            if counts is None:
                return None
            line += counts.cum_sum().shift(1, fill_value=0)
        frame = frame.with_columns(line.alias(LINE)).rename(dict(zip(schema, self._columns, strict=True)))
        return _without_blank(frame, self._columns)

    def _breaks(self, frame: pl.DataFrame, inside: int) -> pl.Series | None:
        """Count the line breaks inside the values of each row, or return None where a value seems to hold records.

        Most often one column has them all: the columns that had some before are looked at first, and no more than
        until all are found.
        """
        total = pl.Series([0], dtype=pl.UInt64).new_from_index(0, frame.height)
        for name in sorted(frame.columns, key=lambda each: each not in self._broken):
            values = frame.get_column(name)
            counts = values.str.count_matches("\n", literal=True).fill_null(0)
            found = int(counts.sum())
            if not found:
                continue
            self._broken.add(name)
            if self._looks_swallowed(values.filter(counts > 0)):
                return None
            total += counts.cast(pl.UInt64)
            inside -= found
            if not inside:
                break
        return total

    def _looks_swallowed(self, values: pl.Series) -> bool:
        many = values.str.count_matches(self._delimiter, literal=True) >= max(len(self._columns) - 1, 5)
        return bool((many | (values.str.len_bytes() > 65_536)).any())

    def _is_short(self, frame: pl.DataFrame, block: bytes, *, has_quotes: bool) -> bool:
        """Tell whether a row has fewer values than the header: Polars fills those up in silence."""
        if not frame.height or not frame.get_column(frame.columns[-1]).null_count():
            return False
        expected = frame.height * (len(self._columns) - 1)
        if has_quotes:
            counts = pl.all().str.count_matches(self._delimiter, literal=True).sum()
            expected += sum(frame.select(counts).row(0))
        return count(block, self._delimiter.encode()) != expected


def _even(data: bytes, end: int, before: int) -> int:
    """Return the last place behind a line break, up to `end`, with an even number of quotes ahead of it, or 0."""
    quotes = before + count(data[:end], QUOTE)
    position = end
    for _ in range(CUTS_MAX):
        if quotes % 2 == 0:
            return position
        quote = data.rfind(QUOTE, 0, position)
        position = data.rfind(b"\n", 0, quote) + 1 if quote >= 0 else 0
        if not position:
            return 0
        quotes -= data.count(QUOTE, position, end)
        end = position
    return 0


def count(block: bytes, character: bytes) -> int:
    """Count a character, several times faster than `bytes.count` where it is frequent."""
    if len(character) > 1:
        return block.count(character)
    found = 0
    whole = np.frombuffer(block, np.uint8)
    for start in range(0, whole.size, _COUNTED_BYTES):
        found += int(np.count_nonzero(whole[start : start + _COUNTED_BYTES] == character[0]))
    return found


def column_names(names: list[str]) -> list[str]:
    """Make the names of a header unique and non-empty, in a way that a person recognises."""
    if len(names) > COLUMNS_MAX:
        raise malformed(
            f"the header has {len(names)} columns; is the delimiter right, and the header a line of its own?"
        )
    found: dict[str, None] = {}
    for number, raw in enumerate(names, start=1):
        name = raw.strip() or f"column {number}"
        repeat = 2
        unique = name
        while unique in found or unique == LINE:
            unique = f"{name} ({repeat})"
            repeat += 1
        found[unique] = None
    return list(found)


def _without_blank(frame: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """Drop rows without any value: blank lines, or delimiters alone."""
    if not columns or not frame.get_column(columns[0]).null_count():
        return frame
    return frame.filter(~pl.all_horizontal(pl.col(columns).is_null()))


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
