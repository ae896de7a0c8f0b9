"""items_batch and its status: what is answered at once, what happens later, what is said about it."""

import json
from typing import Any

import pytest

from tests.contract.emulator.claims import claims
from tests.contract.emulator.driver import Meta, create, delete, item, update


@pytest.fixture
async def filled(meta: Meta) -> tuple[Meta, str]:
    catalog, feed = await meta.catalog_and_feed()
    await meta.upload(feed, [item("A"), item("B")])
    return meta, catalog


async def made(make: Any, **switches: Any) -> tuple[Meta, str]:
    meta: Meta = await make(switches=switches)
    catalog, feed = await meta.catalog_and_feed()
    await meta.upload(feed, [item("A"), item("B")])
    return meta, catalog


@claims("batch.create", "batch.status", "switch.batch_seconds_min", "switch.batch_seconds_max")
async def test_a_batch_goes_through_its_statuses(make: Any) -> None:
    meta, catalog = await made(make, batch_seconds_min=100, batch_seconds_max=100)
    handle = (await meta.batch(catalog, [update("A", price="9.99 EUR")]))["handles"][0]
    assert handle.startswith("Ac")
    assert len(handle) == 88
    seen: list[str] = []
    for _ in range(12):
        seen.append((await meta.status(catalog, handle))["status"])
        meta.wait(10)
    assert list(dict.fromkeys(seen)) == ["scheduled", "dispatched", "started", "finished"]
    assert (await meta.truth(catalog))["A"]["values"]["price"] == "9.99 EUR"


@claims("batch.status")
async def test_the_status_has_the_documented_shape(filled: tuple[Meta, str]) -> None:
    meta, catalog = filled
    handle = (await meta.batch(catalog, [update("A", price="9.99 EUR")]))["handles"][0]
    meta.wait(200)
    assert await meta.status(catalog, handle) == {
        "handle": handle,
        "status": "finished",
        "errors": [],
        "errors_total_count": 0,
        "warnings": [],
        "warnings_total_count": 0,
        "ids_of_invalid_requests": [],
    }


@claims("batch.methods")
async def test_the_three_methods_in_one_call(filled: tuple[Meta, str]) -> None:
    meta, catalog = filled
    await meta.batch(catalog, [update("A", price="9.99 EUR", brand=""), delete("B"), create("C")])
    meta.wait(200)
    truth = await meta.truth(catalog)
    assert set(truth) == {"A", "C"}
    assert truth["A"]["values"]["price"] == "9.99 EUR"
    assert "brand" not in truth["A"]["values"]
    assert truth["A"]["values"]["title"] == "Title of A"


@claims("batch.methods")
@pytest.mark.parametrize(("upsert", "expected"), [(True, {"A", "B", "C"}), (False, {"A", "B"})])
async def test_allow_upsert(filled: tuple[Meta, str], upsert: bool, expected: set[str]) -> None:
    meta, catalog = filled
    requests = [{"method": "UPDATE", "data": item("C")}]
    handle = (await meta.batch(catalog, requests, allow_upsert=upsert))["handles"][0]
    meta.wait(200)
    assert set(await meta.truth(catalog)) == expected
    status = await meta.status(catalog, handle)
    assert status["errors_total_count"] == (0 if upsert else 1)


@claims("batch.methods", "item.required")
async def test_an_update_that_would_create_needs_a_whole_item(filled: tuple[Meta, str]) -> None:
    meta, catalog = filled
    handle = (await meta.batch(catalog, [update("C", price="1.00 EUR")]))["handles"][0]
    meta.wait(200)
    status = await meta.status(catalog, handle)
    assert status["errors"][0]["message"].startswith("A required field is missing: ")
    assert set(status["ids_of_invalid_requests"]) == {"C"}
    assert "C" not in await meta.truth(catalog)


