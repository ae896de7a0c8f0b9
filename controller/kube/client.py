"""The transport over the official client: its asyncio half, and of that only configuration, credentials and HTTP.

One attempt per request: aiohttp's second try on a reused connection is off, because it would hide that a write was
carried out and its answer lost. The generated API classes are not used; what is sent and received are plain
documents. (The client is only partly annotated: hence the ignored untyped calls.)
"""

import json
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from controller.faults import Disposition, Fault
from controller.kube.transport import AnswerLost, Json, NotSent, Request, refused

USER_AGENT = "meta-catalog-operator"
CONNECT_SECONDS = 5.0
CONNECTIONS_MAX = 32
_AUTHENTICATION = ["BearerToken"]


async def load_configuration(kubeconfig: Path | None) -> Configuration:
    """Read how to reach the API server: from a kubeconfig file, or (None) from the pod's service account.

    The token of a service account is read again every minute. Raises Fault (STALLED) with what is wrong.
    """
    configuration = Configuration()
    try:
        if kubeconfig is None:
            load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            await load_kube_config(  # type: ignore[no-untyped-call]
                config_file=str(kubeconfig), client_configuration=configuration
            )
    except (ConfigException, OSError) as error:
        where = "the pod's service account" if kubeconfig is None else str(kubeconfig)
        message = f"no access to the API server from {where}: {error}; pass --kubeconfig or run in a pod"
        raise Fault("InvalidObject", Disposition.STALLED, message) from None
    configuration.connection_pool_maxsize = CONNECTIONS_MAX
    configuration.trace_configs = [_trace()]
    # Without trust_env no .netrc is looked up for each request; a proxy comes from the kubeconfig.
    configuration.client_session_kwargs = {"middlewares": (_one_attempt,), "trust_env": False}
    return configuration


@dataclass(frozen=True, slots=True)
class Access:
    """Where the API server is and how to be let in, for whoever brings an HTTP client of its own."""

    server: str
    ca_path: str | None
    certificate_path: str | None
    private_key_path: str | None
    token: str | None = field(repr=False)
    verified: bool


async def load_access(kubeconfig: Path | None) -> Access:
    """Read it anew. Raises Fault like load_configuration."""
    configuration = await load_configuration(kubeconfig)
    token = configuration.api_key.get(_AUTHENTICATION[0])
    return Access(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        token=None if token is None else token.split(" ", 1)[-1].strip(),
        verified=bool(configuration.verify_ssl),
    )


class AioTransport:
    """Implements controller.kube.transport.Transport. Use it as an asynchronous context."""

    def __init__(self, configuration: Configuration) -> None:
        """`configuration` comes from load_configuration."""
        self._client = ApiClient(configuration)
        self._client.user_agent = USER_AGENT

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()  # type: ignore[no-untyped-call]

    async def send(self, request: Request) -> Json:
        method, url, headers, body, _ = await self._client.param_serialize(
            request.verb,
            request.path,
            query_params=list(request.query),
            header_params={"Accept": request.accept.value, "Content-Type": request.content_type.value},
            body=request.body,
            auth_settings=_AUTHENTICATION,
        )
        progress = _Progress()
        token = _PROGRESS.set(progress)
        try:
            response = await self._client.call_api(
                method,
                url,
                header_params=headers,
                body=body,
                _request_timeout=aiohttp.ClientTimeout(total=request.deadline_seconds, sock_connect=CONNECT_SECONDS),
            )
            content = await response.read()  # type: ignore[no-untyped-call]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            why = f"{type(error).__name__} at {request.verb} {request.path}"
            raise (AnswerLost(why) if progress.sent else NotSent(why)) from None
        finally:
            _PROGRESS.reset(token)
        answer = _document(content)
        if not 200 <= response.status <= 299:
            raise refused(response.status, answer)
        if answer is None:
            raise AnswerLost(f"no JSON object in the answer to {request.verb} {request.path}")
        return answer


class _Progress:
    """Whether a byte of the current request may have left."""

    __slots__ = ("sent",)

    def __init__(self) -> None:
        self.sent = False


_PROGRESS: ContextVar[_Progress] = ContextVar("progress")


class _BrokenError(aiohttp.ClientError):
    """A connection that broke. Not of the class that aiohttp answers with a second try."""


def _trace() -> aiohttp.TraceConfig:
    async def headers_sent(
        _session: aiohttp.ClientSession, _context: SimpleNamespace, _params: aiohttp.TraceRequestHeadersSentParams
    ) -> None:
        _PROGRESS.get().sent = True

    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(headers_sent)
    return trace


async def _one_attempt(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _BrokenError(type(error).__name__) from None


def _document(content: bytes) -> Json | None:
    try:
        read = json.loads(content)
    except ValueError:
        return None
    return read if isinstance(read, dict) else None
