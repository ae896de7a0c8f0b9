"""The audit: what a client did wrong is found, and what it did right is not."""

import asyncio
from typing import Any

import pytest

from tests.contract.emulator.driver import Meta, delete, item, update


async def prepared(meta: Meta, rids: str = "AB") -> tuple[str, str]:
    catalog, feed = await meta.catalog_and_feed()
    await meta.upload(feed, [item(rid) for rid in rids])
    return catalog, feed


async def test_a_client_that_waits_is_clean(meta: Meta) -> None:
    catalog, feed = await prepared(meta)
    for price in ("1.00 EUR", "2.00 EUR"):
        await meta.batch(catalog, [update("A", price=price)])
        meta.wait(200)
    await meta.upload(feed, [item("A"), item("B")])
    audit = await meta.audit()
    assert audit["overlaps"] == 0
    assert audit["violations"] == []
    assert audit["judged"] == {"I1": "clean", "I4": "clean", "I5": "clean", "I7": "not judged", "I8": "not judged"}


async def test_two_batches_on_one_item_overlap(meta: Meta) -> None:
    catalog, _ = await prepared(meta)
    await meta.batch(catalog, [update("A", price="1.00 EUR")])
    meta.wait(5)
    await meta.batch(catalog, [update("A", price="2.00 EUR"), update("B", price="2.00 EUR")])
    audit = await meta.audit()
    assert audit["overlaps"] == 1
    assert audit["judged"]["I1"] == "violated"
    assert audit["violations"][0]["items"] == 1


async def test_two_batches_on_different_items_do_not(meta: Meta) -> None:
    catalog, _ = await prepared(meta)
    await meta.batch(catalog, [update("A", price="1.00 EUR")])
    await meta.batch(catalog, [update("B", price="2.00 EUR")])
    assert (await meta.audit())["overlaps"] == 0


async def test_a_batch_overlaps_a_replace_that_may_delete_its_item(meta: Meta) -> None:
    catalog, feed = await prepared(meta)
    await meta.upload(feed, [item("A")], wait=False)
    await meta.batch(catalog, [update("B", price="2.00 EUR")])
    assert (await meta.audit())["overlaps"] == 1


async def test_a_batch_does_not_overlap_an_upload_that_can_not_delete(meta: Meta) -> None:
    catalog, feed = await prepared(meta)
    await meta.upload(feed, [item("A")], update_only=True, wait=False)
    await meta.batch(catalog, [update("B", price="2.00 EUR")])
    assert (await meta.audit())["overlaps"] == 0


async def test_a_refused_upload_touches_nothing(meta: Meta) -> None:
    catalog, feed = await prepared(meta)
    await meta.upload(feed, b"<html>", wait=False)
    await meta.batch(catalog, [update("A", price="2.00 EUR")])
    assert (await meta.audit())["overlaps"] == 0


async def test_what_takes_effect_after_finished_still_overlaps(make: Any) -> None:
    meta: Meta = await make(
        switches={"effects_after_finished_seconds": 8, "batch_seconds_min": 100, "batch_seconds_max": 100}
    )
    rids = [f"{n}" for n in range(60)]
    catalog, feed = await meta.catalog_and_feed()
    await meta.upload(feed, [item(rid) for rid in rids])
    await meta.batch(catalog, [update(rid, price="1.00 EUR") for rid in rids])
    meta.wait(101)
    await meta.batch(catalog, [update(rid, price="2.00 EUR") for rid in rids])
    assert (await meta.audit())["overlaps"] == 1


async def test_a_late_acceptance_overlaps_until_its_last_effect(meta: Meta) -> None:
    catalog, _ = await prepared(meta)
    await meta.arm("late", path="items_batch", seconds=1200)
    await meta.batch(catalog, [update("A", price="1.00 EUR")])
    meta.wait(1000)
    await meta.batch(catalog, [update("A", price="2.00 EUR")])
    assert (await meta.audit())["overlaps"] == 1


async def test_deleting_a_feed_that_is_being_filled_overlaps(meta: Meta) -> None:
    _, feed = await prepared(meta)
    await meta.upload(feed, [item("A")], wait=False)
    await meta.call("DELETE", f"/{feed}")
    assert (await meta.audit())["overlaps"] == 1


