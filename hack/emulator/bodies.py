"""Parameters out of a request: query string, form, JSON and multipart, as Meta takes them.

Large bodies are kept in an unlinked temporary file and read through a memory map, so that a file of some hundred
megabytes costs no memory. Own multipart reading, because the libraries at hand want a web framework around them and
copy the parts.
"""

import mmap
import re
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from email.message import Message
from typing import TypeAlias
from urllib.parse import parse_qsl

from hack.emulator import jsons, messages

SPOOL_BYTES = 8 * 1024 * 1024  # above this a body goes to a temporary file
INDEXED = re.compile(r"^(?P<name>[A-Za-z_][\w.]*)\[(?P<index>\d*)\]$")  # PHP-style list parameters

Buffer = bytes | mmap.mmap


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A part of a multipart body: a window on its buffer."""

    filename: str
    buffer: Buffer
    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start

    def read(self, offset: int, length: int) -> bytes:
        begin = self.start + offset
        return bytes(self.buffer[begin : min(begin + length, self.end)])


def whole_file(filename: str, content: Buffer) -> UploadedFile:
    return UploadedFile(filename=filename, buffer=content, start=0, end=len(content))


Value: TypeAlias = "jsons.Json | UploadedFile"
Parameters: TypeAlias = "dict[str, Value]"


async def collect(
    body: bytes | AsyncIterator[bytes], first_byte: Callable[[], None], most: int | None = None
) -> Buffer:
    """The whole body; `first_byte` is called when its first chunk is there. `most` stops early, as a reset does."""
    if isinstance(body, bytes):
        first_byte()
        return body if most is None else body[:most]
    seen = 0
    with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:
        async for chunk in body:
            if not seen:
                first_byte()
            seen += len(chunk)
            spool.write(chunk)
            if most is not None and seen >= most:
                break
        if not seen:
            first_byte()
            return b""
        if seen <= SPOOL_BYTES:
            spool.seek(0)
            return spool.read()
        spool.flush()
        return mmap.mmap(spool.fileno(), seen, access=mmap.ACCESS_READ)


def parse(query: str, content_type: str, body: Buffer) -> Parameters:
    """All parameters of a request. Raises GraphError where a body can't be read."""
    found: Parameters = dict(parse_qsl(query, keep_blank_values=True))
    kind, options = _content_type(content_type)
    if len(body) == 0:
        return fold_indexed(found)
    if kind == "application/json":
        try:
            document = jsons.parse(bytes(body))
        except ValueError:
            raise messages.invalid("The request body is not valid JSON") from None
        if not isinstance(document, dict):
            raise messages.invalid("The request body must be a JSON object")
        found.update(document)
    elif kind == "multipart/form-data":
        found.update(_multipart(body, options.get("boundary", "")))
    else:  # a body without a type is read as a form, as curl -d sends it
        try:
            found.update(parse_qsl(bytes(body).decode(), keep_blank_values=True))
        except UnicodeDecodeError:
            raise messages.invalid("The request body is not UTF-8") from None
    return fold_indexed(found)


def fold_indexed(found: Parameters) -> Parameters:
    """`a[0]=x&a[1]=y` is the list a."""
    folded: Parameters = {}
    lists: dict[str, list[tuple[int, jsons.Json]]] = {}
    for name, value in found.items():
        match = INDEXED.match(name)
        if match is None or isinstance(value, UploadedFile):
            folded[name] = value
            continue
        values = lists.setdefault(match["name"], [])
        values.append((int(match["index"] or len(values)), value))
    for name, values in lists.items():
        folded[name] = [value for _, value in sorted(values, key=lambda pair: pair[0])]
    return folded


def _content_type(text: str) -> tuple[str, dict[str, str]]:
    message = Message()
    message["content-type"] = text or "application/x-www-form-urlencoded"
    return message.get_content_type(), dict(message.get_params(failobj=[])[1:])


def _multipart(body: Buffer, boundary: str) -> Parameters:
    if not boundary:
        raise messages.invalid("The multipart body has no boundary")
    found: Parameters = {}
    fence = b"--" + boundary.encode("latin-1")
    start = body.find(fence)
    while start >= 0:
        start += len(fence)
        if body[start : start + 2] == b"--":
            return found
        head_end = body.find(b"\r\n\r\n", start)
        stop = body.find(b"\r\n" + fence, max(head_end, start))
        if head_end < 0 or stop < 0:
            break
        name, filename = _part_names(bytes(body[start:head_end]))
        if filename is None:
            found[name] = bytes(body[head_end + 4 : stop]).decode("utf-8", "replace")
        else:
            found[name] = UploadedFile(filename=filename, buffer=body, start=head_end + 4, end=stop)
        start = stop + 2
    raise messages.invalid("The multipart body is cut off")


def _part_names(head: bytes) -> tuple[str, str | None]:
    message = Message()
    for line in head.decode("utf-8", "replace").split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip():
            message[name.strip()] = value.strip()
    field = message.get_param("name", header="content-disposition")
    filename = message.get_param("filename", header="content-disposition")
    return (
        field if isinstance(field, str) else "",
        filename if isinstance(filename, str) else None,
    )
