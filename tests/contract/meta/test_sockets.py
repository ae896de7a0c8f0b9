"""The shell on real sockets: when a byte may have left, which connection is used, what is cut off."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from controller.faults import Disposition, Fault
from controller.meta.client import HttpxGraph, HttpxGraphFactory
from controller.ports.meta import Body, CatalogChange, Credentials, ErrorReport, Secret
from tests.contract.meta.sockets import Behaviour, Server, Visit, free_port, serving
from tests.unit.meta.scripted import APP_SECRET, TOKEN, FixedClock, RecordingGovernor, make_body

CHANGE = CatalogChange(name="New")
OK = b'{"success": true}'
R, U = Disposition.RETRY, Disposition.UNCERTAIN

Operation = Callable[[HttpxGraph], Awaitable[object]]
READS: dict[str, Operation] = {
    "read_catalog": lambda graph: graph.read_catalog("5"),
    "list_feeds": lambda graph: graph.list_feeds("5"),
}
WRITES: dict[str, Operation] = {
    "update_catalog": lambda graph: graph.update_catalog("5", CHANGE),
    "delete_feed": lambda graph: graph.delete_feed("5", "6"),
    "upload": lambda graph: graph.upload("5", "6", "a.csv.gz", make_body(b"x" * 300_000), update_only=False),
    "send_batch": lambda graph: graph.send_batch("5", make_body(b"y" * 300_000)),
    "send_localized_batch": lambda graph: graph.send_localized_batch("5", make_body(b"y" * 300_000)),
}


@asynccontextmanager
async def connected(
    endpoint: str, governor: RecordingGovernor | None = None, timeout_seconds: float = 5.0
) -> AsyncIterator[HttpxGraph]:
    factory = HttpxGraphFactory(endpoint, governor or RecordingGovernor(), FixedClock())
    try:
        yield factory.connect(
            Credentials("77", Secret(TOKEN), app_secret=Secret(APP_SECRET), timeout_seconds=timeout_seconds)
        )
    finally:
        await factory.close()


async def failing(operation: Operation, behaviour: Behaviour, timeout_seconds: float = 5.0) -> tuple[Fault, Server]:
    async with serving(behaviour) as server, connected(server.endpoint, timeout_seconds=timeout_seconds) as graph:
        with pytest.raises(Fault) as caught:
            await operation(graph)
        return caught.value, server


async def close_at_once(visit: Visit) -> None:
    del visit


async def close_after_request(visit: Visit) -> None:
    await visit.read_request()


async def reset_after_request(visit: Visit) -> None:
    await visit.read_request()
    visit.reset()


async def reset_in_the_body(visit: Visit) -> None:
    await visit.read_head()
    visit.reset()


async def half_answer(visit: Visit) -> None:
    await visit.read_request()
    await visit.answer(b'{"success": tr', announced=100)


async def half_head(visit: Visit) -> None:
    await visit.read_request()
    visit.writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    await visit.writer.drain()


async def no_http(visit: Visit) -> None:
    await visit.read_request()
    visit.writer.write(b"SSH-2.0-OpenSSH_9.9\r\n")
    await visit.writer.drain()


async def bad_compression(visit: Visit) -> None:
    await visit.read_request()
    await visit.answer(b"not gzip at all", head="Content-Encoding: gzip\r\n")


async def bad_gateway(visit: Visit) -> None:
    await visit.read_request()
    await visit.answer(b"<html>Bad Gateway</html>", 502)


BEHAVIOURS: dict[str, Behaviour] = {
    behaviour.__name__: behaviour
    for behaviour in (
        close_at_once,
        close_after_request,
        reset_after_request,
        reset_in_the_body,
        half_answer,
        half_head,
        no_http,
        bad_compression,
        bad_gateway,
    )
}


@pytest.mark.parametrize("behaviour", sorted(BEHAVIOURS))
@pytest.mark.parametrize("operation", sorted(WRITES))
async def test_write_is_uncertain_once_a_byte_left(operation: str, behaviour: str) -> None:
    fault, _ = await failing(WRITES[operation], BEHAVIOURS[behaviour])
    assert (fault.reason, fault.disposition) == ("MetaUnavailable", U)


@pytest.mark.parametrize("behaviour", sorted(BEHAVIOURS))
@pytest.mark.parametrize("operation", sorted(READS))
async def test_read_is_tried_again(operation: str, behaviour: str) -> None:
    fault, server = await failing(READS[operation], BEHAVIOURS[behaviour])
    assert (fault.reason, fault.disposition) == ("MetaUnavailable", R)
    assert len(server.visits) == 1, "one attempt per call"


@pytest.mark.parametrize("operation", sorted({**READS, **WRITES}))
async def test_without_a_connection_nothing_happened(operation: str) -> None:
    governor = RecordingGovernor()
    async with connected(f"http://127.0.0.1:{free_port()}", governor) as graph:
        with pytest.raises(Fault) as caught:
            await {**READS, **WRITES}[operation](graph)
    assert (caught.value.reason, caught.value.disposition) == ("MetaUnavailable", R)
    assert governor.admitted == [], "a call that never left is not counted"


@pytest.mark.parametrize("operation", sorted({**READS, **WRITES}))
async def test_governor_is_asked_when_the_connection_stands_and_before_the_first_byte(operation: str) -> None:
    refusal = Fault("LeaseLost", Disposition.RETRY, "the lease is lost")
    governor = RecordingGovernor(refusal)
    async with serving(close_after_request) as server:
        async with connected(server.endpoint, governor) as graph:
            with pytest.raises(Fault) as caught:
                await {**READS, **WRITES}[operation](graph)
        assert caught.value is refusal
        await server.settled()
        assert [bytes(visit.received) for visit in server.visits] == [b""]


@pytest.mark.parametrize(("operation", "disposition"), [("list_feeds", R), ("update_catalog", U), ("delete_feed", U)])
async def test_deadline(operation: str, disposition: Disposition) -> None:
    async def hang(visit: Visit) -> None:
        await visit.read_request()
        await visit.reader.read()

    fault, _ = await failing({**READS, **WRITES}[operation], hang, timeout_seconds=0.2)
    assert fault.disposition is disposition


async def test_deadline_bounds_an_upload_that_is_not_taken() -> None:
    async def read_nothing(visit: Visit) -> None:
        await visit.read_head()
        await asyncio.Event().wait()

    body = make_body(b"z" * 30_000_000, pieces=100)
    short = Body(body.size_bytes, body.sha256, body.open, deadline_seconds=0.3)
    fault, _ = await failing(lambda graph: graph.upload("5", "6", "a.csv", short, update_only=True), read_nothing)
    assert fault.disposition is U


@pytest.mark.parametrize("operation", ["upload", "send_batch"])
async def test_wrong_payload_is_cut_off_before_its_end(operation: str) -> None:
    content = b"w" * 300_000
    body = make_body(content, pieces=5, sha256=hashlib.sha256(b"other").hexdigest())
    operations: dict[str, Operation] = {
        "upload": lambda graph: graph.upload("5", "6", "a.csv.gz", body, update_only=False),
        "send_batch": lambda graph: graph.send_batch("5", body),
    }
    complete: list[bool] = []

    async def watch(visit: Visit) -> None:
        complete.append(await visit.read_request())

    async with serving(watch) as server:
        async with connected(server.endpoint) as graph:
            with pytest.raises(Fault) as caught:
                await operations[operation](graph)
        await server.settled()
        assert (caught.value.reason, caught.value.disposition) == ("PayloadMismatch", Disposition.DEFECT)
        assert complete == [False]
        visit = server.visits[0]
        assert len(visit.body()) < visit.content_length()
        assert visit.body().count(b"w") < len(content)


async def test_refusal_that_comes_before_the_body_was_taken_is_read() -> None:
    async def refuse_early(visit: Visit) -> None:
        await visit.read_head()
        document = {"error": {"code": 80014, "message": "(#80014) too many"}}
        await visit.answer(json.dumps(document).encode(), 400, head="Connection: close\r\n")
        while await visit.reader.read(65_536):
            pass

    fault, _ = await failing(lambda graph: graph.send_batch("5", make_body(b"y" * 3_000_000, pieces=50)), refuse_early)
    assert (fault.reason, fault.disposition) == ("RateLimited", Disposition.WAIT)


async def keep_alive(visit: Visit) -> None:
    while await visit.read_request():
        request = bytes(visit.received)
        visit.received.clear()
        await visit.answer(b'{"data": []}' if request.startswith(b"GET") else OK)


async def test_reads_share_a_connection_and_writes_never_do() -> None:
    async with serving(keep_alive) as server:
        async with connected(server.endpoint) as graph:
            await graph.list_feeds("5")
            await graph.list_feeds("5")
            assert len(server.visits) == 1
            for number in range(3):
                await graph.update_catalog("5", CHANGE)
                assert len(server.visits) == 2 + number
            await graph.list_feeds("5")
            assert len(server.visits) == 4
        await server.settled()


async def test_request_on_the_wire() -> None:
    async def look(visit: Visit) -> None:
        assert await visit.read_request()
        await visit.answer(b'{"id": "9"}')

    content = bytes(range(256)) * 1000
    async with serving(look) as server:
        async with connected(server.endpoint) as graph:
            assert await graph.upload("5", "6", "shop-0.csv.gz", make_body(content), update_only=True) == "9"
        visit = server.visits[0]
        head = bytes(visit.received.split(b"\r\n\r\n", 1)[0]).decode()
        lines = head.split("\r\n")
        assert lines[0] == "POST /v26.0/6/uploads HTTP/1.1"
        lower = [line.lower() for line in lines[1:]]
        assert f"authorization: bearer {TOKEN}".lower() in lower
        assert "connection: close" in lower
        assert not any(line.startswith("transfer-encoding") for line in lower)
        assert len(visit.body()) == visit.content_length()
        assert content in visit.body()


async def test_report_streams_from_its_own_server() -> None:
    rows = b"".join(b"id-%d,bad price,FATAL,price\n" % number for number in range(20_000))

    async def give(visit: Visit) -> None:
        await visit.read_request()
        await visit.answer(rows, head="Connection: close\r\n")

    async with serving(give) as server:
        async with connected(server.endpoint) as graph:
            report = ErrorReport("WRITE_FINISHED", f"{server.endpoint}/files/1?sig=x")
            found = [problem.item_id async for problem in graph.download_error_report("5", report)]
        assert found == [f"id-{number}" for number in range(20_000)]
        assert b"uthorization" not in server.visits[0].received


async def test_report_that_breaks_off_is_a_fault_and_not_an_end() -> None:
    async def break_off(visit: Visit) -> None:
        await visit.read_request()
        await visit.answer(b"a,bad,FATAL,price\n", announced=1000)

    async with serving(break_off) as server, connected(server.endpoint) as graph:
        rows = graph.download_error_report("5", ErrorReport("WRITE_FINISHED", f"{server.endpoint}/files/1"))
        assert (await anext(rows)).item_id == "a"
        with pytest.raises(Fault) as caught:
            await anext(rows)
    assert caught.value.disposition is R
    assert caught.value.__context__ is None


async def test_cancelled_write_ends_its_connection() -> None:
    arrived = asyncio.Event()

    async def hang(visit: Visit) -> None:
        await visit.read_request()
        arrived.set()
        await visit.reader.read()

    async with serving(hang) as server, connected(server.endpoint) as graph:
        task = asyncio.ensure_future(graph.update_catalog("5", CHANGE))
        async with asyncio.timeout(5):
            await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.settled()
