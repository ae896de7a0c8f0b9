"""Arrays in one object: a header in JSON, then each array as it lies in memory, mapped when it is read.

NumPy's own container needs a name and a zip archive per set and cannot map what is inside.
"""

import json
import mmap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from controller.preparing.manifests import Part, part_of, verified
from controller.products.prints import Prints
from controller.stores.local import LocalStore, lost

ALIGNMENT_BYTES = 64
HEADER_BYTES_MAX = 1 << 16
_MAGIC = b"METACATALOG-PRINTS-2\n"

Array = npt.NDArray[np.generic]


def prints_key(prefix: str, part: str) -> str:
    return f"{prefix}/prints-v2-{part}.bin"


def write_prints(store: LocalStore, key: str, prints: Prints, dead: npt.NDArray[np.uint32]) -> Part:
    """Write fingerprints, and with them which rows of an earlier object no longer stand."""
    return write_stored(
        store, key, [*map(Stored.of, *zip(*prints.arrays(), strict=True)), Stored.of("dead", dead)], prints.rows
    )


@dataclass(frozen=True, slots=True)
class Stored:
    """An array that is made when it is written, piece by piece."""

    name: str
    dtype: "np.dtype[np.generic]"
    size: int
    pieces: Callable[[], Iterable[Array | bytes]]

    @classmethod
    def of(cls, name: str, array: Array) -> "Stored":
        return cls(name, array.dtype, int(array.size), lambda: (array,))

    @property
    def bytes(self) -> int:
        return self.size * self.dtype.itemsize


def write_stored(store: LocalStore, key: str, arrays: Sequence[Stored], rows: int) -> Part:
    """Write the fingerprints of so many rows, and `dead`."""
    with store.creating(key) as path, path.open("wb") as file:
        _write(file, arrays)
    return part_of(store, key, rows)


def read_prints(store: LocalStore, part: Part) -> tuple[Prints, npt.NDArray[np.uint32]]:
    found = dict(_mapped(store.path(verified(store, part).key), part.key))
    dead = found.pop("dead")
    try:
        return Prints(**found), dead.astype(np.uint32)  # type: ignore[arg-type]  # types stand in the file
    except TypeError:
        raise lost(f"{part.key} in the store cannot be read") from None


def _write(file: BinaryIO, arrays: Sequence[Stored]) -> None:
    layout, offset = [], 0
    for each in arrays:
        layout.append([each.name, each.dtype.str, each.size, offset])
        offset += -(-each.bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
    header = _MAGIC + json.dumps(layout).encode()
    start = -(-(len(header) + 1) // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
    file.write(header.ljust(start - 1) + b"\n")
    for each in arrays:
        written = 0
        for piece in each.pieces():
            content = piece if isinstance(piece, bytes) else np.ascontiguousarray(piece).view(np.uint8).data
            written += file.write(content)
        assert written == each.bytes, each.name
        file.write(bytes(-each.bytes % ALIGNMENT_BYTES))


def _mapped(path: Path, key: str) -> Iterator[tuple[str, Array]]:
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES_MAX)
    end = head.find(b"\n", len(_MAGIC))
    if not head.startswith(_MAGIC) or end < 0:
        raise lost(f"{key} in the store cannot be read")
    with path.open("rb") as file:
        whole = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    for name, dtype, size, offset in json.loads(head[len(_MAGIC) : end]):
        kind = np.dtype(dtype)
        first = end + 1 + offset
        yield name, whole[first : first + size * kind.itemsize].view(kind)


def release(array: Array) -> None:
    """Give back the memory of what was read of the file behind an array; it is read again where it is needed.

    The kernel maps sixteen pages for each that is touched, so a few rows here and there soon are the whole file.
    """
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, memoryview):
        base = base.obj
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)
