"""A source's bytes on the disk, decompressed, counted and digested, in a file without a name.

The file ends with the process, however that ends. Reading from it, rather than from the network, keeps a slow source
apart from the parser, and makes "all or nothing" simple: nobody sees a row before the last byte was counted.
"""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Self

from isal import isal_zlib
from isal.igzip_lib import IsalError

from controller.faults import Disposition, Fault

PIECE_BYTES = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"
GZIP_WINDOW_BITS = 31
EXPANSION_MAX = 200
"""gzip of rows expands 3 to 20 times; of one repeated byte about 1,000 times."""
EXPANSION_FREE_BYTES = 64 << 20
"""Small files may expand at will."""


class Spool:
    """Bytes of one read. Use as a context manager; the file is gone afterwards."""

    def __init__(self, directory: Path, bytes_max: int) -> None:
        self._file = TemporaryFile(dir=directory)  # noqa: SIM115 - closed by __exit__
        self._bytes_max = bytes_max
        self._digest = hashlib.sha256()
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # a full disk was reported when it was met; closing tries to write again
            self._file.close()

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()

    def fill(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            self.size += len(piece)
            if self.size > self._bytes_max:
                raise _malformed(f"the source is larger than {self._bytes_max} bytes")
            self._digest.update(piece)
            self._file.write(piece)
        self._file.flush()

    def pieces(self) -> Iterator[bytes]:
        self._file.seek(0)
        while piece := self._file.read(PIECE_BYTES):
            yield piece

    def head(self, size: int) -> bytes:
        self._file.seek(0)
        return self._file.read(size)


def decompressed(pieces: Iterable[bytes], *, gzip: bool | None) -> Iterator[bytes]:
    """Decompress gzip, all members of it; `gzip=None` decides by the first two bytes. A cut file is refused."""
    stream = _with_first(pieces)
    first = next(stream, b"")
    if gzip is False or (gzip is None and not first.startswith(GZIP_MAGIC)):
        yield first
        yield from stream
        return
    yield from _gunzipped(_chained(first, stream))


def _gunzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    inflater = isal_zlib.decompressobj(wbits=GZIP_WINDOW_BITS)
    packed = unpacked = 0
    started = False
    for piece in pieces:
        packed += len(piece)
        data = piece
        while data:
            if inflater.eof:
                if not data.startswith(GZIP_MAGIC[: len(data)]):
                    return
                inflater = isal_zlib.decompressobj(wbits=GZIP_WINDOW_BITS)
            try:
                out = inflater.decompress(data, PIECE_BYTES)
            except IsalError:  # type: ignore[misc] # its stub declares an instance
                raise _malformed("the source is not valid gzip") from None
            started = True
            data = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            unpacked += len(out)
            if unpacked > EXPANSION_FREE_BYTES and unpacked > packed * EXPANSION_MAX:
                raise _malformed(f"the source expands more than {EXPANSION_MAX} times; such files are refused")
            yield out
            if not out and not inflater.eof and not data:
                break
    if started and not inflater.eof:
        raise _malformed("the source's gzip ends before its end marker: it was cut short")


def _with_first(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Make sure that the first piece has the two bytes that tell gzip, or is all there is."""
    held = b""
    stream = iter(pieces)
    for piece in stream:
        held += piece
        if len(held) >= len(GZIP_MAGIC):
            break
    yield held
    yield from stream


def _chained(first: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _malformed(why: str) -> Fault:
    return Fault("SourceMalformed", Disposition.RETRY, why)