async def test_an_id_twice_in_one_call(meta: Meta) -> None:
    catalog, feed = await prepared(meta)
    await meta.batch(catalog, [update("A", price="1.00 EUR"), update(" A", price="2.00 EUR")])
    meta.wait(200)
    await meta.upload(feed, [item("B"), item("B")])
    audit = await meta.audit()
    assert audit["judged"]["I4"] == "violated"
    assert [one["samples"] for one in audit["violations"] if one["invariant"] == "I4"] == [["A"], ["B"]]


async def test_ids_that_differ_in_unicode_form_are_one(meta: Meta) -> None:
    _, feed = await meta.catalog_and_feed()
    await meta.upload(feed, [item("caf\u00e9"), item("cafe\u0301")])
    assert (await meta.audit())["judged"]["I4"] == "violated"


async def test_a_quota_that_is_exceeded(meta: Meta) -> None:
    catalog, _ = await prepared(meta)
    for number in range(9):
        await meta.batch(catalog, [update("A" if number % 2 else "B", price="1.00 EUR")])
    found = [one["what"] for one in (await meta.audit())["violations"] if one["invariant"] == "I5"]
    assert found == ["quota exceeded"]


async def test_a_quota_with_a_reserve(meta: Meta) -> None:
    catalog = await meta.catalog()
    for number in range(8):
        await meta.batch(catalog, [update(f"{number}", price="1.00 EUR")])
    assert (await meta.audit())["judged"]["I5"] == "clean"
    strict = await meta.control("GET", "/audit", reserve_percent="10")
    assert strict["judged"]["I5"] == "violated"


async def test_a_call_while_throttled(meta: Meta) -> None:
    catalog = await meta.catalog()
    await meta.arm("throttle", path=f"/{catalog}$", code=80009, minutes=5)
    assert (await meta.get(f"/{catalog}")).code == 80009
    meta.wait(60)
    await meta.get(f"/{catalog}/check_batch_request_status", handle="Ac")
    found = [one for one in (await meta.audit())["violations"] if one["what"] == "called while throttled"]
    assert len(found) == 1
    assert found[0]["bucket"] == "catalog_management"


async def test_waiting_as_told_is_clean(meta: Meta) -> None:
    catalog = await meta.catalog()
    await meta.arm("throttle", path=f"/{catalog}$", minutes=5)
    await meta.get(f"/{catalog}")
    meta.wait(5 * 60 + 1)
    assert (await meta.get(f"/{catalog}")).status == 200
    assert (await meta.audit())["judged"]["I5"] == "clean"


async def test_who_was_not_told_is_not_blamed(meta: Meta) -> None:
    catalog = await meta.catalog()
    await meta.arm("throttle", path=f"/{catalog}$", minutes=5)
    await meta.arm("drop_after", path=f"/{catalog}$")
    with pytest.raises(Exception, match=r".*"):
        await meta.get(f"/{catalog}")
    await meta.get(f"/{catalog}")
    assert (await meta.audit())["judged"]["I5"] == "clean"


async def witnessed(meta: Meta, *records: tuple[str, str, str, int]) -> None:
    wish = [{"item": rid, "field": name, "value": value, "sequence": number} for rid, name, value, number in records]
    await meta.control("POST", "/witness", {"records": wish})


async def test_a_value_that_goes_back_in_source_time(meta: Meta) -> None:
    catalog, feed = await meta.catalog_and_feed()
    await witnessed(meta, ("A", "price", "1.00 EUR", 1))
    await meta.upload(feed, [item("A", price="1.00 EUR")])
    await witnessed(meta, ("A", "price", "2.00 EUR", 2))
    await meta.batch(catalog, [update("A", price="2.0 EUR")])
    meta.wait(200)
    await meta.get("/me")
    assert (await meta.audit())["judged"]["I7"] == "clean"
    await meta.upload(feed, [item("A", price="1.00 EUR")])
    await meta.get("/me")
    audit = await meta.audit()
    assert audit["judged"]["I7"] == "violated"
    found = [one for one in audit["violations"] if one["invariant"] == "I7"]
    assert [(one["item"], one["sequence"], one["after_sequence"]) for one in found] == [("A", 1, 2)]


async def test_a_value_that_the_source_itself_took_back_is_in_order(meta: Meta) -> None:
    catalog, feed = await meta.catalog_and_feed()
    history = [("A", "price", f"{price}.00 EUR", number) for number, price in enumerate((1, 2, 1, 2), start=1)]
    await witnessed(meta, *history)
    await meta.upload(feed, [item("A", price="1.00 EUR")])
    for price in ("2.00 EUR", "1.00 EUR", "2.00 EUR"):
        await meta.batch(catalog, [update("A", price=price)])
        meta.wait(200)
    await meta.get("/me")
    assert (await meta.audit())["judged"]["I7"] == "clean"


