"""The thin shell around the protocol: sockets, deadlines, and the moment before the first byte.

One HTTP attempt per call. Each has a total deadline on the loop's time (httpx's own timeouts bound only inactivity).
Writes go out on a fresh connection each, so that a connection that died while idle cannot leave their outcome unknown;
reads share a pool. Redirections are not followed, cookies are not kept, HTTP/1.1 is spoken.

The governor is asked right before the first byte: when the connection stands and the request's first line is about to
be written. That is also where "a byte may have left" begins. For a transport that tells of no such moment (httpx's
MockTransport) the call into it counts.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final
from urllib.parse import urlsplit

import httpx

from controller.clock import Clock
from controller.faults import Fault
from controller.meta import limits
from controller.meta.catalogs import Catalogs
from controller.meta.failures import fault_of
from controller.meta.feeds import Feeds
from controller.meta.items import Items
from controller.meta.payload import Stream
from controller.meta.protocol import (
    USER_AGENT,
    Answer,
    Outgoing,
    Request,
    Verdict,
    compose,
    contract_violation,
    decipher_response,
    no_answer,
    secrets_of,
)
from controller.meta.tokens import Tokens
from controller.meta.uploads import Uploads
from controller.ports.meta import Call, Credentials, Governor

CONNECT_SECONDS_MAX = 10.0
"""A connection that takes longer is given up; nothing has left then."""
SECONDS_MIN = 0.001
"""A time-out of zero means none at all to some layers below."""
POOL_CONNECTIONS_MAX = 32
"""Simultaneous connections for reads, and as many for writes; callers bound their own concurrency far below."""

_FIRST_BYTE: Final = "http11.send_request_headers.started"
"""httpcore's trace event right before the request's first line is written."""

TransportFactory = Callable[[], httpx.AsyncBaseTransport]

logger = logging.getLogger(__name__)


class HttpxGraph(Catalogs, Feeds, Uploads, Items, Tokens):
    """The Graph API with the credentials of one connection (`controller.ports.meta.Graph`)."""

    __slots__ = ()


class HttpxGraphFactory:
    """Makes Graphs for one endpoint and holds their connection pools (`controller.ports.meta.GraphFactory`)."""

    def __init__(
        self,
        endpoint: str,
        governor: Governor,
        clock: Clock,
        transport_factory: TransportFactory | None = None,
        *,
        traced: bool | None = None,
    ) -> None:
        """`traced`: the transports tell of the first byte as httpcore does; the default is true for real ones only."""
        self._endpoint = check_endpoint(endpoint)
        self._governor = governor
        self._clock = clock
        self._traced = transport_factory is None if traced is None else traced
        tls = (
            httpx.create_ssl_context() if transport_factory is None else None
        )  # reading the certificates takes 30 ms each time
        self._reads = _make_client(transport_factory, tls, keep=True)
        self._writes = _make_client(transport_factory, tls, keep=False)
        _quieten_libraries()

    def connect(self, credentials: Credentials) -> HttpxGraph:
        connection = _HttpxConnection(
            credentials,
            endpoint=self._endpoint,
            governor=self._governor,
            clock=self._clock,
            reads=self._reads,
            writes=self._writes,
            traced=self._traced,
        )
        return HttpxGraph(connection)

    async def close(self) -> None:
        await self._reads.aclose()
        await self._writes.aclose()


class Departure:
    """Whether a byte of a request may have left, and the governor's word right before the first one."""

    __slots__ = ("_call", "_governor", "left")

    def __init__(self, governor: Governor, call: Call) -> None:
        self._governor = governor
        self._call = call
        self.left = False

    def begin(self) -> None:
        if not self.left:
            self._governor.admit(self._call)
            self.left = True

    async def trace(self, event: str, info: Mapping[str, object]) -> None:
        """Listen to httpcore. A fault that is raised here ends the attempt before its first byte."""
        del info
        if event == _FIRST_BYTE:
            self.begin()


