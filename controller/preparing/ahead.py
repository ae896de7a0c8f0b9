"""The next block is read while the one before is worked on."""

import contextlib
import itertools
import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
WAITING_MAX = 1
WAIT_SECONDS = 0.5
ALONE = 2
"""So many items are made where they are used: a thread would not pay."""


def ahead(items: Iterable[T]) -> Generator[T, None, None]:
    """Yield the same items; behind the first few, each is made in a thread while the one before is used."""
    source = iter(items)
    started = list(itertools.islice(source, ALONE))
    few = len(started) < ALONE
    while started:
        yield started.pop(0)
    if few:
        return
    running: _Ahead[T] = _Ahead(source)
    try:
        yield from running.items()
    finally:
        running.stop()


class _Ahead(Generic[T]):
    def __init__(self, source: Iterator[T]) -> None:
        self._source = source
        self._made: queue.Queue[_Made[T]] = queue.Queue(WAITING_MAX)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ahead", daemon=True)
        self._thread.start()

    def items(self) -> Iterator[T]:
        while True:
            made = self._made.get()
            if made.error is not None:
                raise made.error
            yield from made.items
            if not made.items:
                return

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            for item in self._source:
                self._put(_Made([item]))
                if self._stopped.is_set():
                    return
            self._put(_Made([]))
        except BaseException as error:  # noqa: BLE001 - raised where the items are used
            self._put(_Made([], error))

    def _put(self, made: "_Made[T]") -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(queue.Full):
                self._made.put(made, timeout=WAIT_SECONDS)
                return


@dataclass(frozen=True, slots=True)
class _Made(Generic[T]):
    """One item, or none at the end."""

    items: list[T]
    error: BaseException | None = None
