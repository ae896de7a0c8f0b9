"""So many steps at the same time and no more: each is a process of its own with its own memory limit."""

import asyncio

from controller.ports.preparing import Preparing, Request, Result, SourceCredentials


class BoundedPreparing:
    """Implements controller.ports.preparing.Preparing; who comes later waits, in order."""

    def __init__(self, inner: Preparing, *, children_max: int) -> None:
        self._inner = inner
        self._places = asyncio.Semaphore(children_max)

    async def run(self, request: Request, credentials: SourceCredentials | None = None) -> Result:
        async with self._places:
            return await self._inner.run(request, credentials)
