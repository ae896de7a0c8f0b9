"""The port that probes and Prometheus ask.

/livez: the watches are not blind, the work queue moves, the event loop turns, the lease is not overdue. kopf's own
probe only says that its web server runs. /readyz: the API server was reached; a standby is ready too, because it is
there to take over. /metrics: the exposition format.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from controller.faults import Disposition, Fault

LOG = logging.getLogger(__name__)

Check = Callable[[], str | None]
"""None while all is well, otherwise what is wrong, in a few words."""


@dataclass(slots=True)
class Health:
    """What the probes are told; filled by the process as it goes."""

    live: dict[str, Check] = field(default_factory=dict)
    ready: dict[str, Check] = field(default_factory=dict)


class HttpPort:
    """An asynchronous context: listening while entered."""

    def __init__(self, host: str, port: int, health: Health, registry: CollectorRegistry) -> None:
        self._host = host
        self._port = port
        self._health = health
        self._registry = registry
        application = web.Application()
        application.router.add_get("/livez", self._livez)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(application, access_log=None)
        self.port = port
        """The port that is listened on; a free one where 0 was asked for."""

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            message = f"--http-host, --http-port: can't listen on {self._host}:{self._port}: {error.strerror}"
            raise Fault("InvalidSpec", Disposition.STALLED, message) from None
        self.port = int(self._runner.addresses[0][1])
        LOG.info("listening", extra={"host": self._host, "port": self.port})
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _livez(self, _: web.Request) -> web.Response:
        return _answer(self._health.live)

    async def _readyz(self, _: web.Request) -> web.Response:
        return _answer(self._health.ready)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _answer(checks: dict[str, Check]) -> web.Response:
    results = {name: check() for name, check in sorted(checks.items())}
    lines = [f"[-] {name}: {wrong}" if wrong else f"[+] {name}" for name, wrong in results.items()]
    wrong = any(results.values())
    return web.Response(status=503 if wrong else 200, text="\n".join([*lines, "failed" if wrong else "ok", ""]))