class _HttpxConnection:
    """Performs requests with one set of credentials."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        endpoint: str,
        governor: Governor,
        clock: Clock,
        reads: httpx.AsyncClient,
        writes: httpx.AsyncClient,
        traced: bool,
    ) -> None:
        self.credentials = credentials
        self._endpoint = endpoint
        self._governor = governor
        self._clock = clock
        self._reads = reads
        self._writes = writes
        self._traced = traced

    async def perform(self, request: Request) -> Answer:
        outgoing = compose(request, self.credentials, self._endpoint)
        call = request.call(self.credentials)
        started = asyncio.get_running_loop().time()
        try:
            verdict = await self._attempt(request, outgoing, call)
        except Fault as fault:
            self._log(request, started, fault.reason, None)
            raise
        self._governor.observe(call, verdict.usage, verdict.throttled_minutes)
        outcome = verdict.outcome
        self._log(request, started, outcome.reason if isinstance(outcome, Fault) else "ok", verdict)
        if isinstance(outcome, Fault):
            raise outcome
        return outcome

    async def download(self, request: Request, url: str) -> AsyncIterator[bytes]:
        """Stream a file that Meta points to. It gets no credentials: it lies on a server of its own."""
        if not self._may_download(url):
            raise contract_violation(Answer(request, None), "the file's address is neither https nor of the endpoint")
        outgoing = Outgoing("GET", url, {"User-Agent": USER_AGENT})
        departure = Departure(self._governor, request.call(self.credentials))
        deadline = asyncio.get_running_loop().time() + limits.REPORT_SECONDS_MAX
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._send(request, outgoing, departure, deadline)
            try:
                if response.status_code != httpx.codes.OK:
                    raise no_answer(request, f"its server answers with HTTP status {response.status_code}", left=True)
                pieces = _bounded(response, request, limits.REPORT_BYTES_MAX)
                while (piece := await _before(deadline, pieces)) is not None:
                    yield piece
            finally:
                await response.aclose()
        except (TimeoutError, httpx.RequestError) as error:
            fault = self._fault(error, request, departure)
        else:
            return
        raise fault

    async def _attempt(self, request: Request, outgoing: Outgoing, call: Call) -> Verdict:
        """Send once and classify. Faults are raised outside of the handler, so that none drags along an exception
        that knows the request.
        """
        departure = Departure(self._governor, call)
        deadline = asyncio.get_running_loop().time() + request.deadline_seconds(self.credentials)
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._send(request, outgoing, departure, deadline)
                try:
                    pieces = _bounded(response, request, limits.RESPONSE_BYTES_MAX)
                    content = b"".join([piece async for piece in pieces])
                finally:
                    await response.aclose()
        except (TimeoutError, httpx.RequestError) as error:
            fault = self._fault(error, request, departure)
        else:
            headers = {name.lower(): value for name, value in response.headers.items()}
            secrets = secrets_of(request, self.credentials)
            return decipher_response(request, response.status_code, headers, content, self._clock.now(), secrets)
        raise fault

    async def _send(
        self, request: Request, outgoing: Outgoing, departure: Departure, deadline: float
    ) -> httpx.Response:
        """Send a request and return the answer as far as its head; the caller closes it."""
        client = self._writes if request.write else self._reads
        seconds = max(deadline - asyncio.get_running_loop().time(), SECONDS_MIN)
        connect_seconds = min(seconds, CONNECT_SECONDS_MAX)
        stream = outgoing.content.open() if isinstance(outgoing.content, Stream) else None
        prepared = client.build_request(
            outgoing.method,
            outgoing.url,
            headers=dict(outgoing.headers),
            content=outgoing.content if not isinstance(outgoing.content, Stream) else stream,
            timeout=httpx.Timeout(seconds, connect=connect_seconds, pool=connect_seconds),
            extensions={"trace": departure.trace},
        )
        try:
            if not self._traced:
                departure.begin()
            response = await client.send(prepared, stream=True)
        finally:
            if stream is not None:
                await stream.aclose()
        assert departure.left, "an answer came from a transport that tells of no first byte"
        return response

    def _fault(self, error: TimeoutError | httpx.RequestError, request: Request, departure: Departure) -> Fault:
        if isinstance(error, httpx.RequestError):
            return fault_of(error, request, secrets_of(request, self.credentials), left=departure.left)
        return no_answer(request, "no answer within the total time that it was given", left=departure.left)

    def _may_download(self, url: str) -> bool:
        parts = urlsplit(url)
        return parts.scheme == "https" or url.startswith(f"{self._endpoint}/")

    def _log(self, request: Request, started: float, result: str, verdict: Verdict | None) -> None:
        """Log a call: never its parameters, body, address or token."""
        evidence = verdict.evidence if verdict is not None else None
        logger.log(
            logging.DEBUG if result == "ok" else logging.INFO,
            "meta %s: %s",
            request.operation,
            result,
            extra={
                "operation": request.operation,
                "method": request.method,
                "result": result,
                "http_status": evidence.http_status if evidence else None,
                "code": evidence.code if evidence else None,
                "subcode": evidence.subcode if evidence else None,
                "trace_id": evidence.trace_id if evidence else None,
                "seconds": round(asyncio.get_running_loop().time() - started, 3),
            },
        )


def check_endpoint(endpoint: str) -> str:
    """Return the endpoint without a trailing slash; raise ValueError when it is not a plain address."""
    parts = urlsplit(endpoint)
    plain = not (parts.query or parts.fragment or parts.username or parts.password)
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
        message = "the endpoint of the Graph API must be an http or https address without user, query and fragment"
        raise ValueError(message)
    return endpoint.rstrip("/")


async def _bounded(response: httpx.Response, request: Request, bytes_max: int) -> AsyncIterator[bytes]:
    """Pass an answer on, decompressed, up to a limit."""
    size_bytes = 0
    async for piece in response.aiter_bytes():
        size_bytes += len(piece)
        if size_bytes > bytes_max:
            raise contract_violation(Answer(request, None), f"it is larger than {bytes_max} bytes")
        yield piece


async def _before(deadline: float, pieces: AsyncIterator[bytes]) -> bytes | None:
    """Return the next piece, None after the last. A time-out must not span a yield: the consumer's time is its own."""
    async with asyncio.timeout_at(deadline):
        return await anext(pieces, None)


def _make_client(
    transport_factory: TransportFactory | None, tls: ssl.SSLContext | None, *, keep: bool
) -> httpx.AsyncClient:
    """Make a client. Without `keep` a connection ends with its answer, so the next request opens a new one."""
    return httpx.AsyncClient(
        transport=transport_factory() if transport_factory is not None else None,
        verify=tls if tls is not None else True,
        limits=httpx.Limits(
            max_connections=POOL_CONNECTIONS_MAX,
            max_keepalive_connections=POOL_CONNECTIONS_MAX if keep else 0,
        ),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        follow_redirects=False,
        http2=False,
    )


def _quieten_libraries() -> None:
    """Libraries log too much: httpx every address at INFO, parameters included, and httpcore every header at DEBUG."""
    for name in ("httpx", "httpcore"):
        library = logging.getLogger(name)
        library.setLevel(max(library.level, logging.WARNING))
