"""One gzip member, packed by a thread of its own while the next piece of text is made.

Whether Meta reads on behind the first gzip member of a file is not published; so there is exactly one, without time
or name. What ISA-L makes of a text depends on how it is cut into pieces; here all pieces have one size, so that the
bytes are a function of the text alone. ISA-L leaves Python's lock while it packs, and few pieces wait.
"""

import hashlib
import queue
import threading
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

from isal import isal_zlib

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

GZIP_LEVEL = 2
"""ISA-L: 12 % more bytes than zlib's default at a sixteenth of the time."""
GZIP_WINDOW_BITS = 31
PIECE_BYTES = 1 << 20
PIECES_WAITING_MAX = 8
"""More than Polars hands over at once, so that neither side waits for the other for long."""


class Packing:
    """A file to write text to. Use as a context manager; afterwards all of it is packed and written to `target`.

    `bytes_max` bounds the packed bytes: behind it nothing more is written, and `too_large` says so.
    """

    def __init__(self, target: BinaryIO, bytes_max: int) -> None:
        self.size = 0
        self.too_large = False
        self._target = target
        self._bytes_max = bytes_max
        self._digest = hashlib.sha256()
        self._rest = bytearray()
        self._pieces: queue.Queue[bytes | None] = queue.Queue(PIECES_WAITING_MAX)
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._pack, name="packing", daemon=True)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._rest:
            self._pieces.put(bytes(self._rest))
        self._pieces.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def write(self, text: "Buffer", /) -> int:
        """Take some text. Whatever became of the file meanwhile is said at the end."""
        view = memoryview(text)
        taken = 0
        if self._rest:
            taken = min(PIECE_BYTES - len(self._rest), view.nbytes)
            self._rest += view[:taken]
            if len(self._rest) == PIECE_BYTES:
                self._pieces.put(bytes(self._rest))
                self._rest.clear()
        while view.nbytes - taken >= PIECE_BYTES:
            self._pieces.put(bytes(view[taken : taken + PIECE_BYTES]))
            taken += PIECE_BYTES
        self._rest += view[taken:]
        return view.nbytes

    def flush(self) -> None:
        """Polars asks for it; only the end counts."""

    def _pack(self) -> None:
        gzip = isal_zlib.compressobj(GZIP_LEVEL, isal_zlib.DEFLATED, GZIP_WINDOW_BITS)
        while (piece := self._pieces.get()) is not None:
            self._put(gzip.compress(piece))
        self._put(gzip.flush())

    def _put(self, packed: bytes) -> None:
        if self.too_large or self._error is not None:
            return
        self.size += len(packed)
        if self.size > self._bytes_max:
            self.too_large = True
            return
        self._digest.update(packed)
        try:
            self._target.write(packed)
        except OSError as error:
            self._error = error
