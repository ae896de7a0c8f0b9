"""Files on a volume that the administrator gave a name. What a Catalog names never leads out of it."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from controller.faults import Disposition, Fault
from controller.ports.preparing import SourceRoot
from controller.sources.addresses import refused

PIECE_BYTES = 1 << 20


def locate(name: str, path: str, roots: Sequence[SourceRoot]) -> Path:
    """Resolve every symbolic link and refuse what is not a regular file inside the named root."""
    root = next((each for each in roots if each.name == name), None)
    if root is None:
        known = ", ".join(sorted(each.name for each in roots)) or "none"
        raise refused(f"source.volume.name: no volume {name!r} is offered here; known: {known}")
    relative = PurePosixPath(path)
    if relative.is_absolute() or ".." in relative.parts or "\x00" in path:
        raise refused("source.volume.path must be relative to the volume and must not contain '..'")
    try:
        base = Path(root.directory).resolve(strict=True)
        found = base.joinpath(relative).resolve(strict=True)
    except (OSError, RuntimeError):
        raise Fault("SourceUnreachable", Disposition.RETRY, f"volume {name!r} has no file {path!r}") from None
    if not found.is_relative_to(base):
        raise refused(f"source.volume.path {path!r} leads out of the volume {name!r}")
    if not found.is_file():
        raise refused(f"source.volume.path {path!r} is not a regular file")
    return found


def version(path: Path) -> str:
    """Name the version of a file by time of change and size."""
    found = path.stat()
    return f"{found.st_mtime_ns}-{found.st_size}"


def read(path: Path) -> Iterator[bytes]:
    """Yield the file's bytes; refuse one that changes while it is read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            before = os.fstat(descriptor)
            size = 0
            while piece := file.read(PIECE_BYTES):
                size += len(piece)
                yield piece
            after = os.fstat(descriptor)
    except OSError as error:
        raise Fault("SourceUnreachable", Disposition.RETRY, f"{path.name} cannot be read: {error.strerror}") from None
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size) or size != after.st_size:
        raise Fault("SourceMalformed", Disposition.RETRY, f"{path.name} changed while it was read; it is read again")
