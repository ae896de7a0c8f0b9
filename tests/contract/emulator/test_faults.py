"""Faults: what breaks, and what Meta has nevertheless done."""

import asyncio
from typing import Any

import httpx
import pytest

from hack.emulator import faults
from hack.emulator.fetching import Fetched
from tests.contract.emulator.driver import Meta, feed_file, item, update

BROKEN = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)


async def prepared(meta: Meta) -> tuple[str, str]:
    catalog, feed = await meta.catalog_and_feed()
    await meta.upload(feed, [item("A"), item("B")])
    return catalog, feed


async def test_a_request_that_is_dropped_was_never_accepted(meta: Meta) -> None:
    catalog, _ = await prepared(meta)
    for kind in ("drop_before", "reset"):
        await meta.arm(kind, path="items_batch")
        with pytest.raises(BROKEN):
            await meta.batch(catalog, [update("A", price="1.00 EUR")])
    mutations = (await meta.control("GET", "/mutations"))["mutations"]
    assert [one["kind"] for one in mutations] == ["replace"]


async def test_an_answer_that_is_dropped_was_accepted(meta: Meta) -> None:
    catalog, _ = await prepared(meta)
    await meta.arm("drop_after", path="items_batch")
    with pytest.raises(BROKEN):
        await meta.batch(catalog, [update("A", price="1.00 EUR")])
    meta.wait(200)
    await meta.get("/me")
    assert (await meta.truth(catalog))["A"]["values"]["price"] == "1.00 EUR"
    last = (await meta.control("GET", "/mutations"))["mutations"][-1]
    assert (last["kind"], last["delivered"]) == ("batch", False)


async def test_half_an_answer(meta: Meta) -> None:
    catalog, _ = await prepared(meta)
    await meta.arm("half_answer", path="items_batch")
    with pytest.raises(httpx.RemoteProtocolError):
        await meta.batch(catalog, [update("A", price="1.00 EUR")])
    assert (await meta.control("GET", "/mutations"))["mutations"][-1]["kind"] == "batch"


async def test_a_body_that_is_no_json(meta: Meta) -> None:
    catalog, _ = await prepared(meta)
    await meta.arm("http_error", path="items_batch", status=503)
    answer = await meta.batch(catalog, [update("A", price="1.00 EUR")])
    assert answer.status == 503
    assert b"<html>" in answer.body
    assert len((await meta.control("GET", "/mutations"))["mutations"]) == 1
    await meta.arm("http_error", path="items_batch", status=502, accepted=True)
    assert (await meta.batch(catalog, [update("A", price="1.00 EUR")])).status == 502
    assert len((await meta.control("GET", "/mutations"))["mutations"]) == 2


async def test_an_error_with_status_200(meta: Meta) -> None:
    await meta.arm("error_200", path="/me", code=1)
    answer = await meta.get("/me")
    assert (answer.status, answer.code) == (200, 1)


@pytest.mark.parametrize(("code", "transient"), [(1, False), (2, True)])
async def test_transient_errors(meta: Meta, code: int, transient: bool) -> None:
    await meta.arm("graph_error", path="/me", code=code, transient=transient)
    answer = await meta.get("/me")
    assert (answer.status, answer.code, answer["error"]["is_transient"]) == (500, code, transient)
    assert (await meta.get("/me")).status == 200


@pytest.mark.parametrize("subcode", [452, 458, 460, 463, 464, 465, 467])
async def test_token_errors(meta: Meta, subcode: int) -> None:
    await meta.arm("token", path="/me", subcode=subcode)
    answer = await meta.get("/me")
    assert (answer.code, answer["error"]["error_subcode"]) == (190, subcode)


async def test_a_late_upload_is_neither_listed_nor_effective_before_its_time(meta: Meta) -> None:
    catalog, feed = await prepared(meta)
    await meta.arm("late", path="uploads", seconds=600)
    await meta.upload(feed, [item("A", title="Late"), item("B")], wait=False)
    meta.wait(590)
    assert len((await meta.get(f"/{feed}/uploads")).rows) == 1
    assert (await meta.truth(catalog))["A"]["values"]["title"] == "Title of A"
    meta.wait(30)
    assert len((await meta.get(f"/{feed}/uploads")).rows) == 2
    assert (await meta.truth(catalog))["A"]["values"]["title"] == "Late"


async def test_a_late_batch(meta: Meta) -> None:
    catalog, _ = await prepared(meta)
    await meta.arm("late", path="items_batch", seconds=1200)
    handle = (await meta.batch(catalog, [update("A", price="1.00 EUR")]))["handles"][0]
    meta.wait(1190)
    assert (await meta.status(catalog, handle))["status"] == "scheduled"
    meta.wait(200)
    assert (await meta.status(catalog, handle))["status"] == "finished"


async def test_a_handle_that_is_lost(meta: Meta) -> None:
    catalog, _ = await prepared(meta)
    await meta.arm("handle_lost", path="items_batch")
    handle = (await meta.batch(catalog, [update("A", price="1.00 EUR")]))["handles"][0]
    assert (await meta.get(f"/{catalog}/check_batch_request_status", handle=handle)).code == 100
    meta.wait(200)
    await meta.get("/me")
    assert (await meta.truth(catalog))["A"]["values"]["price"] == "1.00 EUR"


