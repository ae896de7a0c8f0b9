"""The shop's web server: a version is told before it is served."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from hack.demo.shop import PATH, Shop
from hack.emulator import jsons

ONE = b"id,price,availability\n001,9.90 EUR,in stock\n"
TWO = b"id,price,availability\n001,8.90 EUR,in stock\n"


class Auditor:
    """Keeps what it was told, or can't be told."""

    def __init__(self) -> None:
        self.told: list[jsons.Object] = []
        self.reachable = True

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if not self.reachable:
            raise httpx.ConnectError("connection refused", request=request)
        assert request.url.path == "/_emulator/witness"
        self.told.append(jsons.as_object(jsons.parse(request.content)))
        return httpx.Response(200)


class World:
    def __init__(self, file: Path) -> None:
        self.file = file
        self.auditor = Auditor()
        transport = httpx.MockTransport(self.auditor)
        self.shop = Shop(file, httpx.AsyncClient(transport=transport, base_url="http://auditor"))

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        self.auditor.reachable = False
        yield
        self.auditor.reachable = True

    def client(self) -> "TestClient[web.Request, web.Application]":
        application = web.Application()
        application.router.add_get(PATH, self.shop.export)
        return TestClient(TestServer(application))


@pytest.fixture
def world(tmp_path: Path) -> World:
    found = World(tmp_path / "products.csv")
    found.file.write_bytes(ONE)
    return found


async def test_a_version_is_served_with_an_etag_and_not_twice(world: World) -> None:
    async with world.client() as client:
        first = await client.get(PATH)
        assert await first.read() == ONE
        etag = first.headers["ETag"]
        again = await client.get(PATH, headers={"If-None-Match": etag})
        assert (again.status, await again.read(), again.headers["ETag"]) == (304, b"", etag)
        world.file.write_bytes(TWO)
        changed = await client.get(PATH, headers={"If-None-Match": etag})
        assert (changed.status, await changed.read()) == (200, TWO)
        assert changed.headers["ETag"] != etag


async def test_each_version_is_told_once(world: World) -> None:
    async with world.client() as client:
        for content in (ONE, ONE, TWO):
            world.file.write_bytes(content)
            await client.get(PATH)
    records = [jsons.as_list(told["records"]) for told in world.auditor.told]
    assert records == [
        [
            {"item": "001", "field": "price", "value": "9.90 EUR", "sequence": 1},
            {"item": "001", "field": "availability", "value": "in stock", "sequence": 1},
        ],
        [{"item": "001", "field": "price", "value": "8.90 EUR", "sequence": 2}],
    ]


async def test_what_the_auditor_does_not_know_is_not_served(world: World) -> None:
    async with world.client() as client:
        with world.unreachable():
            refused = await client.get(PATH)
            assert refused.status == 503
            assert "auditor" in await refused.text()
        assert (await client.get(PATH)).status == 200
    assert len(world.auditor.told) == 1


async def test_many_readers_make_one_version(world: World) -> None:
    async with world.client() as client:
        answers = await asyncio.gather(*(client.get(PATH) for _ in range(8)))
        assert {answer.status for answer in answers} == {200}
    assert len(world.auditor.told) == 1


async def test_a_missing_file_is_said_to_be_missing(world: World) -> None:
    world.file.unlink()
    async with world.client() as client:
        answer = await client.get(PATH)
        assert answer.status == 500
        assert "can't be read" in await answer.text()
