"""A source's bytes on the disk, decompressed, counted and digested, text in UTF-8, in a file without a name.

The file ends with the process, however that ends. Reading from it, rather than from the network, keeps a slow source
apart from the parser, and makes "all or nothing" simple: nobody sees a row before the last byte was counted.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Self

from controller.api.v1alpha1.items import FileFormat, FileType
from controller.faults import Disposition, Fault
from controller.products import encodings
from controller.products.encodings import UTF8, Encoding
from controller.products.shapes import BOM, HEAD_BYTES, PARQUET_MAGIC

PIECE_BYTES = 1 << 20
AUTO = "Auto"


class Spool:
    """Bytes of one read. Use as a context manager; the file is gone afterwards."""

    def __init__(self, directory: Path, bytes_max: int) -> None:
        self.scratch = directory
        self._file = TemporaryFile(dir=directory)  # noqa: SIM115 - closed by __exit__
        self._bytes_max = bytes_max
        self._digest = hashlib.sha256()
        self.size = 0
        self.encoding = Encoding(UTF8)
        """What the text was written in, once it is settled."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # a full disk was reported when it was met; closing tries to write again
            self._file.close()

    @property
    def digest(self) -> str:
        """Of the bytes as they came, after decompression and before any change of encoding."""
        return self._digest.hexdigest()

    def fill(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            self.size += len(piece)
            if self.size > self._bytes_max:
                raise _too_large(self._bytes_max)
            self._digest.update(piece)
            self._file.write(piece)
        self._file.flush()

    def settle(self, declared: FileFormat) -> None:
        """Turn text into UTF-8 with line feeds, before anyone hashes or parses a record of it."""
        head = self.head(HEAD_BYTES)
        if declared.type is FileType.PARQUET or head.startswith(PARQUET_MAGIC):
            return
        if declared.encoding == AUTO:
            name = encodings.announced(head)
            self.encoding = Encoding(name) if name else encodings.examine(self.pieces())
        else:
            self.encoding = Encoding(encodings.named(declared.encoding, "format.encoding"))
        bare_returns = b"\r" in head and b"\n" not in head and self.encoding.name not in encodings.WIDE
        if self.encoding.name == UTF8 and not head.startswith(BOM) and not bare_returns:
            return
        text = (piece.replace(b"\r", b"\n") for piece in self.pieces()) if bare_returns else self.pieces()
        self._replace(encodings.recode(text, self.encoding))

    def _replace(self, pieces: Iterable[bytes]) -> None:
        with contextlib.ExitStack() as undo:
            file = undo.enter_context(TemporaryFile(dir=self.scratch))
            size = 0
            for piece in pieces:
                size += len(piece)
                if size > self._bytes_max:
                    raise _too_large(self._bytes_max)
                file.write(piece)
            file.flush()
            undo.pop_all()
        self._file.close()
        self._file, self.size = file, size

    @property
    def descriptor(self) -> int:
        return self._file.fileno()

    @property
    def path(self) -> Path:
        """A name for readers that need one; it holds while this is open."""
        return Path(f"/proc/self/fd/{self._file.fileno()}")

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes from the start; several readers may be on their way at the same time."""
        at = 0
        while piece := os.pread(self.descriptor, PIECE_BYTES, at):
            at += len(piece)
            yield piece

    def head(self, size: int) -> bytes:
        return os.pread(self.descriptor, size, 0)


def _too_large(bytes_max: int) -> Fault:
    return Fault("SourceMalformed", Disposition.RETRY, f"the source is larger than {bytes_max} bytes")
