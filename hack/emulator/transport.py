"""The emulator as an httpx transport: no socket, and yet everything a client can tell about one.

The client's timeouts hold, its `trace` extension hears the same events as from a real connection, and faults come as
the exceptions that httpcore raises. What the client has sent is worked on even if the client goes away meanwhile, as a
server would.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import httpx
from typing_extensions import override

from hack.emulator.app import Emulator
from hack.emulator.faults import Strike
from hack.emulator.wire import Request, Response, Wire

Tracer = Callable[[str, Mapping[str, object]], Awaitable[None]]


class EmulatorTransport(httpx.AsyncBaseTransport):
    """`reachable` can be set to False: then every connection is refused."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.reachable = True
        self._running: set[asyncio.Task[Response]] = set()

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        timeouts = request.extensions.get("timeout", {})
        strike = self.emulator.strike(request.method, request.url.path)
        await self._connect(request, strike)
        await _trace(request, "http11.send_request_headers.started", request=request)
        await _trace(request, "http11.send_request_headers.complete", return_value=None)
        await _trace(request, "http11.send_request_body.started", request=request)
        body, first_byte = await self._send(request, strike, timeouts.get("write"))
        await _trace(request, "http11.send_request_body.complete", return_value=None)
        await _trace(request, "http11.receive_response_headers.started", request=request)
        response = await self._receive(_received(request, body), strike, timeouts.get("read"), first_byte)
        if response.wire is Wire.NOTHING:
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.", request=request)
        await _trace(request, "http11.receive_response_headers.complete", return_value=None)
        return _answer(request, response)

    async def _connect(self, request: httpx.Request, strike: Strike) -> None:
        await _trace(request, "connection.connect_tcp.started")
        if not self.reachable or "connect_refused" in strike:
            error = httpx.ConnectError("All connection attempts failed", request=request)
            await _trace(request, "connection.connect_tcp.failed", exception=error)
            raise error
        await _trace(request, "connection.connect_tcp.complete", return_value=None)

    async def _send(self, request: httpx.Request, strike: Strike, within: float | None) -> tuple[bytes, float]:
        """The body, and when its first byte was there."""
        fault = strike.get("reset")
        most = int(fault.number("bytes", 0)) if fault is not None else None
        parts: list[bytes] = []
        size = 0
        first_byte = self.emulator.now()
        stream = request.stream
        assert isinstance(stream, httpx.AsyncByteStream), "an async client sends async streams"
        try:
            async with asyncio.timeout(within):
                async for part in stream:
                    if not parts:
                        first_byte = self.emulator.now()
                    parts.append(part)
                    size += len(part)
                    if most is not None and size >= most:
                        break
        except TimeoutError:
            raise httpx.WriteTimeout("", request=request) from None
        if most is not None:
            raise httpx.WriteError("[Errno 104] Connection reset by peer", request=request)
        return b"".join(parts), first_byte

    async def _receive(self, request: Request, strike: Strike, within: float | None, first_byte: float) -> Response:
        task = asyncio.ensure_future(self.emulator.handle(request, strike, first_byte=first_byte))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            async with asyncio.timeout(within):
                return await asyncio.shield(task)
        except (TimeoutError, asyncio.CancelledError) as error:
            task.add_done_callback(self._gone)
            if isinstance(error, TimeoutError):
                raise httpx.ReadTimeout("") from None
            raise

    def _gone(self, task: "asyncio.Task[Response]") -> None:
        if not task.cancelled() and task.exception() is None:
            self.emulator.undelivered(task.result())


async def _trace(of: httpx.Request, event: str, **info: object) -> None:
    tracer: Tracer | None = of.extensions.get("trace")
    if tracer is not None:
        await tracer(event, info)


def _received(request: httpx.Request, body: bytes) -> Request:
    headers = {name.lower(): value for name, value in request.headers.items()}
    headers.setdefault("host", request.url.netloc.decode())
    return Request(
        method=request.method,
        path=request.url.path,
        query=request.url.query.decode(),
        headers=headers,
        body=body,
        scheme=request.url.scheme,
    )


class _Cut(httpx.AsyncByteStream):
    """Half of a body, and then the connection ends."""

    def __init__(self, body: bytes, request: httpx.Request) -> None:
        self.body = body
        self.request = request

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.body[: len(self.body) // 2]
        text = "peer closed connection without sending complete message body"
        raise httpx.RemoteProtocolError(text, request=self.request)


def _answer(request: httpx.Request, response: Response) -> httpx.Response:
    headers = {**response.headers, "Content-Length": str(len(response.body))}
    stream = _Cut(response.body, request) if response.wire is Wire.HALF else httpx.ByteStream(response.body)
    return httpx.Response(status_code=response.status, headers=headers, stream=stream, request=request)
