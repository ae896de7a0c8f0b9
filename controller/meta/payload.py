"""Bodies that go out as a stream: files as multipart, batches as prepared JSON.

Promise: a request whose bytes are not exactly those that were planned never ends. The announced length needs the last
piece, and the last piece is withheld until size and digest are right; otherwise the request is cut off and Meta sees
an incomplete body, which it cannot have accepted.

httpx's own multipart encoder reads files synchronously and cannot announce the length of an asynchronous stream,
therefore the two constant parts around the file are made here.
"""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from controller.faults import Disposition, Fault
from controller.ports.meta import Body

FILE_CONTENT_TYPE = "text/csv"
"""What the samples of Meta's feed reference send; the container (gzip) is recognised by the name of the file."""


@dataclass(frozen=True, slots=True)
class FilePart:
    """A feed file for a multipart body."""

    file_name: str
    body: Body


@dataclass(frozen=True, slots=True)
class JsonDocument:
    """A complete JSON document that was prepared elsewhere."""

    body: Body


@dataclass(frozen=True, slots=True)
class Stream:
    """Content for the wire: its exact length and its type are known before the first byte."""

    content_type: str
    length_bytes: int
    open: Callable[[], AsyncGenerator[bytes, None]]


def stream_json(document: JsonDocument, title: str) -> Stream:
    body = document.body
    return Stream("application/json", body.size_bytes, lambda: checked_pieces(body, title))


def stream_multipart(part: FilePart, fields: tuple[tuple[str, str], ...], title: str) -> Stream:
    """Wrap a file in multipart/form-data; the fields come first, so that they are known before the file arrives."""
    body = part.body
    boundary = f"metacatalog-{body.sha256[:40]}"
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{escape(name)}"\r\n\r\n{value}\r\n'
        for name, value in fields
    )
    head += (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{escape(part.file_name)}"\r\n'
        f"Content-Type: {FILE_CONTENT_TYPE}\r\n\r\n"
    )
    before, after = head.encode(), f"\r\n--{boundary}--\r\n".encode()

    async def pieces() -> AsyncGenerator[bytes, None]:
        yield before
        async with aclosing(checked_pieces(body, title)) as checked:
            async for piece in checked:
                yield piece
        yield after

    return Stream(f"multipart/form-data; boundary={boundary}", len(before) + body.size_bytes + len(after), pieces)


async def checked_pieces(body: Body, title: str) -> AsyncGenerator[bytes, None]:
    """Pass the bytes of a body on, one piece late, and raise instead of passing the last one on when they are wrong."""
    digest = hashlib.sha256()
    size_bytes = 0
    withheld = b""
    async with _closing(body.open()) as source:
        async for piece in source:
            size_bytes += len(piece)
            if size_bytes > body.size_bytes:
                break
            digest.update(piece)
            if withheld and piece:
                yield withheld
            withheld = piece or withheld
    if size_bytes != body.size_bytes:
        raise _mismatch(title, "size")
    if digest.hexdigest() != body.sha256:
        raise _mismatch(title, "digest")
    if withheld:
        yield withheld


@asynccontextmanager
async def _closing(source: AsyncIterator[bytes]) -> AsyncIterator[AsyncIterator[bytes]]:
    """Close the file behind an iterator when the request ends early; not every iterator can be closed."""
    try:
        yield source
    finally:
        if isinstance(source, AsyncGenerator):
            await source.aclose()


def escape(text: str) -> str:
    """Percent-encode what would end a quoted parameter (HTML: multipart/form-data encoding)."""
    return "".join(
        f"%{ord(character):02X}" if character in '"\\' or ord(character) < 0x20 or ord(character) == 0x7F else character
        for character in text
    )


def _mismatch(title: str, what: str) -> Fault:
    return Fault(
        reason="PayloadMismatch",
        disposition=Disposition.DEFECT,
        message=f"{title}: the stored payload does not have the planned {what}; it was cut off, nothing was accepted",
    )