@claims("switch.update_unknown")
@pytest.mark.parametrize(("setting", "count"), [("error", 1), ("silent", 0)])
async def test_an_update_of_an_unknown_id(make: Any, setting: str, count: int) -> None:
    meta, catalog = await made(make, update_unknown=setting)
    handle = (await meta.batch(catalog, [update("X", price="1.00 EUR")], allow_upsert=False))["handles"][0]
    meta.wait(200)
    assert (await meta.status(catalog, handle))["errors_total_count"] == count


@claims("switch.create_existing")
@pytest.mark.parametrize(("setting", "title"), [("refuse", "Title of A"), ("upsert", "New")])
async def test_a_create_of_an_id_that_exists(make: Any, setting: str, title: str) -> None:
    meta, catalog = await made(make, create_existing=setting)
    handle = (await meta.batch(catalog, [create("A", title="New")]))["handles"][0]
    meta.wait(200)
    assert (await meta.truth(catalog))["A"]["values"]["title"] == title
    assert (await meta.status(catalog, handle))["errors_total_count"] == (1 if setting == "refuse" else 0)


@claims("switch.delete_unknown")
@pytest.mark.parametrize(("setting", "count"), [("error", 1), ("ok", 0)])
async def test_a_delete_of_an_unknown_id(make: Any, setting: str, count: int) -> None:
    meta, catalog = await made(make, delete_unknown=setting)
    handle = (await meta.batch(catalog, [delete("X")]))["handles"][0]
    meta.wait(200)
    assert (await meta.status(catalog, handle))["errors_total_count"] == count


@claims("switch.duplicate_ids_in_batch", "effects.scattered")
async def test_two_requests_for_one_id(make: Any) -> None:
    outcomes: set[str] = set()
    for seed in range(12):
        meta: Meta = await make(seed=seed)
        catalog, feed = await meta.catalog_and_feed()
        await meta.upload(feed, [item("A")])
        await meta.batch(catalog, [update("A", price="1.00 EUR"), update("A", price="2.00 EUR")])
        meta.wait(200)
        outcomes.add((await meta.truth(catalog))["A"]["values"]["price"])
    assert outcomes == {"1.00 EUR", "2.00 EUR"}, "there is no order inside a call"
    refused, catalog = await made(make, duplicate_ids_in_batch="refuse")
    answer = await refused.batch(catalog, [update("A", price="1.00 EUR"), update("A", price="2.00 EUR")])
    assert answer["handles"] == []
    assert "Duplicate id" in answer["validation_status"][0]["errors"][0]["message"]


@claims("batch.validation")
async def test_an_unknown_field_is_a_warning_and_the_rest_is_applied(filled: tuple[Meta, str]) -> None:
    meta, catalog = filled
    answer = await meta.batch(catalog, [update("A", price="9.99 EUR", colour="red")])
    assert answer["validation_status"] == [
        {
            "retailer_id": "A",
            "warnings": [{"message": "Unrecognised field: A request for item A contains unrecognised field: 'colour'"}],
        }
    ]
    meta.wait(200)
    assert (await meta.truth(catalog))["A"]["values"]["price"] == "9.99 EUR"


@claims("batch.validation", "batch.empty_handles")
async def test_no_good_row_means_no_handle(filled: tuple[Meta, str]) -> None:
    meta, catalog = filled
    answer = await meta.batch(catalog, [update("A", price=999), {"method": "UPDATE", "data": {"price": "1 EUR"}}])
    assert answer["handles"] == []
    assert {row["retailer_id"] for row in answer["validation_status"]} == {"A", ""}
    empty = await meta.batch(catalog, [])
    assert empty.body == {"handles": []}


@claims("switch.sync_error_rows_attempted")
@pytest.mark.parametrize(("setting", "named_again"), [("false", 0), ("true", 1)])
async def test_a_row_that_is_refused_at_once_may_be_named_again(make: Any, setting: str, named_again: int) -> None:
    meta, catalog = await made(make, sync_error_rows_attempted=setting)
    answer = await meta.batch(catalog, [update("A", price="cheap"), update("B", price="1.00 EUR")])
    assert answer["validation_status"][0]["retailer_id"] == "A"
    meta.wait(200)
    assert (await meta.status(catalog, answer["handles"][0]))["errors_total_count"] == named_again


