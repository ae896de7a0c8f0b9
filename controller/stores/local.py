"""A store on a mounted volume: immutable objects that are either whole and durable, or not there.

An object is written to a temporary file beside its place, flushed to the disk, renamed, and the directories that
gained a name are flushed as well; so a crash at any point leaves the object or nothing (and perhaps a temporary file,
which no listing shows). A store carries an identity. A directory without one is not an empty store but a lost one:
a volume that was not mounted must never look like a catalog without items.

No library serves here: object-store libraries write local files without flushing them and hide what went wrong.
This module imports nothing of the data stack, because the operator uses it too.
"""

import contextlib
import errno
import filecmp
import itertools
import json
import os
import re
import urllib.parse
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import BinaryIO, ParamSpec, TypeVar

from controller.faults import Disposition, Fault

PIECE_BYTES = 1 << 20
IDENTITY_FILE = "identity.json"
IDENTITY_FORMAT = 1
TEMPORARY_PREFIX = ".tmp-"
SPOOL_DIRECTORY = ".spool"
KEY_LENGTH_MAX = 1_024
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._=+-]{0,199}")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_counter = itertools.count()
P = ParamSpec("P")
T = TypeVar("T")


def storage_fault(error: OSError, doing: str) -> Fault:
    """Classify what the file system said."""
    if error.errno in _FULL:
        return Fault("StoreFull", Disposition.RETRY, f"the store has no room left while {doing}: enlarge its volume")
    name = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return Fault("StoreUnavailable", Disposition.RETRY, f"the store answered {name} while {doing}")


def lost(why: str) -> Fault:
    return Fault("SnapshotLost", Disposition.STALLED, why)


def check_key(key: str) -> str:
    """Refuse a key that could leave the store or collide with the store's own files."""
    if len(key) > KEY_LENGTH_MAX or not all(_SEGMENT.fullmatch(part) for part in key.split("/")):
        raise Fault("StoreKeyInvalid", Disposition.DEFECT, f"the key {key!r} is not a relative path of plain names")
    return key


