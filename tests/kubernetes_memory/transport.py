"""The way from one process to the in-memory server: latency, lost requests and answers, death."""

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.kube.transport import AnswerLost, Json, NotSent, Request
from tests.kubernetes_memory.incarnation import Incarnation

if TYPE_CHECKING:
    from tests.kubernetes_memory.server import MemoryApiServer


@dataclass(slots=True)
class Faults:
    """Mutable, so that a scenario can start and stop them. Probabilities per request."""

    latency_min_seconds: float = 0.0
    latency_max_seconds: float = 0.0
    not_sent: float = 0.0
    lost_before: float = 0.0
    """The request never reaches the server, but the client can't know."""
    lost_after: float = 0.0
    """The request is carried out and its answer lost."""


class MemoryTransport:
    """Implements controller.kube.transport.Transport for one process."""

    def __init__(
        self,
        server: "MemoryApiServer",
        incarnation: Incarnation,
        *,
        rng: random.Random | None = None,
        faults: Faults | None = None,
    ) -> None:
        self._server = server
        self._incarnation = incarnation
        self._rng = rng or random.Random(0)
        self.faults = faults or Faults()

    async def send(self, request: Request) -> Json:
        await self._incarnation.gate()
        fate = self._rng.random() if self._lossy else 1.0
        await self._travel()
        if not self._server.available or fate < self.faults.not_sent:
            raise NotSent("no route to the API server")
        fate -= self.faults.not_sent
        if fate < self.faults.lost_before:
            raise AnswerLost("connection reset")
        # A request that left before a pause arrives; one of a dead process does not.
        self._incarnation.check()
        answer = self._carry_out(request)
        fate -= self.faults.lost_before
        await self._travel()
        await self._incarnation.gate()
        if fate < self.faults.lost_after:
            raise AnswerLost("connection reset")
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def _lossy(self) -> bool:
        return bool(self.faults.not_sent or self.faults.lost_before or self.faults.lost_after)

    def _carry_out(self, request: Request) -> Json | Exception:
        try:
            return self._server.handle(request)
        except Exception as error:  # noqa: BLE001 - travels back like an answer
            return error

    async def _travel(self) -> None:
        seconds = self.faults.latency_max_seconds
        if seconds > 0:
            seconds = self._rng.uniform(self.faults.latency_min_seconds, seconds) / 2
        await asyncio.sleep(seconds)
