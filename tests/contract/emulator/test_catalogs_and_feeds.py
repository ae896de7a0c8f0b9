"""Catalogs and feeds: create, list, read, update, delete."""

from typing import Any

import pytest

from tests.contract.emulator.claims import claims
from tests.contract.emulator.driver import Meta, item


@claims("catalog.create", "catalog.paths")
@pytest.mark.parametrize("edge", ["owned_product_catalogs", "product_catalogs"])
async def test_both_paths_create_and_list(meta: Meta, edge: str) -> None:
    made = await meta.post(f"/{meta.business}/{edge}", name="Shoes", vertical="commerce")
    assert set(made.body) == {"id"}
    assert made["id"].isdigit()
    listed = await meta.get(f"/{meta.business}/{edge}", fields="id,name,vertical")
    assert listed.rows == [{"id": made["id"], "name": "Shoes", "vertical": "commerce"}]


async def test_a_name_is_required_and_a_vertical_must_exist(meta: Meta) -> None:
    path = f"/{meta.business}/owned_product_catalogs"
    missing = await meta.post(path, vertical="commerce")
    assert missing.message == "(#100) The parameter name is required"
    assert missing["error"]["error_data"] == {"blame_field_specs": [["name"]]}
    assert (await meta.post(path, name="A", vertical="groceries")).code == 100
    incomplete = await meta.call("POST", path, json={"name": "A", "da_display_settings": {"carousel_ad": {}}})
    assert incomplete.code == 100


@claims("catalog.update")
async def test_a_catalog_is_renamed_and_its_vertical_stays(meta: Meta) -> None:
    catalog = await meta.catalog()
    assert (await meta.post(f"/{catalog}", name="Boots")).body == {"success": True}
    assert (await meta.get(f"/{catalog}"))["name"] == "Boots"
    assert (await meta.post(f"/{catalog}", vertical="hotels")).code == 100


@claims("catalog.delete")
async def test_a_deleted_catalog_takes_everything_along(meta: Meta) -> None:
    catalog, feed = await meta.catalog_and_feed()
    await meta.upload(feed, [item("A"), item("B")])
    assert (await meta.call("DELETE", f"/{catalog}")).body == {"success": True}
    for gone in (catalog, feed):
        answer = await meta.get(f"/{gone}")
        assert (answer.code, answer["error"]["error_subcode"]) == (100, 33)
    stats = await meta.control("GET", "/stats")
    assert stats["catalogs"] == {}


@claims("switch.duplicate_catalog_name")
async def test_a_second_catalog_of_one_name(make: Any) -> None:
    allowed: Meta = await make()
    assert await allowed.catalog("Twice") != await allowed.catalog("Twice")
    refused: Meta = await make(switches={"duplicate_catalog_name": "refused"})
    await refused.catalog("Twice")
    answer = await refused.post(f"/{refused.business}/owned_product_catalogs", name="Twice")
    assert answer.code == 804


@claims("switch.onsite_checkout")
async def test_a_shop_may_be_attached(make: Any) -> None:
    fields = "commerce_merchant_settings.fields(id,cta)"
    without: Meta = await make()
    assert "commerce_merchant_settings" not in (await without.get(f"/{await without.catalog()}", fields=fields)).body
    attached: Meta = await make(switches={"onsite_checkout": "present"})
    found = (await attached.get(f"/{await attached.catalog()}", fields=fields)).body
    assert found["commerce_merchant_settings"]["cta"] == "ONSITE_CHECKOUT"


@claims("switch.listing_lag_seconds")
async def test_a_new_object_is_read_at_once_and_listed_later(make: Any) -> None:
    meta: Meta = await make(switches={"listing_lag_seconds": 40})
    catalogs = [await meta.catalog(f"C{n}") for n in range(8)]
    for catalog in catalogs:
        assert (await meta.get(f"/{catalog}")).status == 200
    listed = await meta.get(f"/{meta.business}/owned_product_catalogs")
    assert len(listed.rows) < 8
    meta.wait(40)
    listed = await meta.get(f"/{meta.business}/owned_product_catalogs")
    assert len(listed.rows) == 8


@claims("feed.create", "feed.read")
async def test_a_feed_has_the_documented_defaults(meta: Meta) -> None:
    catalog, feed = await meta.catalog_and_feed()
    fields = "name,country,default_currency,deletion_enabled,delimiter,encoding,product_count,ingestion_source_type"
    assert (await meta.get(f"/{feed}", fields=fields)).body == {
        "id": feed,
        "name": "Feed",
        "country": "US",
        "default_currency": "USD",
        "deletion_enabled": True,
        "delimiter": "AUTODETECT",
        "encoding": "AUTODETECT",
        "product_count": 0,
        "ingestion_source_type": "primary_feed",
    }
    assert (await meta.get(f"/{catalog}", fields="feed_count"))["feed_count"] == 1


@claims("feed.update", "feed.deletion_enabled")
async def test_deletion_can_be_enabled_and_never_disabled(meta: Meta) -> None:
    _, feed = await meta.catalog_and_feed(deletion_enabled="false")
    assert (await meta.get(f"/{feed}", fields="deletion_enabled"))["deletion_enabled"] is False
    assert (await meta.post(f"/{feed}", deletion_enabled="true", name="Renamed")).body == {"success": True}
    refused = await meta.post(f"/{feed}", deletion_enabled="false")
    assert refused.code == 100
    found = (await meta.get(f"/{feed}", fields="deletion_enabled,name")).body
    assert found == {"id": feed, "deletion_enabled": True, "name": "Renamed"}


@claims("feed.delete")
async def test_a_deleted_feed_takes_its_items_and_only_those(meta: Meta) -> None:
    catalog, feed = await meta.catalog_and_feed()
    other = await meta.feed(catalog, "Other")
    await meta.upload(feed, [item("A"), item("B")])
    await meta.upload(other, [item("C")])
    assert (await meta.call("DELETE", f"/{feed}")).body == {"success": True}
    assert set(await meta.truth(catalog)) == {"C"}
    assert [row["id"] for row in (await meta.get(f"/{catalog}/product_feeds")).rows] == [other]


@pytest.mark.parametrize(
    ("settings", "section"),
    [
        ({"schedule": '{"url": "https://a.example/f.csv", "interval": "DAILY"}'}, "Product Feed Schedule"),
        ({"override_type": "language", "override_value": "fr_XX"}, "Localized feeds"),
        ({"ingestion_source_type": "SUPPLEMENTARY_FEED"}, "Supplementary feeds"),
        ({"feed_type": "HOTEL"}, "Item types other than products"),
    ],
)
async def test_what_is_not_built_says_so(meta: Meta, settings: dict[str, str], section: str) -> None:
    catalog = await meta.catalog()
    answer = await meta.post(f"/{catalog}/product_feeds", name="F", **settings)
    assert answer.status == 501
    assert section in answer.message
