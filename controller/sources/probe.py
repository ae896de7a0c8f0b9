"""The operator's own look at a source: has it changed? One conditional request whose body is never read.

This module runs in the operator and imports nothing of the data stack.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence

import httpx

from controller.api.v1alpha1.items import Source
from controller.ports.preparing import SourceCredentials, SourceRoot
from controller.ports.sources import Look, Version
from controller.sources import handed_in, objects, volume
from controller.sources.addresses import REDIRECTS_MAX, Target, choose, refused, target
from controller.sources.requests import TIMEOUT, asked, connection_fault, extensions_for, headers_for, next_hop

ResolveLater = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolve(host: str, port: int) -> list[str]:
    """Ask the system for the addresses of a name, outside the event loop's thread."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(each[4][0]) for each in found]


class SourceProbe:
    """Looks at sources of every kind. A transport and a resolver may be given for worlds without a network."""

    def __init__(
        self,
        *,
        allowed_networks: Sequence[str] = (),
        source_roots: Sequence[SourceRoot] = (),
        ambient_objects: Sequence[str] = (),
        transport: httpx.AsyncBaseTransport | None = None,
        resolver: ResolveLater = resolve,
    ) -> None:
        self._allowed_networks = tuple(allowed_networks)
        self._source_roots = tuple(source_roots)
        self._ambient_objects = tuple(ambient_objects)
        self._transport = transport
        self._resolve = resolver

    async def authorise(self, source: Source, credentials: SourceCredentials) -> SourceCredentials:
        if source.object_ is None:
            return credentials
        url = await asyncio.to_thread(
            objects.signed, source.object_, dict(credentials.object_keys), self._ambient_objects
        )
        return credentials.model_copy(update={"url": url, "object_keys": ()})

    async def look(self, source: Source, credentials: SourceCredentials, known: Version | None) -> Look:
        if source.volume is not None:
            path = await asyncio.to_thread(volume.locate, source.volume.name, source.volume.path, self._source_roots)
            found = Version(await asyncio.to_thread(volume.version, path), None)
            return Look(None if found == known else found)
        if source.config_map is not None:
            found = Version(handed_in.version(credentials.content), None)
            return Look(None if found == known else found)
        if source.sql is not None:
            return Look(Version(None, None))  # a database has no tag: each look reads it, and compares
        return await self._ask(source, await self.authorise(source, credentials), known)

    async def _ask(self, source: Source, credentials: SourceCredentials, known: Version | None) -> Look:
        question = asked(source, credentials)
        headers = {**question.headers, **_conditions(known)}
        first = hop = target(question.url)
        # Proxies of the environment would dial for us, unchecked.
        async with httpx.AsyncClient(
            transport=self._transport, timeout=TIMEOUT, trust_env=False, follow_redirects=False
        ) as client:
            for _ in range(REDIRECTS_MAX + 1):
                response = await self._send(client, hop, headers_for(hop, first, headers))
                await response.aclose()
                following = next_hop(hop, response)
                if following is None:
                    return _look(response, known)
                hop = following
        raise refused(f"{first.shown} redirects more than {REDIRECTS_MAX} times")

    async def _send(self, client: httpx.AsyncClient, hop: Target, headers: dict[str, str]) -> httpx.Response:
        try:
            address = choose(hop, await self._resolve(hop.host, hop.port), self._allowed_networks)
            request = client.build_request("GET", hop.dialled(address), headers=headers, extensions=extensions_for(hop))
            return await client.send(request, stream=True)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise connection_fault(hop, error) from None


def _conditions(known: Version | None) -> dict[str, str]:
    """Ask by ETag where there is one; a server that gets both decides by the ETag (RFC 9110, 13.2.2)."""
    if known is None:
        return {}
    conditions = {"if-none-match": known.etag, "if-modified-since": known.last_modified}
    return {name: value for name, value in conditions.items() if value}


def _look(response: httpx.Response, known: Version | None) -> Look:
    found = Version(response.headers.get("etag"), response.headers.get("last-modified"))
    strong = found.etag is not None and not found.etag.startswith("W/")
    same = known is not None and strong and found.etag == known.etag
    return Look(None if response.status_code == httpx.codes.NOT_MODIFIED or same else found)
