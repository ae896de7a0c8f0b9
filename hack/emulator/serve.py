"""The emulator behind a socket, by aiohttp. Everything of the API is in `app`; here is only what a connection does.

While nobody asks, a ticker lets due effects happen, so that a request never has to wait for a backlog of them.
"""

import asyncio
import contextlib
import ipaddress
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from hack.emulator import control
from hack.emulator.app import Emulator
from hack.emulator.fetching import Fetched
from hack.emulator.wire import Request, Wire

TICK_SECONDS = 0.25
FETCH_TIMEOUT_SECONDS = 30.0
READ_BYTES = 256 * 1024
REFUSE_SECONDS_DEFAULT = 5.0


def sped_up_clock(speed: float) -> Callable[[], float]:
    """Emulator time: starts at the wall clock and runs `speed` times as fast."""
    start, wall = time.monotonic(), time.time()  # noqa: TID251  # the one place where the emulator meets real time
    return lambda: wall + (time.monotonic() - start) * speed


def is_loopback(url: str) -> bool:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "http":
        return False
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def fetch_over_loopback(url: str, username: str, password: str) -> Fetched:
    """Plain HTTP on this machine only; anything else can't be reached."""
    if not is_loopback(url):
        return Fetched(0, b"")
    login = aiohttp.BasicAuth(username, password) if username else None
    timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(auth=login, timeout=timeout, trust_env=False) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            return Fetched(answer.status, await answer.read())
    except (aiohttp.ClientError, TimeoutError):
        return Fetched(0, b"")


class Front:
    """A listening socket. Any host name is accepted, so that clients may call it what they like."""

    def __init__(self, emulator: Emulator, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.emulator = emulator
        self.host = host
        self.port = port
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        self._site: web.TCPSite | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    async def start(self) -> None:
        await self._runner.setup()
        await self._listen()
        self._spawn(self._tick())

    async def _listen(self) -> None:
        self._site = web.TCPSite(self._runner, self.host, self.port, reuse_address=True)
        await self._site.start()
        addresses = self._runner.addresses
        self.port = int(addresses[0][1])

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._runner.cleanup()
        self.emulator.close()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            await self.emulator.advance()

    async def _refuse(self, seconds: float) -> None:
        """Nobody listens for a while, and open connections end."""
        assert self._site is not None, "a front that listens"
        await asyncio.sleep(TICK_SECONDS)  # the answer to the call that armed it goes out first
        await self._site.stop()
        server = self._runner.server
        for connection in list(server.connections) if server is not None else []:
            if connection.transport is not None:
                connection.transport.abort()
        await asyncio.sleep(seconds)
        await self._listen()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        asked = Request(
            method=request.method,
            path=request.rel_url.raw_path,
            query=request.rel_url.raw_query_string,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=_chunks(request),
            scheme="http",
        )
        strike = self.emulator.strike(asked.method, asked.path)
        if "connect_refused" in strike:
            return _abort(request)
        response = await self.emulator.handle(asked, strike)
        if asked.path.startswith(control.PREFIX):
            self._refuse_if_armed()
        if response.wire is Wire.NOTHING:
            return _abort(request)
        if response.wire is Wire.HALF:
            return await _half(request, response.status, response.headers, response.body)
        return web.Response(status=response.status, body=response.body, headers=response.headers)

    def _refuse_if_armed(self) -> None:
        """A connection can't be refused by path: over a socket the fault means that nobody listens for a while."""
        for fault in [one for one in self.emulator.faults.armed if one.kind == "connect_refused"]:
            self.emulator.faults.disarm(fault.id)
            self._spawn(self._refuse(fault.number("seconds", REFUSE_SECONDS_DEFAULT)))


async def _chunks(request: web.Request) -> AsyncIterator[bytes]:
    async for chunk in request.content.iter_chunked(READ_BYTES):
        yield chunk


def _abort(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


async def _half(request: web.Request, status: int, headers: dict[str, str], body: bytes) -> web.StreamResponse:
    stream = web.StreamResponse(status=status, headers=headers)
    stream.content_length = len(body)
    await stream.prepare(request)
    with contextlib.suppress(ConnectionResetError):
        await stream.write(body[: len(body) // 2])
    _abort(request)
    return stream
