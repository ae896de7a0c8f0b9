"""The two fronts: what a client can tell about its connection."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from hack.emulator.app import Emulator
from hack.emulator.serve import Front, is_loopback
from hack.emulator.transport import EmulatorTransport
from hack.emulator.world import TEST_TOKEN
from tests.contract.emulator.driver import PROMPT, Clock


def client_of(emulator: Emulator) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=EmulatorTransport(emulator), base_url="https://graph.facebook.com")


@pytest.fixture
def emulator() -> Any:
    made = Emulator(clock=Clock(), switches=PROMPT)
    yield made
    made.close()


async def test_a_refused_connection_lets_no_byte_leave(emulator: Emulator) -> None:
    events: list[str] = []

    async def trace(name: str, _info: Any) -> None:
        events.append(name)

    emulator.faults.arm({"kind": "connect_refused", "path": "/me"})
    async with client_of(emulator) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("/v26.0/me", extensions={"trace": trace})
        assert events == ["connection.connect_tcp.started", "connection.connect_tcp.failed"]
        events.clear()
        await client.get("/v26.0/me", extensions={"trace": trace})
    assert "http11.send_request_headers.started" in events
    assert events.index("http11.send_request_body.complete") < events.index("http11.receive_response_headers.started")


async def test_the_events_are_those_of_a_real_connection(emulator: Emulator) -> None:
    """The same call over a socket, and the order of the events compared."""

    async def events_of(client: httpx.AsyncClient) -> list[str]:
        events: list[str] = []

        async def trace(name: str, _info: Any) -> None:
            events.append(name)

        await client.post("/v26.0/me", data={"access_token": TEST_TOKEN}, extensions={"trace": trace})
        wanted = ("connection.connect_tcp", "http11.send_request", "http11.receive_response_headers")
        return [name for name in events if name.startswith(wanted)]

    front = Front(Emulator(clock=Clock(), switches=PROMPT))
    await front.start()
    try:
        async with httpx.AsyncClient(base_url=front.url) as over_socket, client_of(emulator) as in_process:
            assert await events_of(in_process) == await events_of(over_socket)
    finally:
        await front.stop()


async def test_a_read_timeout_does_not_stop_the_work(emulator: Emulator) -> None:
    emulator.faults.arm({"kind": "latency", "seconds": 0.3, "path": "owned"})
    async with client_of(emulator) as client:
        params = {"access_token": TEST_TOKEN}
        with pytest.raises(httpx.ReadTimeout):
            await client.post(
                "/v26.0/1234567890/owned_product_catalogs", params=params, data={"name": "A"}, timeout=0.05
            )
        async with asyncio.timeout(5):
            while not emulator.journal.requests or emulator.journal.requests[0].delivered:  # noqa: ASYNC110  # no event
                await asyncio.sleep(0.01)
    assert emulator.world.catalogs


async def test_a_client_that_goes_away_while_it_sends_has_sent_nothing(emulator: Emulator) -> None:
    waiting = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"name="
        waiting.set()
        await asyncio.sleep(60)

    async with client_of(emulator) as client:
        url = f"/v26.0/1234567890/owned_product_catalogs?access_token={TEST_TOKEN}"
        sending = asyncio.ensure_future(client.post(url, content=body()))
        await waiting.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
    assert not emulator.world.catalogs
    assert not emulator.journal.requests


async def test_the_first_byte_is_when_the_body_began() -> None:
    clock = Clock()
    emulator = Emulator(clock=clock, switches=PROMPT)

    async def body() -> AsyncIterator[bytes]:
        yield b"name="
        clock.now += 30
        yield b"A"

    async with client_of(emulator) as client:
        await client.post(f"/v26.0/1234567890/owned_product_catalogs?access_token={TEST_TOKEN}", content=body())
    record = emulator.journal.requests[0]
    assert record.answered - record.first_byte == 30
    emulator.close()


async def test_over_a_socket_nobody_listens_for_a_while() -> None:
    front = Front(Emulator(clock=Clock(), switches=PROMPT))
    await front.start()
    try:
        async with httpx.AsyncClient(base_url=front.url) as client:
            await client.post("/_emulator/faults", json={"kind": "connect_refused", "seconds": 0.5})
            refused = 0
            async with asyncio.timeout(20):
                while not refused or not await _answers(client):
                    refused += not await _answers(client)
                    await asyncio.sleep(0.05)
            assert refused
    finally:
        await front.stop()


async def _answers(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/_emulator/clock")).status_code == 200
    except httpx.TransportError:
        return False


async def test_any_host_name_is_accepted(emulator: Emulator) -> None:
    async with httpx.AsyncClient(transport=EmulatorTransport(emulator)) as client:
        for host in ("https://graph.facebook.com", "http://meta.local:8080", "http://127.0.0.1"):
            assert (await client.get(f"{host}/v26.0/me", params={"access_token": TEST_TOKEN})).status_code == 200


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8000/f.csv", True),
        ("http://localhost/f.csv", True),
        ("http://[::1]/f.csv", True),
        ("http://10.0.0.1/f.csv", False),
        ("http://shop.example/f.csv", False),
        ("https://127.0.0.1/f.csv", False),
        ("file:///etc/passwd", False),
    ],
)
def test_only_the_loopback_interface_is_fetched_from(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected
