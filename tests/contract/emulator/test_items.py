"""Reading items: listings, filters, formats, and how late reads are."""

import json
from typing import Any

import pytest

from tests.contract.emulator.claims import claims
from tests.contract.emulator.driver import Meta, delete, item, update


@claims("item.list")
async def test_items_of_a_catalog_and_of_a_feed(meta: Meta) -> None:
    catalog, first = await meta.catalog_and_feed()
    second = await meta.feed(catalog, "Second")
    await meta.upload(first, [item("A"), item("B")])
    await meta.upload(second, [item("C")])
    whole = await meta.get(f"/{catalog}/products", summary="true")
    assert {row["retailer_id"] for row in whole.rows} == {"A", "B", "C"}
    assert whole["summary"] == {"total_count": 3}
    assert set(whole.rows[0]) == {"id", "name", "retailer_id"}
    part = await meta.get(f"/{second}/products")
    assert [row["retailer_id"] for row in part.rows] == ["C"]
    assert (await meta.get(f"/{first}", fields="product_count"))["product_count"] == 2


@claims("item.list")
@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"retailer_id": {"eq": "B"}}, {"B"}),
        ({"retailer_id": {"is_any": ["A", "C", "nobody"]}}, {"A", "C"}),
        ({"and": [{"retailer_id": {"eq": "A"}}]}, {"A"}),
        ({"retailer_id": {"eq": "b"}}, set()),
        ({}, {"A", "B", "C"}),
    ],
)
async def test_a_filter_by_retailer_id(meta: Meta, condition: dict[str, Any], expected: set[str]) -> None:
    catalog, feed = await meta.catalog_and_feed()
    await meta.upload(feed, [item("A"), item("B"), item("C")])
    for edge in (catalog, feed):
        answer = await meta.get(f"/{edge}/products", filter=json.dumps(condition))
        assert {row["retailer_id"] for row in answer.rows} == expected


async def test_other_filters_are_not_built(meta: Meta) -> None:
    catalog = await meta.catalog()
    for condition in ({"price_amount": {"gt": 5}}, {"retailer_id": {"contains": "A"}}):
        assert (await meta.get(f"/{catalog}/products", filter=json.dumps(condition))).status == 501


@claims("paging.cursors", "item.list")
async def test_a_listing_of_many_pages_names_each_item_once(make: Any) -> None:
    meta: Meta = await make(switches={"short_pages": "true"})
    catalog, feed = await meta.catalog_and_feed()
    await meta.upload(feed, [item(f"{n:03d}") for n in range(130)])
    seen: list[str] = []
    params: dict[str, str] = {"limit": "20", "fields": "retailer_id"}
    while True:
        page = await meta.get(f"/{catalog}/products", **params)
        seen += [row["retailer_id"] for row in page.rows]
        if "next" not in page["paging"]:
            break
        params["after"] = page["paging"]["cursors"]["after"]
    assert sorted(seen) == [f"{n:03d}" for n in range(130)]
    back = await meta.get(f"/{catalog}/products", limit="5", before=page["paging"]["cursors"]["before"])
    assert [row["retailer_id"] for row in back.rows] == seen[-len(page.rows) - len(back.rows) : -len(page.rows)]


@claims("item.read", "item.price_read")
@pytest.mark.parametrize(
    ("price", "formatted", "currency"),
    [
        ("34.00 GBP", "£34.00", "GBP"),
        ("1234.5 USD", "$1,234.50", "USD"),
        ("1200 JPY", "¥1,200", "JPY"),
        ("99.99 XAF", "XAF99.99", "XAF"),
    ],
)
async def test_prices_are_read_with_a_symbol(meta: Meta, price: str, formatted: str, currency: str) -> None:
    catalog, feed = await meta.catalog_and_feed()
    await meta.upload(feed, [item("A", price=price)])
    row = (await meta.get(f"/{catalog}/products", fields="id,price,currency")).rows[0]
    assert (row["price"], row["currency"]) == (formatted, currency)
    assert (await meta.get(f"/{row['id']}", fields="price"))["price"] == formatted


@claims("item.read")
async def test_an_item_is_read_under_the_names_of_nodes(meta: Meta) -> None:
    catalog, feed = await meta.catalog_and_feed()
    values = {
        "quantity_to_sell_on_facebook": "7",
        "sale_price": "9.00 EUR",
        "sale_price_effective_date": "2026-01-01T00:00+01:00/2026-02-01T00:00+01:00",
        "item_group_id": "G",
        "mpn": "M-1",
        "google_product_category": "1604",
        "additional_image_link": "https://a.example/1.jpg,https://a.example/2.jpg",
        "internal_label": '["Summer","SALE"]',
        "status": "archived",
    }
    await meta.upload(feed, [item("A", **values)])
    fields = (
        "name,url,image_url,availability,quantity_to_sell_on_facebook,sale_price,sale_price_start_date,"
        "sale_price_end_date,retailer_product_group_id,manufacturer_part_number,category,additional_image_urls,tags,"
        "visibility,product_group{retailer_id},review_status"
    )
    row = (await meta.get(f"/{catalog}/products", fields=fields)).rows[0]
    group = row.pop("product_group")
    assert group["retailer_id"] == "G"
    assert row.pop("id").isdigit()
    assert row == {
        "name": "Title of A",
        "url": "https://shop.example/1",
        "image_url": "https://shop.example/1.jpg",
        "availability": "in stock",
        "quantity_to_sell_on_facebook": 7,
        "sale_price": "€9.00",
        "sale_price_start_date": "2026-01-01T00:00+01:00",
        "sale_price_end_date": "2026-02-01T00:00+01:00",
        "retailer_product_group_id": "G",
        "manufacturer_part_number": "M-1",
        "category": "1604",
        "additional_image_urls": ["https://a.example/1.jpg", "https://a.example/2.jpg"],
        "tags": ["summer", "sale"],
        "visibility": "staging",
        "review_status": "pending",
    }


