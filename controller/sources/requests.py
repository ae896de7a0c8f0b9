"""The parts of a source request that reading (in the child) and looking (in the operator) share. No I/O here."""

import base64
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import httpx
from typing_extensions import override

from controller.api.v1alpha1.items import Source
from controller.faults import Disposition, Evidence, Fault
from controller.ports.preparing import SourceCredentials
from controller.sources.addresses import Target, redirected, refused

USER_AGENT = "meta-catalog-operator"
CONNECT_SECONDS = 10.0
IDLE_SECONDS = 60.0
"""Longest silence while the body arrives; the step's deadline bounds the whole."""
TIMEOUT = httpx.Timeout(IDLE_SECONDS, connect=CONNECT_SECONDS)
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OWN_HEADERS = frozenset({"host", "connection", "content-length", "transfer-encoding", "accept-encoding", "range"})

Resolve = Callable[[str, int], Sequence[str]]
"""Name and port to addresses, in order."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a server, secrets included; never shown."""

    url: str
    headers: Mapping[str, str]

    @override
    def __repr__(self) -> str:
        return "Asked(...)"


def resolve(host: str, port: int) -> list[str]:
    """Ask the system for the addresses of a name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(each[4][0]) for each in found]


def asked(source: Source, credentials: SourceCredentials) -> Asked:
    """Put URL, headers and credentials together."""
    http = source.http
    url = credentials.url or (http.url if http else None)
    if url is None:
        raise refused("source: no URL to read from; give url, or a Secret that holds one")
    headers = {"user-agent": USER_AGENT, "accept": "*/*", "accept-encoding": "gzip"}
    plain = [(each.name, each.value) for each in (http.headers if http else ()) if each.value is not None]
    for name, value in (*plain, *credentials.headers):
        if name.lower() in _OWN_HEADERS:
            raise refused(f"source.http.headers: {name} is set by the operator; remove it")
        headers[name.lower()] = value
    if credentials.basic_auth is not None:
        pair = f"{credentials.basic_auth.username}:{credentials.basic_auth.password}".encode()
        headers["authorization"] = "Basic " + base64.b64encode(pair).decode()
    if credentials.bearer_token is not None:
        headers["authorization"] = f"Bearer {credentials.bearer_token.strip()}"
    return Asked(url, headers)


def headers_for(hop: Target, first: Target, headers: Mapping[str, str]) -> dict[str, str]:
    """Headers of one hop: what a Secret gave stays with the origin it was given for."""
    own = {"user-agent", "accept", "accept-encoding", "if-none-match", "if-modified-since"}
    kept = headers if hop.origin == first.origin else {name: headers[name] for name in headers if name in own}
    return {"host": hop.authority, **kept}


def extensions_for(hop: Target) -> dict[str, object]:
    """Certificate and SNI are those of the name, although an address is dialled."""
    return {"sni_hostname": hop.host} if hop.scheme == "https" else {}


def next_hop(current: Target, response: httpx.Response) -> Target | None:
    """Return where a redirect leads, None for an answer, or raise what the status means."""
    if response.status_code in REDIRECTS:
        return redirected(current, response.headers.get("location"))
    if response.status_code in {200, 304}:
        return None
    raise status_fault(current, response.status_code)


def status_fault(where: Target, status: int) -> Fault:
    evidence = Evidence(http_status=status)
    if status in {401, 403, 407}:
        message = f"{where.shown} answered {status}: check the credentials that the source names"
        return Fault("SourceRefused", Disposition.STALLED, message, evidence=evidence)
    if status in {404, 410}:
        message = f"{where.shown} answered {status}: check the address of the source"
        return Fault("SourceUnreachable", Disposition.RETRY, message, evidence=evidence)
    return Fault("SourceUnreachable", Disposition.RETRY, f"{where.shown} answered {status}", evidence=evidence)


def connection_fault(where: Target, error: Exception) -> Fault:
    """Name the kind of failure; the text of the library's error may hold the URL with its query."""
    kinds = {
        httpx.ConnectTimeout: "does not accept connections in time",
        httpx.ReadTimeout: "stopped sending",
        httpx.ConnectError: "does not accept connections",
        httpx.RemoteProtocolError: "ended the answer before it was complete",
        socket.gaierror: "has a host name that cannot be resolved",
    }
    said = next((text for kind, text in kinds.items() if isinstance(error, kind)), "failed: " + type(error).__name__)
    return Fault("SourceUnreachable", Disposition.RETRY, f"{where.shown} {said}")
