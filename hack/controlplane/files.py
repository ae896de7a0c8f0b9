"""Files that several processes share: locks between them, and content that appears whole or not at all."""

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path

UNFINISHED = ".unfinished-"
"""How the name of what is being made begins, until it is renamed."""


@contextlib.contextmanager
def exclusive(path: Path, *, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a lock that only one process at a time holds; `waiting` is called once if another one holds it now.

    The kernel releases it when its holder ends, however that ends. The file stays: removing it would let two processes
    hold locks on two files of the same name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner reads; a reader sees the old content or the new one, never a part."""
    unfinished = path.with_name(f"{UNFINISHED}{path.name}")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    unfinished.write_bytes(content)
    unfinished.replace(path)
