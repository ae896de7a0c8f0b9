"""Arrays in one object: a header in JSON, then each array as it lies in memory, mapped when it is read.

NumPy's own container needs a name and a zip archive per set and cannot map what is inside.
"""

import json
from collections.abc import Iterable, Iterator
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
    arrays = [*prints.arrays(), ("dead", dead)]
    with store.creating(key) as path, path.open("wb") as file:
        _write(file, arrays)
    return part_of(store, key, prints.rows)


def read_prints(store: LocalStore, part: Part) -> tuple[Prints, npt.NDArray[np.uint32]]:
    found = dict(_mapped(store.path(verified(store, part).key), part.key))
    dead = found.pop("dead")
    try:
        return Prints(**found), dead.astype(np.uint32)  # type: ignore[arg-type]  # types stand in the file
    except TypeError:
        raise lost(f"{part.key} in the store cannot be read") from None


def _write(file: BinaryIO, arrays: Iterable[tuple[str, Array]]) -> None:
    listed = list(arrays)
    layout, offset = [], 0
    for name, array in listed:
        layout.append([name, array.dtype.str, int(array.size), offset])
        offset += -(-array.nbytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
    header = _MAGIC + json.dumps(layout).encode()
    start = -(-(len(header) + 1) // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
    file.write(header.ljust(start - 1) + b"\n")
    for _, array in listed:
        file.write(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
        file.write(bytes(-array.nbytes % ALIGNMENT_BYTES))


def _mapped(path: Path, key: str) -> Iterator[tuple[str, Array]]:
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES_MAX)
    end = head.find(b"\n", len(_MAGIC))
    if not head.startswith(_MAGIC) or end < 0:
        raise lost(f"{key} in the store cannot be read")
    whole = np.memmap(path, dtype=np.uint8, mode="r").view(np.ndarray)
    for name, dtype, size, offset in json.loads(head[len(_MAGIC) : end]):
        kind = np.dtype(dtype)
        first = end + 1 + offset
        yield name, whole[first : first + size * kind.itemsize].view(kind)
