"""Compressed bytes in, the file's own bytes out: gzip, zip, bzip2 and zstd, by declaration or by the first bytes.

Promises: a file without its end marker (gzip's trailer, zip's directory, the last frame of zstd) is refused, and so is
one that expands beyond reason; neither costs memory. A zip holds exactly one file.

No library serves all four as a stream with a bound on what one step may produce.
"""

import bz2
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import Protocol

import zstandard
from isal import isal_zlib
from isal.igzip_lib import IsalError

from controller.api.v1alpha1.items import Compression
from controller.faults import Disposition, Fault

PIECE_BYTES = 1 << 20
EXPANSION_MAX = 200
"""gzip of rows expands 3 to 20 times; of one repeated byte about 1,000 times."""
EXPANSION_FREE_BYTES = 64 << 20
"""Small files may expand at will."""
MAGIC = {
    Compression.GZIP: b"\x1f\x8b",
    Compression.BZIP2: b"BZh",
    Compression.ZSTD: b"\x28\xb5\x2f\xfd",
    Compression.ZIP: b"PK\x03\x04",
}
_EMPTY_ZIP = b"PK\x05\x06"
_GZIP_WINDOW_BITS = 31
_ZSTD_STEP_BYTES = 2_048
"""zstd writes at most 128 KiB for three bytes, so one step never yields more than 90 MB (RFC 8878, RLE blocks)."""
_ZSTD_WINDOW_BYTES_MAX = 128 << 20
_ZIP_FLAG_ENCRYPTED = 1
_MAGIC_BYTES = 4


class _Inflater(Protocol):
    """One member of a stream of compressed members."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...


def unpacked(pieces: Iterable[bytes], declared: Compression, scratch: Path) -> Iterator[bytes]:
    """Yield the bytes of the file inside, or the bytes as they are. A zip waits in `scratch` for its directory."""
    stream = _with_first(pieces)
    first = next(stream, b"")
    kind = told(first) if declared is Compression.AUTO else declared
    whole = _chained(first, stream)
    if kind is Compression.NONE:
        yield from whole
    elif kind is Compression.ZIP:
        yield from _bounded(whole, lambda counted: _unzipped(counted, scratch))
    else:
        yield from _bounded(whole, lambda counted: _inflated(counted, kind))


def gunzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Undo the gzip that a server put on for the transfer."""
    return _bounded(pieces, lambda counted: _inflated(counted, Compression.GZIP))


def told(first: bytes) -> Compression:
    if first.startswith(_EMPTY_ZIP):
        return Compression.ZIP
    return next((kind for kind, magic in MAGIC.items() if first.startswith(magic)), Compression.NONE)


def _bounded(pieces: Iterable[bytes], unpack: Callable[[Iterator[bytes]], Iterator[bytes]]) -> Iterator[bytes]:
    """Compare what goes in with what comes out."""
    packed = unpacked = 0

    def counted() -> Iterator[bytes]:
        nonlocal packed
        for piece in pieces:
            packed += len(piece)
            yield piece

    for out in unpack(counted()):
        unpacked += len(out)
        if unpacked > EXPANSION_FREE_BYTES and unpacked > packed * EXPANSION_MAX:
            raise _malformed(f"the source expands more than {EXPANSION_MAX} times; such files are refused")
        yield out


def _inflated(pieces: Iterator[bytes], kind: Compression) -> Iterator[bytes]:
    """All members of a stream, one after the other. Zeros behind the last one are padding."""
    member = _members(kind)
    current: _Inflater | None = None
    feed: Callable[[bytes], Iterator[bytes]] | None = None
    held = b""
    done = False
    for piece in pieces:
        data = held + piece
        held = b""
        while data and not done:
            if current is None or current.eof:
                magic = MAGIC[kind]
                if current is not None and len(data) < len(magic) and magic.startswith(data):
                    held = data
                    break
                if current is not None and not data.startswith(magic):
                    done = True
                    break
                current, feed = member()
            assert feed is not None
            try:
                yield from feed(data)
            except (IsalError, zlib.error, OSError, ValueError, EOFError, zstandard.ZstdError):  # type: ignore[misc] # isal's stub declares an instance
                raise _malformed(f"the source is not valid {kind}") from None
            data = current.unused_data if current.eof else b""
    if current is not None and not current.eof:
        raise _malformed(f"the source's {kind} ends before its end marker: it was cut short")


