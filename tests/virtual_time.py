"""Virtual time: an event loop whose clock jumps to the next timer instead of waiting.

Public asyncio API only: a selector that advances the clock, and a loop whose `time()` reads it. When every task is
blocked and no timer is pending the run ends with DeadlockError, so a lost wake-up is a failure and not a hang.
"""

import asyncio
import datetime as dt
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from typing_extensions import override

T = TypeVar("T")

EPOCH = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
"""Where every simulation starts: a Monday."""


class DeadlockError(RuntimeError):
    """Every task is blocked and no timer is pending."""


class _VirtualSelector(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise DeadlockError("every task is blocked and no timer is pending")
        self.now += max(timeout, 0.0)
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """`asyncio.Runner(loop_factory=SimulatedLoop)`."""

    def __init__(self) -> None:
        self._virtual = _VirtualSelector()
        super().__init__(self._virtual)

    @override
    def time(self) -> float:
        return self._virtual.now


class SimulatedClock:
    """Wall time of the simulated world: one source with the loop's time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now(self) -> dt.datetime:
        return EPOCH + dt.timedelta(seconds=self._loop.time())

    def unix(self) -> float:
        return EPOCH.timestamp() + self._loop.time()


class LoopClock:
    """Wall time over whichever loop runs when it is asked."""

    def now(self) -> dt.datetime:
        return EPOCH + dt.timedelta(seconds=asyncio.get_running_loop().time())


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end in virtual time."""
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(main)