class LocalStore:
    """The synchronous core, used as it is in the child process."""

    def __init__(self, root: Path, *, durable: bool = True) -> None:
        """`durable=False` leaves out the flushing: for simulations, which crash processes but no machines."""
        self.root = root
        self.url = "file://" + urllib.parse.quote(str(root))
        self._durable = durable

    @classmethod
    def from_url(cls, url: str, *, durable: bool = True) -> "LocalStore":
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "file" or parts.netloc or not parts.path.startswith("/"):
            raise Fault("StoreUnavailable", Disposition.STALLED, "the store must be a file:// URL with absolute path")
        return cls(Path(urllib.parse.unquote(parts.path)), durable=durable)

    def identity(self) -> str | None:
        """Return the identity, None for a directory that never was a store, SnapshotLost for one that holds others'."""
        try:
            content = (self.root / IDENTITY_FILE).read_bytes()
        except FileNotFoundError:
            if any(self._walk("")):
                raise lost("the store has objects but no identity.json: restore the volume or empty it") from None
            return None
        except OSError as error:
            raise storage_fault(error, "reading its identity") from error
        try:
            document = json.loads(content)
            if document["format"] != IDENTITY_FORMAT:
                raise lost("identity.json of the store has an unknown format: it belongs to another release")
            return str(document["identity"])
        except (ValueError, KeyError, TypeError):
            raise lost("identity.json of the store cannot be read: restore the volume or empty it") from None

    def claim_identity(self, identity: str) -> None:
        known = self.identity()
        if known is not None:
            if known != identity:
                raise lost("the store carries the identity of another installation")
            return
        document = {"format": IDENTITY_FORMAT, "identity": identity}
        with self._storing("writing its identity"):
            self.root.mkdir(parents=True, exist_ok=True)
            temporary = self._temporary(self.root / IDENTITY_FILE)
            temporary.write_text(json.dumps(document), encoding="utf-8")
            self._publish(temporary, self.root / IDENTITY_FILE)

    def path(self, key: str) -> Path:
        """Where the object is, for readers that map files. It may not exist."""
        self._must_be_a_store()
        return self.root.joinpath(*check_key(key).split("/"))

    def read(self, key: str) -> bytes | None:
        path = self.path(key)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_fault(error, "reading an object") from error

    def write(self, key: str, content: bytes) -> None:
        with self.creating(key) as temporary, temporary.open("wb") as file:
            file.write(content)

    @contextlib.contextmanager
    def creating(self, key: str) -> Iterator[Path]:
        """Yield a temporary path; what stands there at the end becomes the object. An error leaves nothing behind."""
        target = self.path(key)
        with self._storing("writing an object"):
            self._make_directories(target.parent)
            temporary = self._temporary(target)
            try:
                yield temporary
                if not target.exists():
                    self._publish(temporary, target)
                elif not filecmp.cmp(temporary, target, shallow=False):
                    raise Fault("StoreKeyTaken", Disposition.DEFECT, f"{key} exists with other content")
            finally:
                temporary.unlink(missing_ok=True)

    def keys(self, prefix: str) -> tuple[str, ...]:
        self._must_be_a_store()
        return tuple(sorted(key for key in self._walk(prefix) if key.startswith(prefix)))

    def delete(self, keys: tuple[str, ...]) -> None:
        for key in keys:
            path = self.path(key)
            with self._storing("deleting an object"):
                path.unlink(missing_ok=True)
                self._remove_empty_directories(path.parent)

    def stream(self, key: str) -> Iterator[bytes]:
        path = self.path(key)
        try:
            with path.open("rb") as file:
                while piece := file.read(PIECE_BYTES):
                    yield piece
        except FileNotFoundError:
            raise lost(f"{key} is missing in the store") from None
        except OSError as error:
            raise storage_fault(error, "reading an object") from error

    def spool_directory(self) -> Path:
        """Where steps put files that have no name and end with their process."""
        self._must_be_a_store()
        directory = self.root / SPOOL_DIRECTORY
        with self._storing("making its spool directory"):
            directory.mkdir(exist_ok=True)
        return directory

    def remove_leftovers(self) -> int:
        """Remove the temporary files of processes that were killed. Only while no step runs."""
        self._must_be_a_store()
        found = [Path(at, name) for at, _, names in os.walk(self.root) for name in names if self._is_leftover(at, name)]
        for path in found:
            path.unlink(missing_ok=True)
            self._remove_empty_directories(path.parent)
        return len(found)

    def _is_leftover(self, at: str, name: str) -> bool:
        return name.startswith(TEMPORARY_PREFIX) or Path(at).is_relative_to(self.root / SPOOL_DIRECTORY)

    def _must_be_a_store(self) -> None:
        if not (self.root / IDENTITY_FILE).is_file():
            raise lost("the store has no identity.json: is its volume mounted?")

    def _walk(self, prefix: str) -> Iterator[str]:
        parts = prefix.split("/")[:-1]
        start = self.root.joinpath(*(check_key("/".join(parts)).split("/") if parts else ()))
        for at, directories, names in os.walk(start, onerror=_raise_unless_missing):
            directories[:] = [name for name in directories if not name.startswith(".")]
            relative = Path(at).relative_to(self.root)
            for name in names:
                if not name.startswith(".") and (str(relative) != "." or name != IDENTITY_FILE):
                    yield (relative / name).as_posix()

    def _temporary(self, target: Path) -> Path:
        return target.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{next(_counter)}")

    def _publish(self, temporary: Path, target: Path) -> None:
        if self._durable:
            with temporary.open("rb") as file:
                _flush(file)
        temporary.rename(target)
        self._flush_directory(target.parent)

    def _make_directories(self, directory: Path) -> None:
        missing = list(itertools.takewhile(lambda at: not at.exists(), (directory, *directory.parents)))
        for at in reversed(missing):
            at.mkdir(exist_ok=True)
            self._flush_directory(at.parent)

    def _flush_directory(self, directory: Path) -> None:
        if not self._durable:
            return
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _remove_empty_directories(self, directory: Path) -> None:
        while directory != self.root and directory.is_relative_to(self.root):
            try:
                directory.rmdir()
            except OSError:
                return
            directory = directory.parent

    @contextlib.contextmanager
    def _storing(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise storage_fault(error, doing) from error


def _raise_unless_missing(error: OSError) -> None:
    """Tell an unreadable directory from an absent one: the first must never look empty."""
    if not isinstance(error, FileNotFoundError):
        raise storage_fault(error, "listing objects") from error


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


async def _in_thread(call: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    import asyncio  # the operator has it; a step does without

    return await asyncio.to_thread(call, *arguments, **named)


class ThreadedStore:
    """The same store for the operator: each call in a thread, so that a slow disk never stalls the event loop."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self.url = store.url

    async def identity(self) -> str | None:
        return await _in_thread(self._store.identity)

    async def claim_identity(self, identity: str) -> None:
        await _in_thread(self._store.claim_identity, identity)

    async def read(self, key: str) -> bytes | None:
        return await _in_thread(self._store.read, key)

    async def write(self, key: str, content: bytes) -> None:
        await _in_thread(self._store.write, key, content)

    async def keys(self, prefix: str) -> tuple[str, ...]:
        return await _in_thread(self._store.keys, prefix)

    async def delete(self, keys: tuple[str, ...]) -> None:
        await _in_thread(self._store.delete, keys)

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        pieces = self._store.stream(key)
        while True:
            piece = await _in_thread(next, pieces, None)
            if piece is None:
                return
            yield piece