def _members(kind: Compression) -> Callable[[], tuple[_Inflater, Callable[[bytes], Iterator[bytes]]]]:
    return {Compression.GZIP: _gzip, Compression.BZIP2: _bzip2, Compression.ZSTD: _zstd}[kind]


def _gzip() -> tuple[_Inflater, Callable[[bytes], Iterator[bytes]]]:
    inflater = isal_zlib.decompressobj(wbits=_GZIP_WINDOW_BITS)

    def feed(data: bytes) -> Iterator[bytes]:
        while data and not inflater.eof:
            out = inflater.decompress(data, PIECE_BYTES)
            data = inflater.unconsumed_tail
            yield out

    return inflater, feed


def _bzip2() -> tuple[_Inflater, Callable[[bytes], Iterator[bytes]]]:
    inflater = bz2.BZ2Decompressor()

    def feed(data: bytes) -> Iterator[bytes]:
        yield inflater.decompress(data, PIECE_BYTES)
        while not inflater.eof and not inflater.needs_input:
            yield inflater.decompress(b"", PIECE_BYTES)

    return inflater, feed


def _zstd() -> tuple[_Inflater, Callable[[bytes], Iterator[bytes]]]:
    inflater = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES_MAX).decompressobj()
    rest = _Rest(inflater)

    def feed(data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), _ZSTD_STEP_BYTES):
            yield inflater.decompress(data[start : start + _ZSTD_STEP_BYTES])
            if inflater.eof:
                rest.behind = data[start + _ZSTD_STEP_BYTES :]
                return

    return rest, feed


class _Rest:
    """A frame that was fed in steps: what it left of its last step, and the steps that it never saw."""

    def __init__(self, inflater: "zstandard.ZstdDecompressionObj") -> None:
        self._inflater = inflater
        self.behind = b""

    @property
    def eof(self) -> bool:
        return self._inflater.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflater.unused_data + self.behind


def _unzipped(pieces: Iterator[bytes], scratch: Path) -> Iterator[bytes]:
    """A zip is read from its end: all of it must be there first."""
    with TemporaryFile(dir=scratch) as file:
        for piece in pieces:
            file.write(piece)
        try:
            with zipfile.ZipFile(file) as archive, archive.open(_only(archive)) as member:
                while out := member.read(PIECE_BYTES):
                    yield out
        except (zipfile.BadZipFile, EOFError, zlib.error, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of our own disk
            raise _malformed("the source's zip is damaged or was cut short") from None
        except NotImplementedError:
            raise _malformed("the source's zip uses a compression that is not read; use Deflate") from None


def _only(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """The one file inside. What macOS adds beside it does not count."""
    files = [each for each in archive.infolist() if not each.is_dir() and not each.filename.startswith("__MACOSX/")]
    if any(each.filename == "[Content_Types].xml" for each in files):
        raise _malformed("the source is an Office document (Excel?); export it as CSV instead")
    if len(files) != 1:
        raise _malformed(f"the source's zip must hold exactly one file and holds {len(files)}")
    if files[0].flag_bits & _ZIP_FLAG_ENCRYPTED:
        raise _malformed("the file in the source's zip is encrypted; use one without a password")
    return files[0]


def _with_first(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Make sure that the first piece has the bytes that tell the kind, or is all there is."""
    held = b""
    stream = iter(pieces)
    for piece in stream:
        held += piece
        if len(held) >= _MAGIC_BYTES:
            break
    yield held
    yield from stream


def _chained(first: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _malformed(why: str) -> Fault:
    return Fault("SourceMalformed", Disposition.RETRY, why)
