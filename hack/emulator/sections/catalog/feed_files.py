"""Feed files: container, encoding, header, records.

A file is read in blocks and cut between records, so that its size costs no memory. What makes the whole file unusable
is a `FileProblem`; the upload session then ends with a fatal error and nothing happens to any item.
"""

import codecs
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass

from isal import isal_zlib

from hack.emulator import messages
from hack.emulator.bodies import UploadedFile
from hack.emulator.documented import Provenance, behaviour
from hack.emulator.sections.catalog.item_fields import FIELDS_MAX_LINE_BYTES

BLOCK_BYTES = 2 * 1024 * 1024
CARRY_BYTES_MAX = 32 * 1024 * 1024  # a record that is longer has an unbalanced quote
GZIP_WBITS = 31
DAMAGED: type[Exception] = isal_zlib.IsalError  # type: ignore[assignment]  # its stubs declare an instance
DELIMITERS = {"BAR": "|", "COMMA": ",", "TAB": "\t", "TILDE": "~", "SEMICOLON": ";"}
ENCODINGS = {
    "LATIN1": "latin-1", "UTF8": "utf-8", "UTF16LE": "utf-16-le", "UTF16BE": "utf-16-be", "UTF32LE": "utf-32-le",
    "UTF32BE": "utf-32-be",
}  # fmt: skip
MARKS = (  # byte order marks, longest first
    (b"\xff\xfe\x00\x00", "utf-32-le"), (b"\x00\x00\xfe\xff", "utf-32-be"), (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"),
)  # fmt: skip
csv.field_size_limit(FIELDS_MAX_LINE_BYTES + 1)

PAGE = "Product Feed / Catalog Reference"
behaviour(
    "file.formats",
    page=PAGE,
    section="Supported formats",
    provenance=Provenance.DOCUMENTED,
    says="CSV and TSV, plain or gzip; the first row names the columns; a quote inside quotes is doubled",
)
behaviour(
    "file.line_too_long",
    page="Catalog integration guide",
    section="Primary Replace Feed Upload",
    provenance=Provenance.DOCUMENTED,
    says="a line above 5,242,880 bytes refuses the upload",
)
behaviour(
    "file.refused",
    page="Troubleshoot a data feed (Business Help Center)",
    section="File-level failures",
    provenance=Provenance.REPORTED,
    says="a web page instead of a feed, a header without id, and an empty file refuse the upload; nothing is deleted",
)


class FileProblem(Exception):  # noqa: N818
    """Refuses the whole upload."""

    def __init__(self, summary: str, description: str) -> None:
        super().__init__(summary)
        self.summary = summary
        self.description = description


@dataclass(frozen=True, slots=True)
class Table:
    """A feed file whose header is known."""

    columns: tuple[str, ...]
    delimiter: str
    blocks: Iterator[bytes]  # UTF-8, whole records each, without the header


def container_of(file: UploadedFile) -> str:
    """`gzip` or `plain`. What Meta reads beyond that is not built yet."""
    head = file.read(0, 8)
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    if head.startswith((b"PK\x03\x04", b"BZh")):
        raise messages.not_built("Product Feed: zip and bzip2 containers")
    return "plain"


def _plain(file: UploadedFile) -> Iterator[bytes]:
    for offset in range(0, file.size, BLOCK_BYTES):
        yield file.read(offset, BLOCK_BYTES)


def _gunzip(file: UploadedFile, *, every_member: bool) -> Iterator[bytes]:
    inflater = isal_zlib.decompressobj(wbits=GZIP_WBITS)
    try:
        for block in _plain(file):
            rest = block
            while rest:
                out: bytes = inflater.decompress(rest)
                if out:
                    yield out
                if not inflater.eof:
                    break
                rest = inflater.unused_data.lstrip(b"\0")
                if not every_member:
                    return
                if rest:
                    inflater = isal_zlib.decompressobj(wbits=GZIP_WBITS)
    except DAMAGED:
        raise FileProblem(
            "We couldn't unpack your file", "The gzip file is damaged. Compress it again and upload it."
        ) from None
    if not inflater.eof and file.size:
        raise FileProblem("We couldn't unpack your file", "The gzip file is cut off. Compress it again and upload it.")


def _decoded(blocks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """The text as UTF-8, without a byte order mark."""
    first = next(blocks, b"")
    mark, found = next(((mark, name) for mark, name in MARKS if first.startswith(mark)), (b"", ""))
    first = first[len(mark) :]
    name = found or ENCODINGS.get(encoding, "")
    if not name:
        name = "utf-8" if _is_utf8(first) else "latin-1"
    if name == "utf-8":
        yield first
        yield from blocks
        return
    incremental = codecs.getincrementaldecoder(name)(errors="replace")
    yield incremental.decode(first).encode()
    for block in blocks:
        yield incremental.decode(block).encode()


def _is_utf8(block: bytes) -> bool:
    try:
        block[:-4].decode() if len(block) > BLOCK_BYTES - 4 else block.decode()
    except UnicodeDecodeError as problem:
        return problem.start > len(block) - 8  # a character cut by the end of the block
    return True


def _check_lines(block: bytes) -> None:
    """Every line is short enough: whole windows are skipped by their last newline."""
    at = 0
    while len(block) - at > FIELDS_MAX_LINE_BYTES:
        newline = block.rfind(b"\n", at, at + FIELDS_MAX_LINE_BYTES + 1)
        if newline < 0:
            raise FileProblem(
                "Line is too long",
                f"A line of the file is longer than {FIELDS_MAX_LINE_BYTES} bytes. Shorten its fields.",
            )
        at = newline + 1


def cut(text: bytes) -> int:
    """Where the last whole record ends: after the last newline outside quotes; 0 where there is none."""
    at = text.rfind(b"\n")
    quotes = text.count(b'"', 0, at + 1)
    while at >= 0 and quotes % 2:
        previous = text.rfind(b"\n", 0, at)
        quotes -= text.count(b'"', previous + 1, at + 1)
        at = previous
    return at + 1


def _records(blocks: Iterator[bytes]) -> Iterator[bytes]:
    carry = b""
    for block in blocks:
        text = carry + block
        _check_lines(text)
        end = cut(text)
        carry = text[end:]
        if len(carry) > CARRY_BYTES_MAX:
            raise FileProblem("Unbalanced quotes", "A quoted field of the file is never closed.")
        if end:
            yield text[:end]
    if carry.strip():
        yield carry if carry.endswith(b"\n") else carry + b"\n"


def open_table(file: UploadedFile, *, container: str, every_member: bool, encoding: str, delimiter: str) -> Table:
    """Raises FileProblem, or GraphError 501 for formats that are not built yet."""
    raw = _gunzip(file, every_member=every_member) if container == "gzip" else _plain(file)
    blocks = _records(_decoded(raw, encoding))
    first = next(blocks, b"")
    start = first.lstrip()[:200].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        raise FileProblem(
            "We found a web page instead of a data feed", "The file is HTML. Provide the data feed file itself."
        )
    if start.startswith(b"<"):
        raise messages.not_built("Product Feed: RSS and Atom XML files")
    if not start:
        raise FileProblem("The file is empty", EMPTY_WORDS)
    header_end = cut_first(first)
    header = first[:header_end].decode("utf-8", "replace").strip("\r\n")
    mark = DELIMITERS.get(delimiter) or max(DELIMITERS.values(), key=header.count)
    columns = tuple(name.strip().removeprefix("g:") for name in next(csv.reader([header], delimiter=mark)))
    _check_columns(columns)
    return Table(columns=columns, delimiter=mark, blocks=_chain(first[header_end:], blocks))


EMPTY_WORDS = (
    "The uploaded file has no products. If you want to remove all products of this data feed, "
    "delete the data feed instead."
)


def cut_first(text: bytes) -> int:
    """Where the first record ends."""
    at, quotes = -1, 0
    while True:
        newline = text.find(b"\n", at + 1)
        if newline < 0:
            return len(text)
        quotes += text.count(b'"', at + 1, newline)
        at = newline
        if quotes % 2 == 0:
            return at + 1


def _check_columns(columns: tuple[str, ...]) -> None:
    if "id" not in columns:
        words = f"The first row must name the columns, one of them id. It names: {', '.join(columns)[:500]}."
        raise FileProblem("Required column is missing: id", words)
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise FileProblem(
            "Columns appear twice", f"Each column may appear once. These appear more often: {', '.join(twice)}."
        )


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def rows(table: Table, block: bytes) -> Iterator[list[str]]:
    """The fields of each record of a block; what is empty from end to end is no record."""
    text = io.StringIO(block.decode("utf-8", "replace").replace("\0", " "), newline="")
    for fields in csv.reader(text, delimiter=table.delimiter):
        if any(fields):
            yield fields
