"""One life of a process in the simulation: it can be cut (kill -9) or paused (SIGSTOP) at any moment.

Every port of the process passes this gate before an effect and after it. So once it is cut, no effect of a `finally`,
an `__aexit__` or a cancelled task gets out, and while it is paused nothing does.
"""

import asyncio


class Crashed(asyncio.CancelledError):
    """Raised out of every port of a process that is dead. Like a cancellation, nothing handles it."""


class Incarnation:
    def __init__(self, name: str) -> None:
        self.name = name
        self.cut_off = False
        self._running = asyncio.Event()
        self._running.set()

    @property
    def paused(self) -> bool:
        return not self._running.is_set()

    def cut(self) -> None:
        """Kill -9. Who waits at the gate wakes up dead."""
        self.cut_off = True
        self._running.set()

    def pause(self) -> None:
        """SIGSTOP: nothing passes until `resume`. What is on its way to a server arrives there."""
        if not self.cut_off:
            self._running.clear()

    def resume(self) -> None:
        self._running.set()

    def check(self) -> None:
        """Raise Crashed if this process is dead."""
        if self.cut_off:
            raise Crashed(self.name)

    async def gate(self) -> None:
        """Wait out a pause; raise Crashed if this process is dead."""
        self.check()
        while not self._running.is_set():
            await self._running.wait()
        self.check()
