"""Runs what takes long: at most one task per slot, its end announced.

asyncio.TaskGroup ends with its first failure and knows no slots; here a failure is the result of one slot. Promises: a
slot never runs twice at once (asserted), a task that ends in any way calls `on_end`, and `close` ends all tasks.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Generic, TypeVar

S = TypeVar("S", bound=Hashable)


class Runner(Generic[S]):
    def __init__(self, on_end: Callable[[S, BaseException | None], None]) -> None:
        self._on_end = on_end
        self._tasks: dict[S, asyncio.Task[None]] = {}
        self._closed = False

    def running(self, slot: S) -> bool:
        return slot in self._tasks

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, slot: S, work: Coroutine[None, None, None], *, name: str) -> None:
        """Start `work` in a free slot. After `close` nothing starts any more."""
        assert slot not in self._tasks, f"slot {slot} is taken"
        if self._closed:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks[slot] = task
        task.add_done_callback(lambda ended: self._ended(slot, ended))

    def _ended(self, slot: S, task: asyncio.Task[None]) -> None:
        del self._tasks[slot]
        if not task.cancelled():
            self._on_end(slot, task.exception())

    async def close(self) -> None:
        """Cancel everything and wait until it has ended."""
        self._closed = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
