"""Items of an XML document as raw bytes: cut at their end tag, and read without the rest of the document.

Cut where the reader cuts: at end tags outside of CDATA and comments, which only a record that holds such text has to be
asked for. Of what stands before the first item only its root, the name of the items and the namespaces matter, so that
a date of publication may change; what stands between items belongs to the item behind it, which is known by its hash
only if that is blank; what stands behind the last one is judged by the reader.
"""

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import polars as pl

from controller.faults import Fault
from controller.products.cutting import cut_behind
from controller.products.pieces import of_size
from controller.products.raw import Pieces, UnsuitableError
from controller.products.reading import BLOCK_BYTES
from controller.products.records import Findings
from controller.products.shapes import BOM, Shape
from controller.products.xml_records import HEAD_BYTES_MAX, Head, Reader, head_of, unclosed

_BREAK = b"\n"


def items_of(shape: Shape, start: bytes) -> "Items | None":
    """Return how this document falls into items; `start` is its first HEAD_BYTES_MAX."""
    if start.startswith(BOM):
        return None
    start = start[:HEAD_BYTES_MAX]
    try:
        head = head_of(start, shape.rows_at)
    except Fault:
        return None
    if head.first < 0 or unclosed(start, 0, head.first) or head.opening.search(start, 0, head.first):
        return None
    return Items(head, start.count(_BREAK, 0, head.first) + 1)


@dataclass(frozen=True, slots=True)
class Items:
    """Records end with the end tag of an item."""

    head: Head
    first: int
    """Line of the first item."""
    first_chosen: int = 1
    late: bool = True
    tail_follows: bool = True

    @property
    def first_line(self) -> int:
        return 1 if self.head.numbered else self.first

    @property
    def head_bytes(self) -> int:
        return self.head.first

    @property
    def end(self) -> bytes:
        return b"</%s>" % self.head.item

    @property
    def numbered(self) -> bool:
        return self.head.numbered

    @property
    def guard(self) -> bytes:
        head = self.head
        return repr((head.root, head.item, head.namespaces, head.numbered)).encode()

    def cut(self, text: bytes) -> Pieces:
        return cut_behind(self.end, text, strip=True)

    def may_go_on(self, contents: list[bytes]) -> list[bool]:
        return [b"<!" in content for content in contents]

    def goes_on(self, content: bytes) -> bool:
        return b"<!" in content and unclosed(content, 0, len(content))

    def unsure(self, pieces: Pieces) -> Iterable[int]:
        plain = re.compile(rb"<" + re.escape(self.head.item) + rb"[\s>]").match
        tag, end = b"<" + self.head.item, b"</" + self.head.item
        return [
            number
            for number, piece in enumerate(pieces)
            if b"<!" in piece or piece.count(tag) != 1 or end in piece or not plain(piece)
        ]

    def is_nothing(self, piece: bytes) -> bool:  # noqa: ARG002 - an end tag is never nothing
        return False

    def is_plain(self, content: bytes) -> bool:
        bare, opening = content.lstrip(), self.head.opening
        if not opening.match(bare) or opening.search(bare, 1):
            return False
        return not self.head.closing.search(bare)

    def last(self, carried: bytes) -> tuple[bytes | None, bytes]:
        return None, carried

    def written(self, content: bytes) -> bytes:
        return content.lstrip() + self.end + _BREAK

    def height(self, content: bytes) -> int:
        return 1 if self.numbered else content.lstrip().count(_BREAK) + 1

    def is_exact(self, content: bytes) -> bool:  # noqa: ARG002 - the reader names an item by where it starts
        return True

    def is_blank(self, content: bytes) -> bool:  # noqa: ARG002 - an end tag is never nothing
        return False

    def is_closed(self, tail: bytes, line_bytes_max: int) -> bool:
        findings = Findings()
        try:
            frames = list(Reader(self.head, findings, line_bytes_max, inside=True).frames(tail, iter(())))
        except Fault:
            return False
        return findings.complete and not any(frame.height for frame in frames)

    def frames(self, chosen: Iterable[bytes], findings: Findings, line_bytes_max: int) -> Iterator[pl.DataFrame]:
        whole = itertools.chain(chosen, [b"</%s>" % self.head.root])
        try:
            yield from Reader(self.head, findings, line_bytes_max, inside=True).frames(b"", of_size(whole, BLOCK_BYTES))
        except Fault:
            raise UnsuitableError from None
