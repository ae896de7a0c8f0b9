"""How one process hears of changes: list, then watch, then list again when the past is lost. As kopf does it."""

import asyncio
import random
from collections.abc import Callable

from controller.api.resource import Resource
from controller.kube import paths
from controller.kube.transport import Failure, Json, Refused, Request
from tests.kubernetes_memory.incarnation import Incarnation
from tests.kubernetes_memory.server import MemoryApiServer
from tests.kubernetes_memory.transport import MemoryTransport

RECONNECT_SECONDS = 1.0

Deliver = Callable[[type[Resource], str | None, Json], None]
"""(kind, type of the event or None when it comes from a LIST, object)"""


class Informer:
    """Watches one kind for one process; `delay_max_seconds` is how late events may come, always in order."""

    def __init__(
        self,
        server: MemoryApiServer,
        transport: MemoryTransport,
        incarnation: Incarnation,
        kind: type[Resource],
        deliver: Deliver,
        *,
        rng: random.Random | None = None,
        delay_max_seconds: float = 0.0,
    ) -> None:
        self._server = server
        self._transport = transport
        self._incarnation = incarnation
        self._kind = kind
        self._deliver = deliver
        self._rng = rng or random.Random(0)
        self._delay_max = delay_max_seconds

    async def run(self) -> None:
        """Follow until cancelled or dead."""
        while True:
            try:
                version = await self._list()
                while True:
                    version = await self._follow(version)
                    await asyncio.sleep(RECONNECT_SECONDS)
            except Failure:
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _list(self) -> int:
        answer = await self._transport.send(Request("GET", paths.collection(self._kind, None)))
        for wire in answer["items"]:
            self._deliver(self._kind, None, wire)
        return int(answer["metadata"]["resourceVersion"])

    async def _follow(self, version: int) -> int:
        """Deliver until the stream ends; return the last version seen. Raises Refused(410) where the past is lost."""
        changes: asyncio.Queue[tuple[str, Json] | None] = asyncio.Queue()
        await self._incarnation.gate()
        watch = self._server.watch(
            self._kind,
            version,
            lambda change, wire: changes.put_nowait((change, wire)),
            lambda: changes.put_nowait(None),
        )
        try:
            while (change := await changes.get()) is not None:
                if self._delay_max > 0:
                    await asyncio.sleep(self._rng.uniform(0.0, self._delay_max))
                await self._incarnation.gate()
                self._deliver(self._kind, change[0], change[1])
                version = int(change[1]["metadata"]["resourceVersion"])
        finally:
            watch.close()
        return version


__all__ = ["RECONNECT_SECONDS", "Informer", "Refused"]
