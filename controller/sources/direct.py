"""A source's bytes where they lie: plain UTF-8 on a volume is read in place instead of being copied first.

Read twice, once for the digest and once for the rows, the file must not change in between; it is refused if it did.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import xxhash

from controller.api.v1alpha1.items import Compression, FileFormat, FileType
from controller.faults import Disposition, Fault
from controller.products import encodings
from controller.products.encodings import UTF8, Encoding
from controller.products.shapes import BOM, HEAD_BYTES, PARQUET_MAGIC
from controller.sources import unpacking
from controller.sources.spool import AUTO, PIECE_BYTES, Spool


class Direct:
    """Bytes of one file. Use as a context manager; it has the reading half of `Spool`."""

    def __init__(self, path: Path, version: str, scratch: Path) -> None:
        self.scratch = scratch
        self.version = version
        self.encoding = Encoding(UTF8)
        self._name = path.name
        try:
            self.descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise _unreadable(self._name, error) from None
        found = os.fstat(self.descriptor)
        self._stamp = (found.st_mtime_ns, found.st_size)
        self.size = found.st_size
        self.digest = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.descriptor)

    def serves(self, declared: FileFormat) -> bool:
        """Tell whether the file is text that needs neither unpacking nor another encoding."""
        head = self.head(HEAD_BYTES)
        packed = declared.compression is not Compression.NONE and unpacking.told(head) is not Compression.NONE
        if packed or declared.compression not in (Compression.NONE, Compression.AUTO):
            return False
        bare_returns = b"\r" in head and b"\n" not in head
        if declared.type is FileType.PARQUET or head.startswith((PARQUET_MAGIC, BOM)) or bare_returns:
            return False
        if declared.encoding == AUTO:
            name = encodings.announced(head) or encodings.examine(self.pieces()).name
        else:
            name = encodings.named(declared.encoding, "format.encoding")
        return name == UTF8

    def take(self, bytes_max: int) -> None:
        """Read everything once, for its digest."""
        if self.size > bytes_max:
            raise Fault("SourceMalformed", Disposition.RETRY, f"the source is larger than {bytes_max} bytes")
        digest = xxhash.xxh3_128()
        for piece in self.pieces():
            digest.update(piece)
        self.digest = digest.hexdigest()
        self.must_be_unchanged()

    def must_be_unchanged(self) -> None:
        found = os.fstat(self.descriptor)
        if (found.st_mtime_ns, found.st_size) != self._stamp:
            message = f"{self._name} changed while it was read; it is read again"
            raise Fault("SourceMalformed", Disposition.RETRY, message)

    @property
    def path(self) -> Path:
        """A name for readers that need one; it holds while this is open."""
        return Path(f"/proc/self/fd/{self.descriptor}")

    def pieces(self) -> Iterator[bytes]:
        at = 0
        try:
            while piece := os.pread(self.descriptor, PIECE_BYTES, at):
                at += len(piece)
                yield piece
        except OSError as error:
            raise _unreadable(self._name, error) from None

    def head(self, size: int) -> bytes:
        return os.pread(self.descriptor, size, 0)


Delivered = Spool | Direct
"""What a source left for the readers."""


def _unreadable(name: str, error: OSError) -> Fault:
    return Fault("SourceUnreachable", Disposition.RETRY, f"{name} cannot be read: {error.strerror}")