@claims("switch.batch_rows_checked")
@pytest.mark.parametrize(("setting", "at_once", "later"), [("at_once", 1, 0), ("later", 0, 1)])
async def test_a_wrong_value_is_named_at_once_or_later(make: Any, setting: str, at_once: int, later: int) -> None:
    meta, catalog = await made(make, batch_rows_checked=setting)
    answer = await meta.batch(catalog, [update("A", price="cheap"), update("B", price="1.00 EUR")])
    assert len(answer.body.get("validation_status", [])) == at_once
    meta.wait(200)
    status = await meta.status(catalog, answer["handles"][0])
    assert (status["errors_total_count"], len(status["ids_of_invalid_requests"])) == (later, later)
    assert (await meta.truth(catalog))["B"]["values"]["price"] == "1.00 EUR"


@claims("switch.validation_status")
async def test_validation_status_may_be_absent(make: Any) -> None:
    meta, catalog = await made(make, validation_status="absent")
    answer = await meta.batch(catalog, [update("A", price="9.99 EUR", colour="red")])
    assert set(answer.body) == {"handles"}


@claims("switch.partially_named_errors", "switch.listed_batch_errors", "batch.status")
@pytest.mark.parametrize(("setting", "listed"), [("true", 5), ("false", 30)])
async def test_lists_of_errors_may_stop_before_their_totals(make: Any, setting: str, listed: int) -> None:
    meta, catalog = await made(make, partially_named_errors=setting, listed_batch_errors=5)
    requests = [update(f"X{n}", price="1.00 EUR") for n in range(30)]
    handle = (await meta.batch(catalog, requests, allow_upsert=False))["handles"][0]
    meta.wait(200)
    status = await meta.status(catalog, handle)
    assert status["errors_total_count"] == 30
    assert len(status["errors"]) == listed
    assert len(status["ids_of_invalid_requests"]) == listed


@claims("batch.status")
async def test_priorities_and_ids_only_on_demand(filled: tuple[Meta, str]) -> None:
    meta, catalog = filled
    requests = [update("X", price="1.00 EUR"), update("A", gender="other")]
    handle = (await meta.batch(catalog, requests, allow_upsert=False))["handles"][0]
    meta.wait(200)
    high = await meta.status(catalog, handle, error_priority="HIGH")
    assert (high["errors_total_count"], high["warnings_total_count"]) == (1, 0)
    low = await meta.status(catalog, handle, error_priority="LOW")
    assert (low["errors_total_count"], low["warnings_total_count"]) == (0, 1)
    silent = await meta.get(f"/{catalog}/check_batch_request_status", handle=handle)
    assert silent.rows[0]["ids_of_invalid_requests"] == []


@claims("batch.limits")
async def test_more_than_five_thousand_requests_are_refused(filled: tuple[Meta, str]) -> None:
    meta, catalog = filled
    answer = await meta.batch(catalog, [update(f"{n}", price="1.00 EUR") for n in range(5_001)])
    assert answer.code == 100


@claims("batch.limits")
async def test_a_payload_that_is_too_large_is_a_500_with_code_1(filled: tuple[Meta, str]) -> None:
    meta, catalog = filled
    answer = await meta.batch(catalog, [update("A", rich_text_description="x" * (28 * 1024 * 1024))])
    assert (answer.status, answer.code) == (500, 1)
    assert answer.message.startswith("Please reduce the amount of data")


@pytest.mark.parametrize(
    "requests",
    [
        [{"method": "PATCH", "data": {"id": "A"}}],
        [{"data": {"id": "A"}}],
        [{"method": "UPDATE"}],
        ["A"],
        {"method": "UPDATE"},
        "not json",
    ],
)
async def test_malformed_requests_are_refused(filled: tuple[Meta, str], requests: Any) -> None:
    meta, catalog = filled
    answer = await meta.call(
        "POST", f"/{catalog}/items_batch", json={"item_type": "PRODUCT_ITEM", "requests": requests}
    )
    assert answer.code == 100


