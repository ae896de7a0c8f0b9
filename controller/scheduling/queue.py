"""The keyed work queue: one entry per key, marked dirty while it runs, with due times and priorities.

The model is client-go's work queue and controller-runtime's priority queue. asyncio's own queues know neither keys nor
due times, and no maintained library offers a keyed delaying queue for asyncio. Promises: a key is never worked on twice
at once; a mark that arrives while its key runs is never lost; of two due times for one key the earlier wins.
"""

import asyncio
import heapq
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K")

TICK_SECONDS = 0.001
"""What is due within a tick is due: the loop may wake a timer a rounding error early."""


@dataclass(slots=True)
class _Entry:
    due: float
    priority: int
    ticket: int
    """Identifies the newest heap item of the key; older ones are skipped when they surface."""


class WorkQueue(Generic[K]):
    """Times are the event loop's. Lower priority numbers go first among those that are due."""

    def __init__(self) -> None:
        self._entries: dict[K, _Entry] = {}
        self._waiting: list[tuple[float, int, K]] = []
        self._due: list[tuple[int, float, int, K]] = []
        self._running: dict[K, _Entry | None] = {}
        self._ticket = 0
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def running(self) -> int:
        return len(self._running)

    def overdue(self) -> float:
        """Seconds for which the longest waiting key has been due: a sign of stuck workers."""
        due = min((entry.due for entry in self._entries.values()), default=None)
        return 0.0 if due is None else max(asyncio.get_running_loop().time() - due, 0.0)

    def mark(self, key: K, *, delay: float = 0.0, priority: int = 0) -> None:
        """Ask for `key` to be worked on in `delay` seconds at the latest."""
        due = asyncio.get_running_loop().time() + max(delay, 0.0)
        if key in self._running:
            self._running[key] = self._earlier(self._running[key], due, priority)
            return
        known = self._entries.get(key)
        if known is not None and known.due <= due and known.priority <= priority:
            return
        entry = self._earlier(known, due, priority)
        self._entries[key] = entry
        self._push(key, entry)
        self._wake.set()

    def forget(self, key: K) -> None:
        """Drop what is planned for a key that is gone. A run in progress ends by itself."""
        self._entries.pop(key, None)
        if key in self._running:
            self._running[key] = None

    async def take(self) -> K:
        """Wait for a key that is due and is not being worked on. Pair with `done`."""
        loop = asyncio.get_running_loop()
        while True:
            self._ripen(loop.time())
            while self._due:
                *_, ticket, key = heapq.heappop(self._due)
                entry = self._entries.get(key)
                if entry is not None and entry.ticket == ticket:
                    del self._entries[key]
                    self._running[key] = None
                    return key
            await self._sleep_until_next(loop)

    def done(self, key: K) -> None:
        """End the run of a key; if it was marked meanwhile it is planned again."""
        again = self._running.pop(key)
        if again is not None:
            self._entries[key] = again
            self._push(key, again)
        self._wake.set()

    def _earlier(self, known: _Entry | None, due: float, priority: int) -> _Entry:
        self._ticket += 1
        if known is None:
            return _Entry(due, priority, self._ticket)
        return _Entry(min(known.due, due), min(known.priority, priority), self._ticket)

    def _push(self, key: K, entry: _Entry) -> None:
        heapq.heappush(self._waiting, (entry.due, entry.ticket, key))

    def _ripen(self, now: float) -> None:
        while self._waiting and self._waiting[0][0] <= now + TICK_SECONDS:
            due, ticket, key = heapq.heappop(self._waiting)
            entry = self._entries.get(key)
            if entry is not None and entry.ticket == ticket:
                heapq.heappush(self._due, (entry.priority, due, ticket, key))

    async def _sleep_until_next(self, loop: asyncio.AbstractEventLoop) -> None:
        self._wake.clear()
        timeout = max(self._waiting[0][0] - loop.time(), 0.0) if self._waiting else None
        try:
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        except TimeoutError:
            return