@claims("switch.recreated_item_keeps_id")
@pytest.mark.parametrize("setting", ["false", "true"])
async def test_the_id_of_an_item_that_comes_back(make: Any, setting: str) -> None:
    meta: Meta = await make(switches={"recreated_item_keeps_id": setting})
    catalog, feed = await meta.catalog_and_feed()
    await meta.upload(feed, [item("A"), item("B")])
    before = (await meta.truth(catalog))["A"]["meta_id"]
    await meta.upload(feed, [item("B")])
    await meta.upload(feed, [item("A"), item("B")])
    assert ((await meta.truth(catalog))["A"]["meta_id"] == before) is (setting == "true")


@claims("item.reads_lag", "switch.reads_lag_seconds")
async def test_reads_are_late_and_then_right(make: Any) -> None:
    meta: Meta = await make(switches={"reads_lag_seconds": 60, "upload_base_seconds": 1})
    catalog, feed = await meta.catalog_and_feed()
    rids = [f"{n:02d}" for n in range(40)]
    await meta.upload(feed, [item(rid) for rid in rids], wait=False)
    meta.wait(2)
    seen = await _listed(meta, catalog)
    assert len(await meta.truth(catalog)) == 40
    assert len(seen) < 40, "some creations are not seen yet"
    meta.wait(60)
    assert set(await _listed(meta, catalog)) == set(rids)

    await meta.upload(feed, [item(rid, price="1.00 EUR") for rid in rids[:20]], wait=False)
    meta.wait(2)
    seen = await _listed(meta, catalog)
    assert "€12.50" in {seen[rid] for rid in rids[:20] if rid in seen}, "some old values are still seen"
    assert set(rids[20:]) & set(seen), "some deleted items are still seen"
    meta.wait(61)
    seen = await _listed(meta, catalog)
    assert seen == dict.fromkeys(rids[:20], "€1.00")


async def _listed(meta: Meta, catalog: str) -> dict[str, str]:
    found: dict[str, str] = {}
    params = {"limit": "200", "fields": "retailer_id,price"}
    while True:
        page = await meta.get(f"/{catalog}/products", **params)
        for row in page.rows:
            assert row["retailer_id"] not in found, "an item is listed once"
            found[row["retailer_id"]] = row["price"]
        if "next" not in page.body.get("paging", {}):
            return found
        params["after"] = page["paging"]["cursors"]["after"]


@claims("item.reads_lag")
async def test_reads_of_one_item_are_never_older_than_the_switch_says(make: Any) -> None:
    meta: Meta = await make(switches={"reads_lag_seconds": 60})
    catalog, feed = await meta.catalog_and_feed()
    await meta.upload(feed, [item("A")])
    meta.wait(60)
    number = (await meta.truth(catalog))["A"]["meta_id"]
    for price in ("1.00 EUR", "2.00 EUR", "3.00 EUR"):
        await meta.batch(catalog, [update("A", price=price)])
        meta.wait(160)
        await meta.get("/me")
        meta.wait(60)
        found = await meta.get(f"/{number}", fields="price")
        assert found["price"] == f"€{price.split()[0]}"


async def test_a_deleted_item_does_not_exist(meta: Meta) -> None:
    catalog, feed = await meta.catalog_and_feed()
    await meta.upload(feed, [item("A"), item("B")])
    number = (await meta.truth(catalog))["A"]["meta_id"]
    await meta.batch(catalog, [delete("A")])
    meta.wait(200)
    assert (await meta.get(f"/{number}"))["error"]["error_subcode"] == 33
    assert [row["retailer_id"] for row in (await meta.get(f"/{catalog}/products")).rows] == ["B"]


async def test_direct_writes_and_diagnostics_are_not_built(meta: Meta) -> None:
    catalog, feed = await meta.catalog_and_feed()
    await meta.upload(feed, [item("A")])
    number = (await meta.truth(catalog))["A"]["meta_id"]
    assert (await meta.post(f"/{number}", price="1")).status in (400, 501)
    assert (await meta.post(f"/{catalog}/products")).status == 501
    assert (await meta.get(f"/{number}", fields="errors")).status == 501
    assert (await meta.get(f"/{catalog}/products", error_priority="HIGH")).status == 501
