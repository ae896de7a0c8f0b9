"""Where the records of a source end, as far as raw bytes can tell: lines, items of XML, elements of a JSON array.

Each way to split promises what `raw.Splitter` asks, and reads chosen records as the format's reader reads them in their
place: what stands around them is replaced by as little as the reader needs, and judged by the reader where it may
differ. Where that cannot be promised for a document, there is no splitter, and everything is parsed.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl

from controller.api.v1alpha1.items import FileType
from controller.products import raw, reading
from controller.products.cutting import cut_lines
from controller.products.raw import END_OF_LINE, JOINED_BYTES_MAX, Pieces, UnsuitableError
from controller.products.records import Findings, RecordParser
from controller.products.shapes import BOM, Shape, skip_comments

HEAD_BYTES = reading.HEADER_BYTES_MAX
"""So much of a source tells how it is split."""
_QUOTE = b'"'
_NOTHING = b"\r\n\t ,;|"


class Splitter(raw.Splitter, Protocol):
    """How a source falls into records, and how some of them are read."""

    @property
    def first_line(self) -> int:
        """Line, or number, that the first record starts on, or that its blanks do."""
        ...

    @property
    def first_chosen(self) -> int:
        """The same where only some records are read."""
        ...

    @property
    def late(self) -> bool:
        """A row may start behind the start of its record."""
        ...

    @property
    def tail_follows(self) -> bool:
        """Something closes the document, so that a cut is seen."""
        ...

    def written(self, content: bytes) -> bytes:
        """Return a record as it is written among chosen ones."""
        ...

    def height(self, content: bytes) -> int:
        """Lines, or numbers, that it takes there."""
        ...

    def is_exact(self, content: bytes) -> bool:
        """Tell whether a row that cannot be read is named as it would be among all others."""
        ...

    def is_blank(self, content: bytes) -> bool:
        """Tell whether a record may be no row."""
        ...

    def is_closed(self, tail: bytes, line_bytes_max: int) -> bool:
        """Tell whether what is behind the last record is sound, and closes the document."""
        ...

    def frames(self, chosen: Iterable[bytes], findings: Findings, line_bytes_max: int) -> Iterator[pl.DataFrame]:
        """Read chosen records, as they are `written`."""
        ...


def splitter(shape: Shape, head: bytes, line_bytes_max: int) -> Splitter | None:
    """Return how records are told apart, or None for a source that only its parser understands.

    `head` has the first HEAD_BYTES of the source.
    """
    match shape.type:
        case FileType.JSON_LINES:
            return Lines(BOM if head.startswith(BOM) else b"", shape)
        case FileType.CSV | FileType.TSV:
            return _delimited(shape, head, line_bytes_max)
        case FileType.XML:
            from controller.products.xml_splitting import items_of  # brings lxml along

            return items_of(shape, head)
        case FileType.JSON:
            from controller.products.json_splitting import elements_of

            return elements_of(shape, head)
        case _:
            return None


def _delimited(shape: Shape, head: bytes, line_bytes_max: int) -> "Lines | None":
    start = len(BOM) if head.startswith(BOM) else 0
    body = skip_comments(head[start:])
    found = RecordParser(shape.delimiter, line_bytes_max).first(body)
    if found is None or not body[: found[1]].endswith(END_OF_LINE):
        return None
    return Lines(head[: len(head) - len(body) + found[1]], shape)


@dataclass(frozen=True, slots=True)
class Lines:
    """Records end with their line, of delimited text outside of quotes."""

    head: bytes
    shape: Shape
    end: bytes = END_OF_LINE
    numbered: bool = False
    late: bool = False
    tail_follows: bool = False

    @property
    def head_bytes(self) -> int:
        return len(self.head)

    @property
    def guard(self) -> bytes:
        return self.head

    @property
    def first_line(self) -> int:
        return self.head.count(END_OF_LINE) + 1

    @property
    def first_chosen(self) -> int:
        return self.first_line

    @property
    def _quotes(self) -> bool:
        return bool(self.shape.delimiter)

    def cut(self, text: bytes) -> Pieces:
        return cut_lines(text)

    def may_go_on(self, contents: list[bytes]) -> list[bool]:
        quotes = self._quotes
        return [quotes and content.count(_QUOTE) & 1 == 1 for content in contents]

    def goes_on(self, content: bytes) -> bool:
        if not content.count(_QUOTE) & 1 or not self.shape.delimiter:
            return False
        if len(content) > JOINED_BYTES_MAX:
            raise UnsuitableError
        return True

    def unsure(self, pieces: Pieces) -> Iterable[int]:
        if not self._quotes:
            return ()
        quotes = np.flatnonzero(np.frombuffer(pieces.text, np.uint8) == _QUOTE[0])
        counts = np.diff(np.searchsorted(quotes, pieces.stops), prepend=0)
        return np.flatnonzero(counts & 1).tolist()

    def is_nothing(self, piece: bytes) -> bool:
        return not piece or piece.isspace()

    def is_plain(self, content: bytes) -> bool:  # noqa: ARG002 - what gave one row is one
        return True

    def last(self, carried: bytes) -> tuple[bytes | None, bytes]:
        return carried or None, b""

    def written(self, content: bytes) -> bytes:
        return content + END_OF_LINE

    def height(self, content: bytes) -> int:
        return content.count(END_OF_LINE) + 1

    def is_exact(self, content: bytes) -> bool:
        return not self._quotes or _QUOTE not in content

    def is_blank(self, content: bytes) -> bool:
        return not content.strip(_NOTHING)

    def is_closed(self, tail: bytes, line_bytes_max: int) -> bool:  # noqa: ARG002 - lines close nothing
        return not tail

    def frames(self, chosen: Iterable[bytes], findings: Findings, line_bytes_max: int) -> Iterator[pl.DataFrame]:
        whole = itertools.chain([self.head], chosen)
        return reading.read(whole, self.shape, findings, line_bytes_max=line_bytes_max)
