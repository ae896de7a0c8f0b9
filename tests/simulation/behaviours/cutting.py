"""Incarnations that end, or stop, at a chosen moment: at the n-th effect, or when the world is in a named state.

Every port of a process passes its incarnation's gate before and after each effect, so the gate is where moments are.
"""

import inspect
from collections.abc import Callable

from typing_extensions import override

from tests.kubernetes_memory import Incarnation
from tests.simulation.process import Process

Moment = Callable[[int], bool]
"""Given the number of the passage, tell whether this is the moment."""


class Watched(Incarnation):
    """Does something once, at a moment."""

    def __init__(self, name: str, moment: Moment, strike: Callable[["Watched"], None]) -> None:
        super().__init__(name)
        self._moment = moment
        self._strike = strike
        self.passages = 0
        self.struck = False

    @override
    async def gate(self) -> None:
        self._look()
        await super().gate()

    @override
    def check(self) -> None:
        self._look()
        super().check()

    def _look(self) -> None:
        if self.struck or self.cut_off:
            return
        self.passages += 1
        if self._moment(self.passages):
            self.struck = True
            self._strike(self)


def doing(*names: str) -> bool:
    """Tell whether the passage belongs to a call of all these functions: other tasks pass the gate as well."""
    found: set[str] = set()
    frame = inspect.currentframe()
    while frame is not None:
        found.add(frame.f_code.co_name)
        frame = frame.f_back
    return found.issuperset(names)


def kill_at(process: Process, moment: Moment) -> Watched:
    """Kill -9 at the moment. To be called before the process has run."""
    watched = Watched(process.name, moment, lambda _: process.kill())
    process.incarnation = watched
    return watched


def pause_at(process: Process, moment: Moment) -> Watched:
    """SIGSTOP at the moment."""
    watched = Watched(process.name, moment, lambda incarnation: incarnation.pause())
    process.incarnation = watched
    return watched
