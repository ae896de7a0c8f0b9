"""Reads a source over HTTP(S), in the child process.

Each hop is resolved, checked and dialled at the checked address, so that a name cannot point elsewhere between check
and use. A body that does not have the length its server declared is refused.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import httpx

from controller.api.v1alpha1.items import Source
from controller.faults import Disposition, Fault
from controller.ports.preparing import SourceCredentials
from controller.sources.addresses import REDIRECTS_MAX, Target, choose, refused, target
from controller.sources.requests import (
    TIMEOUT,
    Resolve,
    asked,
    connection_fault,
    extensions_for,
    headers_for,
    next_hop,
    resolve,
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """An answer whose body is still to be read."""

    etag: str | None
    last_modified: str | None
    gzip: bool
    """The server says that it packed the body for the transfer."""
    pieces: Iterator[bytes]


class HTTPReader:
    """Opens sources. A transport and a resolver may be given for worlds without a network."""

    def __init__(
        self,
        allowed_networks: Sequence[str],
        *,
        transport: httpx.BaseTransport | None = None,
        resolver: Resolve = resolve,
    ) -> None:
        self._allowed_networks = allowed_networks
        self._transport = transport
        self._resolve = resolver

    @contextlib.contextmanager
    def open(self, source: Source, credentials: SourceCredentials) -> Iterator[Delivery]:
        question = asked(source, credentials)
        first = hop = target(question.url)
        # Proxies of the environment would dial for us, unchecked.
        with httpx.Client(
            transport=self._transport, timeout=TIMEOUT, trust_env=False, follow_redirects=False
        ) as client:
            for _ in range(REDIRECTS_MAX + 1):
                response = self._send(client, hop, headers_for(hop, first, question.headers))
                with contextlib.closing(response):
                    following = next_hop(hop, response)
                    if following is None:
                        yield _delivery(hop, response)
                        return
                hop = following
        raise refused(f"{first.shown} redirects more than {REDIRECTS_MAX} times")

    def _send(self, client: httpx.Client, hop: Target, headers: dict[str, str]) -> httpx.Response:
        try:
            address = choose(hop, self._resolve(hop.host, hop.port), self._allowed_networks)
            request = client.build_request("GET", hop.dialled(address), headers=headers, extensions=extensions_for(hop))
            return client.send(request, stream=True)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise connection_fault(hop, error) from None


def _delivery(hop: Target, response: httpx.Response) -> Delivery:
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "", "gzip", "x-gzip"}:
        raise Fault("SourceMalformed", Disposition.RETRY, f"{hop.shown} answers in encoding {encoding!r}; gzip is read")
    return Delivery(
        etag=response.headers.get("etag"),
        last_modified=response.headers.get("last-modified"),
        gzip=encoding.endswith("gzip"),
        pieces=_counted(hop, response),
    )


def _counted(hop: Target, response: httpx.Response) -> Iterator[bytes]:
    """Yield the body as it was transferred and compare its length with the declared one."""
    received = 0
    try:
        for piece in response.iter_raw():
            received += len(piece)
            yield piece
    except (httpx.HTTPError, httpx.StreamError, OSError) as error:
        raise connection_fault(hop, error) from None
    declared = response.headers.get("content-length")
    if declared is not None and declared.isascii() and declared.isdigit() and int(declared) != received:
        message = f"{hop.shown} declared {declared} bytes and sent {received}: the file was cut short"
        raise Fault("SourceMalformed", Disposition.RETRY, message)