async def test_values_that_the_witness_does_not_know_are_not_judged(meta: Meta) -> None:
    _, feed = await meta.catalog_and_feed()
    await witnessed(meta, ("A", "price", "1.00 EUR", 1))
    await meta.upload(feed, [item("A", price="7.00 EUR")])
    await meta.get("/me")
    audit = await meta.audit()
    assert audit["judged"]["I7"] == "not judged"
    assert audit["counts"]["applied_values_the_witness_does_not_know"] == 1


async def test_deletions_and_sell_outs_need_a_witness(meta: Meta) -> None:
    catalog, feed = await prepared(meta, "ABCD")
    wish = {
        "removals": [{"item": "A"}, {"item": "D", "approved": False}],
        "records": [{"item": "B", "field": "availability", "value": "out of stock", "sequence": 1}],
    }
    await meta.control("POST", "/witness", wish)
    await meta.batch(catalog, [delete("A"), update("B", availability="out of stock")])
    meta.wait(200)
    await meta.get("/me")
    assert (await meta.audit())["judged"]["I8"] == "clean"
    await meta.upload(feed, [item("B", availability="out of stock"), item("C", availability="discontinued")])
    await meta.get("/me")
    audit = await meta.audit()
    found = sorted((one["item"], one["what"].split(" that")[0]) for one in audit["violations"])
    assert found == [("C", "an item was made unsellable"), ("D", "an item was deleted")]


async def test_a_whole_catalog_may_be_removed_on_purpose(meta: Meta) -> None:
    catalog, feed = await prepared(meta)
    other = await meta.catalog("Other")
    await meta.control("POST", "/witness", {"removals": [{"item": "*", "catalog": other}]})
    await meta.call("DELETE", f"/{feed}")
    assert (await meta.audit())["judged"]["I8"] == "violated"
    meta.wait(10)
    await meta.control("POST", "/witness", {"removals": [{"item": "*", "catalog": catalog}]})
    assert (await meta.audit())["judged"]["I8"] == "violated", "it was said too late"
    second = await meta.feed(catalog, "Second")
    meta.wait(10)
    before = (await meta.audit())["violations_total"]
    await meta.upload(second, [item("C")])
    await meta.call("DELETE", f"/{catalog}")
    assert (await meta.audit())["violations_total"] == before


async def test_other_peoples_writes_are_not_the_clients(meta: Meta) -> None:
    catalog, _ = await prepared(meta)
    await meta.control("POST", "/witness", {"removals": [{"item": "nobody"}]})
    await meta.control("POST", "/items", {"catalog": catalog, "id": "A", "values": {"price": "3.00 EUR"}})
    await meta.control("POST", "/items", {"catalog": catalog, "id": "B", "delete": True})
    truth = await meta.truth(catalog)
    assert set(truth) == {"A"}
    assert truth["A"]["values"]["price"] == "3.00 EUR"
    audit = await meta.audit()
    assert audit["judged"]["I8"] == "clean"
    assert audit["overlaps"] == 0


async def test_calls_at_the_same_moment_are_all_counted(meta: Meta) -> None:
    catalog = await meta.catalog()
    answers = await asyncio.gather(*(meta.get(f"/{catalog}") for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert (await meta.control("GET", "/stats"))["requests"] == 21


async def test_the_control_interface_explains_itself(meta: Meta) -> None:
    answer = await meta.client.get("/_emulator/nonsense")
    assert answer.status_code == 404
    assert "GET /_emulator/audit" in answer.json()["calls"]
    before = (await meta.control("GET", "/clock"))["now"]
    after = (await meta.control("POST", "/clock", {"advance": 60}))["now"]
    assert after == before + 60
    assert (await meta.client.post("/_emulator/clock", json={"advance": -1})).status_code == 400
    assert (await meta.client.post("/_emulator/clock", json={"back": 1})).status_code == 400
    assert (await meta.client.post("/_emulator/switches", json={"gzip_members": "some"})).status_code == 400
    assert (await meta.client.post("/_emulator/switches", json={"nonsense": "1"})).status_code == 400
    assert (await meta.control("POST", "/switches", {"gzip_members": "all"}))["switches"]["gzip_members"] == "all"
    described = (await meta.control("GET", "/switches"))["described"]
    assert all(one["says"] for one in described)
    assert (await meta.control("GET", "/issues")) == {"issues": []}