async def test_an_upload_that_is_stuck(meta: Meta) -> None:
    catalog, feed = await meta.catalog_and_feed()
    await meta.arm("stuck_upload", path="uploads")
    upload = await meta.upload(feed, [item(f"{n}") for n in range(60)])
    meta.wait(100_000)
    assert "end_time" not in await meta.session(upload)
    assert 0 < len(await meta.truth(catalog)) < 60


async def test_a_batch_that_breaks_off(meta: Meta) -> None:
    catalog, feed = await meta.catalog_and_feed()
    await meta.upload(feed, [item(f"{n}") for n in range(60)])
    await meta.arm("partial_batch", path="items_batch")
    handle = (await meta.batch(catalog, [update(f"{n}", price="1.00 EUR") for n in range(60)]))["handles"][0]
    meta.wait(200)
    assert (await meta.status(catalog, handle))["status"] == "error"
    changed = [row for row in (await meta.truth(catalog)).values() if row["values"]["price"] == "1.00 EUR"]
    assert 0 < len(changed) < 60


async def test_an_upload_that_fails_as_a_file(meta: Meta) -> None:
    catalog, feed = await prepared(meta)
    await meta.arm("upload_failure", path="uploads", reason="The disk is on fire.")
    upload = await meta.upload(feed, [item("C")])
    assert (await meta.errors(upload))[0]["description"] == "The disk is on fire."
    assert set(await meta.truth(catalog)) == {"A", "B"}


async def test_faults_of_an_upload_by_url_strike_when_its_file_is_there(make: Any) -> None:
    async def fetcher(_url: str, _username: str, _password: str) -> Fetched:
        return Fetched(200, feed_file([item(f"{n}") for n in range(60)]))

    meta: Meta = await make(fetcher=fetcher)
    catalog, feed = await meta.catalog_and_feed()
    held: list[int] = []
    for kind in ("upload_failure", "lost_effects", "stuck_upload"):
        await meta.arm(kind, path="uploads")
        upload = (await meta.post(f"/{feed}/uploads", url="http://shop.example/f.csv"))["id"]
        for _ in range(3):
            meta.wait(30)
            await meta.session(upload)
        held.append(len(await meta.truth(catalog)))
        assert ("end_time" in await meta.session(upload)) is (kind != "stuck_upload")
    assert held[:2] == [0, 0]
    assert 0 < held[2] < 60


async def test_effects_that_never_come(meta: Meta) -> None:
    catalog, feed = await prepared(meta)
    await meta.arm("lost_effects", path="items_batch|uploads", count=2)
    await meta.batch(catalog, [update("A", price="1.00 EUR")])
    upload = await meta.upload(feed, [item("C")])
    meta.wait(300)
    assert "end_time" in await meta.session(upload)
    truth = await meta.truth(catalog)
    assert set(truth) == {"A", "B"}
    assert truth["A"]["values"]["price"] == "12.50 EUR"


async def test_reads_can_be_made_older_than_usual(meta: Meta) -> None:
    catalog, feed = await meta.catalog_and_feed()
    await meta.upload(feed, [item(f"{n}") for n in range(40)])
    await meta.arm("stale_reads", path="items_batch", seconds=900)
    await meta.batch(catalog, [update(f"{n}", price="1.00 EUR") for n in range(40)])
    meta.wait(300)
    prices = [row["price"] for row in (await meta.get(f"/{catalog}/products", fields="price", limit="100")).rows]
    assert {"€12.50", "€1.00"} == set(prices)
    meta.wait(900)
    prices = [row["price"] for row in (await meta.get(f"/{catalog}/products", fields="price", limit="100")).rows]
    assert set(prices) == {"€1.00"}


async def test_latency_is_waited_for(meta: Meta) -> None:
    loop = asyncio.get_running_loop()
    for phase in ("request", "answer"):
        await meta.arm("latency", path="/me", seconds=0.2, phase=phase)
        before = loop.time()
        assert (await meta.get("/me")).status == 200
        assert loop.time() - before >= 0.2


async def test_a_fault_strikes_as_often_as_it_says_and_where_it_says(meta: Meta) -> None:
    catalog = await meta.catalog()
    await meta.arm("graph_error", method="GET", path=f"/{catalog}$", count=2)
    statuses = [(await meta.get(f"/{catalog}")).status for _ in range(4)]
    assert statuses == [500, 500, 200, 200]
    assert (await meta.post(f"/{catalog}", name="B")).status == 200
    shown = await meta.control("GET", "/faults")
    assert shown["struck"] == {"graph_error": 2}


async def test_a_fault_with_a_probability_strikes_by_the_seed(make: Any) -> None:
    async def struck(seed: int) -> list[int]:
        meta: Meta = await make(seed=seed)
        await meta.arm("graph_error", path="/me", probability=0.5)
        return [(await meta.get("/me")).status for _ in range(30)]

    first = await struck(1)
    assert set(first) == {200, 500}
    assert await struck(1) == first
    assert await struck(2) != first


async def test_faults_are_disarmed_and_wrong_ones_refused(meta: Meta) -> None:
    await meta.arm("graph_error", path="/me", count=100)
    assert (await meta.control("DELETE", "/faults"))["disarmed"] == 1
    assert (await meta.get("/me")).status == 200
    for wish in ({"kind": "nonsense"}, {"kind": "latency", "secs": 1}, {"kind": "latency", "path": "("}):
        answer = await meta.client.post("/_emulator/faults", json=wish)
        assert answer.status_code == 400
        assert answer.json()["error"]


def test_every_kind_of_fault_is_described() -> None:
    assert len(faults.KINDS) >= 17
    assert all(faults.KINDS.values())