async def test_the_item_type_is_required_and_must_fit(filled: tuple[Meta, str]) -> None:
    meta, catalog = filled
    missing = await meta.call("POST", f"/{catalog}/items_batch", json={"requests": []})
    assert missing.message == "(#100) The parameter item_type is required"
    hotel = await meta.post(f"/{meta.business}/owned_product_catalogs", name="H", vertical="hotels")
    assert (await meta.batch(hotel["id"], [create("A")])).code == 100
    later = await meta.call("POST", f"/{catalog}/items_batch", json={"item_type": "VEHICLE", "requests": []})
    assert later.status == 501


async def test_requests_may_come_as_a_form(filled: tuple[Meta, str]) -> None:
    meta, catalog = filled
    data = {"item_type": "PRODUCT_ITEM", "requests": json.dumps([update("A", price="9.99 EUR")])}
    answer = await meta.call("POST", f"/{catalog}/items_batch", data=data)
    assert len(answer["handles"]) == 1


@claims("switch.handles_expire_after_seconds")
async def test_a_handle_is_forgotten_some_time_after_it_finished(make: Any) -> None:
    meta, catalog = await made(make, handles_expire_after_seconds=600)
    handle = (await meta.batch(catalog, [update("A", price="9.99 EUR")]))["handles"][0]
    meta.wait(500)
    assert (await meta.status(catalog, handle))["status"] == "finished"
    meta.wait(600)
    assert (await meta.get(f"/{catalog}/check_batch_request_status", handle=handle)).code == 100


async def test_a_handle_belongs_to_its_catalog(filled: tuple[Meta, str]) -> None:
    meta, catalog = filled
    handle = (await meta.batch(catalog, [update("A", price="9.99 EUR")]))["handles"][0]
    other = await meta.catalog("Other")
    assert (await meta.get(f"/{other}/check_batch_request_status", handle=handle)).code == 100
    assert (await meta.get(f"/{catalog}/check_batch_request_status", handle="Acnone")).code == 100


@claims("effects.scattered")
async def test_rows_take_effect_one_by_one_while_the_batch_runs(make: Any) -> None:
    meta: Meta = await make(switches={"batch_seconds_min": 100, "batch_seconds_max": 100})
    catalog, feed = await meta.catalog_and_feed()
    await meta.upload(feed, [item(f"{n}") for n in range(60)])
    await meta.batch(catalog, [update(f"{n}", price="1.00 EUR") for n in range(60)])
    meta.wait(60)
    await meta.get("/me")
    changed = [rid for rid, row in (await meta.truth(catalog)).items() if row["values"]["price"] == "1.00 EUR"]
    assert 0 < len(changed) < 60


@claims("switch.effects_after_finished_seconds")
async def test_some_rows_take_effect_after_the_batch_finished(make: Any) -> None:
    meta: Meta = await make(
        switches={"effects_after_finished_seconds": 8, "batch_seconds_min": 100, "batch_seconds_max": 100}
    )
    catalog, feed = await meta.catalog_and_feed()
    await meta.upload(feed, [item(f"{n}") for n in range(60)])
    handle = (await meta.batch(catalog, [update(f"{n}", price="1.00 EUR") for n in range(60)]))["handles"][0]
    meta.wait(100)
    assert (await meta.status(catalog, handle))["status"] == "finished"
    early = [rid for rid, row in (await meta.truth(catalog)).items() if row["values"]["price"] == "1.00 EUR"]
    assert 0 < len(early) < 60
    meta.wait(8)
    await meta.get("/me")
    late = [rid for rid, row in (await meta.truth(catalog)).items() if row["values"]["price"] == "1.00 EUR"]
    assert len(late) == 60
