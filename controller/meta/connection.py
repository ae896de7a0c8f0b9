"""What the nouns of the Graph API stand on: performing one request, and following the pages of a list."""

import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

from controller.meta import limits, wire
from controller.meta.protocol import Answer, Request, contract_violation
from controller.ports.meta import Credentials


class Connection(Protocol):
    """Carries requests with the credentials of one connection; raises Fault for everything that is not success."""

    credentials: Credentials

    async def perform(self, request: Request) -> Answer: ...

    def download(self, request: Request, url: str) -> AsyncIterator[bytes]:
        """Stream a file that Meta points to, without credentials."""
        ...


class Noun:
    """Base of the modules that speak about one kind of object."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def _perform(self, request: Request) -> Answer:
        return await self._connection.perform(request)

    async def _pages(self, request: Request) -> AsyncIterator[tuple[Answer, wire.Page]]:
        """Read all pages of a list, one call each."""
        after: str | None = None
        for number in itertools.count(1):
            answer = await self._perform(with_cursor(request, after))
            page = wire.read_shape(answer, wire.Page)
            yield answer, page
            following = next_cursor(answer, page.paging, current=after)
            if following is None:
                return
            if number == limits.PAGES_MAX:
                raise contract_violation(answer, f"the list has more than {limits.PAGES_MAX} pages")
            after = following

    async def _rows(self, request: Request, shape: type[wire.RowT]) -> tuple[wire.RowT, ...]:
        found: list[wire.RowT] = []
        async for answer, page in self._pages(request):
            found.extend(wire.read_rows(answer, page.data, shape))
        return tuple(found)


def with_cursor(request: Request, after: str | None) -> Request:
    return request if after is None else replace(request, params=(*request.params, ("after", after)))


def next_cursor(answer: Answer, paging: wire.Paging | None, *, current: str | None) -> str | None:
    """Return the cursor of the next page; None: this was the last one.

    Only the absence of `next` means the end (Meta: paginated results). `next` is an address that carries the token, so
    it is never called; the cursor in it serves where `cursors` is absent.
    """
    if paging is None or not paging.next:
        return None
    following = paging.cursors.after if paging.cursors is not None else None
    following = following or parse_qs(urlsplit(paging.next).query).get("after", [""])[0]
    if not following:
        raise contract_violation(answer, "paging.next without a cursor")
    if following == current:
        raise contract_violation(answer, "paging.next leads to the same page again")
    return following
