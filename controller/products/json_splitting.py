"""Elements of a JSON array as raw bytes: cut where one object ends and the next one begins with the same first key.

Programs write every element alike: `},` blanks, `{`, blanks, the first key, a colon. In valid JSON such bytes are never
inside of a text, where their quotes would be escaped, so that they end an element, or one of an array inside of it;
which of both is asked of the parser wherever a record has brackets in it. An element that is not known is parsed by
itself at once; a document whose elements are written otherwise, or not valid, is parsed as a whole.
"""

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import polars as pl

from controller.faults import Fault
from controller.products import json_records
from controller.products.cutting import cut_behind
from controller.products.raw import Pieces, UnsuitableError
from controller.products.reading import BLOCK_BYTES
from controller.products.records import Findings
from controller.products.shapes import BOM, Shape

_DECODER = json.JSONDecoder(strict=False)
_FIRST = re.compile(rb'\s*(\{\s*"(?:[^"\\]|\\.)*+"\s*:)')
_NEXT = re.compile(rb"\s*,\s*")
_SEPARATOR = b",\n"


def elements_of(shape: Shape, start: bytes) -> "Elements | None":
    """Return how this document falls into elements, or None where its first two do not tell."""
    if start.startswith(BOM):
        return None
    try:
        at = json_records.start_of_array(start, shape.rows_at)
    except Fault:
        return None
    first = _FIRST.match(start, at) if at is not None else None
    if first is None:
        return None
    try:
        text = start[first.start(1) :].decode("utf-8", "surrogateescape")
        _, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    behind = first.start(1) + len(text[:end].encode("utf-8", "surrogateescape"))
    between = _NEXT.match(start, behind)
    opening = first[1]
    if between is None or not start.startswith(opening, between.end()):
        return None
    return Elements(opening, b"}" + between[0] + opening, first.end(1), len(shape.rows_at))


@dataclass(frozen=True, slots=True)
class Elements:
    """Records are what stands between the first key of an element and its closing brace."""

    opening: bytes
    end: bytes
    head_bytes: int
    depth: int
    """Of the array in its document."""
    first_line: int = 1
    first_chosen: int = 1
    numbered: bool = True
    late: bool = False
    tail_follows: bool = True

    @property
    def guard(self) -> bytes:
        return self.end

    def cut(self, text: bytes) -> Pieces:
        return cut_behind(self.end, text)

    def may_go_on(self, contents: list[bytes]) -> list[bool]:
        return [True] * len(contents)

    def goes_on(self, content: bytes) -> bool:
        try:
            text = (self.opening + content + b"}").decode()
            _, end = _DECODER.raw_decode(text)
        except json.JSONDecodeError:
            return True
        except (ValueError, RecursionError):
            raise UnsuitableError from None
        if end != len(text):
            raise UnsuitableError
        return False

    def unsure(self, pieces: Pieces) -> Iterable[int]:
        return [number for number, piece in enumerate(pieces) if b"{" in piece or b"[" in piece]

    def is_nothing(self, piece: bytes) -> bool:  # noqa: ARG002 - an element is a row
        return False

    def is_plain(self, content: bytes) -> bool:  # noqa: ARG002 - an element is one row
        return True

    def last(self, carried: bytes) -> tuple[bytes | None, bytes]:
        try:
            text = (self.opening + carried).decode()
            _, end = _DECODER.raw_decode(text)
        except (ValueError, RecursionError):
            raise UnsuitableError from None
        element = text[:end].encode()
        return element[len(self.opening) : -1], carried[len(element) - len(self.opening) :]

    def written(self, content: bytes) -> bytes:
        return _SEPARATOR + self.opening + content + b"}"

    def height(self, content: bytes) -> int:  # noqa: ARG002 - an element is one row
        return 1

    def is_exact(self, content: bytes) -> bool:  # noqa: ARG002 - the reader names a row by its number
        return True

    def is_blank(self, content: bytes) -> bool:  # noqa: ARG002 - an element is a row
        return False

    def is_closed(self, tail: bytes, line_bytes_max: int) -> bool:  # noqa: ARG002 - of any length
        return json_records.closes(tail, self.depth)

    def frames(self, chosen: Iterable[bytes], findings: Findings, line_bytes_max: int) -> Iterator[pl.DataFrame]:
        pieces = iter(chosen)
        first = next(pieces, _SEPARATOR).removeprefix(_SEPARATOR)
        whole = itertools.chain([b"[", first], pieces, [b"]"])
        try:
            yield from json_records.read_array(whole, (), findings, line_bytes_max, BLOCK_BYTES)
        except Fault:
            raise UnsuitableError from None
