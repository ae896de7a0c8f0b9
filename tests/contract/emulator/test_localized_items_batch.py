"""localized_items_batch: values per language and country, what becomes of them, and how they are read."""

import json
from typing import Any

import pytest

from tests.contract.emulator.claims import claims
from tests.contract.emulator.driver import Meta, delete, item, localized, update


async def made(make: Any, **options: Any) -> tuple[Meta, str]:
    meta: Meta = await make(**options)
    catalog, feed = await meta.catalog_and_feed()
    await meta.upload(feed, [item("A"), item("B")])
    return meta, catalog


@pytest.fixture
async def filled(make: Any) -> tuple[Meta, str]:
    return await made(make)


async def overrides(meta: Meta, catalog: str, rid: str = "A") -> dict[str, dict[str, str]]:
    """What Meta really holds."""
    found: dict[str, dict[str, str]] = (await meta.truth(catalog))[rid]["overrides"]
    return found


async def meta_id(meta: Meta, catalog: str, rid: str = "A") -> str:
    return str((await meta.truth(catalog))[rid]["meta_id"])


async def sent(meta: Meta, catalog: str, *requests: dict[str, Any]) -> dict[str, Any]:
    """Send a batch, let it end, and read its status."""
    handle = (await meta.localized(catalog, requests))["handles"][0]
    meta.wait(200)
    return await meta.status(catalog, handle)


@claims("localized.create")
async def test_values_are_kept_per_item_and_localization(filled: tuple[Meta, str]) -> None:
    meta, catalog = filled
    requests = [
        localized("A", "fr_XX", title="Chemise", **{"image[0].url": "https://shop.example/fr.jpg"}),
        localized("B", "FR", price="9.99 EUR", availability="out of stock"),
    ]
    handle = (await meta.localized(catalog, requests))["handles"][0]
    assert handle.startswith("Ac")
    assert await overrides(meta, catalog) == {}, "nothing happens at once"
    assert (await meta.status(catalog, handle))["status"] == "scheduled"
    meta.wait(200)
    status = await meta.status(catalog, handle)
    assert (status["status"], status["errors_total_count"], status["warnings_total_count"]) == ("finished", 0, 0)
    await sent(meta, catalog, localized("A", "fr_XX|FR", title="Chemise bleue"))
    assert await overrides(meta, catalog) == {
        "fr_XX": {"title": "Chemise", "image[0].url": "https://shop.example/fr.jpg"},
        "fr_XX|FR": {"title": "Chemise bleue"},
    }
    assert await overrides(meta, catalog, "B") == {"FR": {"price": "9.99 EUR", "availability": "out of stock"}}
    truth = await meta.truth(catalog)
    assert truth["A"]["values"]["title"] == "Title of A", "the item itself stays as it is"
    assert truth["B"]["values"]["price"] == "12.50 EUR"


@claims("localized.create")
async def test_an_empty_value_ends_an_override(filled: tuple[Meta, str]) -> None:
    meta, catalog = filled
    await sent(meta, catalog, localized("A", "FR", price="9.99 EUR", title="Chemise"))
    status = await sent(meta, catalog, localized("A", "FR", price="", title=""))
    assert status["errors_total_count"] == 0
    assert await overrides(meta, catalog) == {}


@claims("localized.create")
async def test_delete_ends_one_localization(filled: tuple[Meta, str]) -> None:
    meta, catalog = filled
    await sent(meta, catalog, localized("A", "fr_XX", title="Chemise"))
    await sent(meta, catalog, localized("A", "de_XX", title="Hemd"))
    status = await sent(meta, catalog, localized("A", "fr_XX", "DELETE"))
    assert status["errors_total_count"] == 0
    assert await overrides(meta, catalog) == {"de_XX": {"title": "Hemd"}}
    assert "A" in await meta.truth(catalog)


@claims("localized.base_items")
@pytest.mark.parametrize("method", ["CREATE", "UPDATE", "DELETE"])
async def test_no_item_is_ever_created(filled: tuple[Meta, str], method: str) -> None:
    meta, catalog = filled
    whole = {name: value for name, value in item("X").items() if name not in ("id", "image_link")}
    answer = await meta.localized(catalog, [localized("X", "FR", method, **whole)], allow_upsert=True)
    meta.wait(200)
    status = await meta.status(catalog, answer["handles"][0])
    assert status["ids_of_invalid_requests"] == ["X"]
    assert "no item with the id X" in status["errors"][0]["message"]
    assert set(await meta.truth(catalog)) == {"A", "B"}


@claims("localized.fields", "switch.override_field_not_allowed")
@pytest.mark.parametrize(
    ("key", "name", "value"),
    [
        *((key, "price", "9.99 EUR") for key in ("fr_XX", "fr_XX|FR")),
        ("fr_XX", "sale_price", "9.99 EUR"),
        ("fr_XX", "availability", "out of stock"),
        ("fr_XX", "status", "archived"),
        ("FR", "image_link", "https://shop.example/fr.jpg"),
        ("fr_XX", "image_link", "https://shop.example/fr.jpg"),
    ],
)
async def test_fields_that_a_localization_may_not_carry(make: Any, key: str, name: str, value: str) -> None:
    meta, catalog = await made(make)
    answer = await meta.localized(catalog, [localized("A", key, title="Chemise", **{name: value})])
    assert answer["handles"] == []
    (said,) = answer["validation_status"]
    assert said["retailer_id"] == "A"
    assert f"'{name}' is not supported" in said["errors"][0]["message"]
    assert await overrides(meta, catalog) == {}
    lenient, catalog = await made(make, switches={"override_field_not_allowed": "dropped"})
    status = await sent(lenient, catalog, localized("A", key, title="Chemise", **{name: value}))
    assert f"'{name}' is not supported" in status["warnings"][0]["message"]
    assert await overrides(lenient, catalog) == {key: {"title": "Chemise"}}


@claims("localized.create", "batch.validation")
async def test_rows_are_checked_as_those_of_items(filled: tuple[Meta, str]) -> None:
    meta, catalog = filled
    requests = [
        localized("A", "FR", price="cheap"),
        localized("B", "FR", colour="red", title="Chemise", link="https://shop.example/fr"),
    ]
    answer = await meta.localized(catalog, requests)
    said = {one["retailer_id"]: one for one in answer["validation_status"]}
    assert "not a price" in said["A"]["errors"][0]["message"]
    assert "unrecognised field: 'colour'" in said["B"]["warnings"][0]["message"]
    meta.wait(200)
    await meta.status(catalog, answer["handles"][0])
    assert await overrides(meta, catalog) == {}
    assert await overrides(meta, catalog, "B") == {"FR": {"title": "Chemise", "link": "https://shop.example/fr"}}


@claims("localized.create")
async def test_a_sale_price_must_be_below_the_price_that_is_shown(filled: tuple[Meta, str]) -> None:
    meta, catalog = filled
    status = await sent(meta, catalog, localized("A", "FR", sale_price="12.50 EUR", title="Chemise"))
    assert "sale_price" in status["warnings"][0]["message"]
    assert await overrides(meta, catalog) == {"FR": {"title": "Chemise"}}
    status = await sent(meta, catalog, localized("A", "FR", price="15.00 EUR", sale_price="12.50 EUR"))
    assert status["warnings_total_count"] == 0
    assert (await overrides(meta, catalog))["FR"]["sale_price"] == "12.50 EUR"


@claims("localized.create")
@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"method": "UPDATE", "data": {"id": "A"}}, "requests[0][localization][type]"),
        (
            {"method": "UPDATE", "data": {"id": "A"}, "localization": {"type": "PLANET", "value": "FR"}},
            "requests[0][localization][type]",
        ),
        (
            {"method": "UPDATE", "data": {"id": "A"}, "localization": {"type": "COUNTRY"}},
            "requests[0][localization][value]",
        ),
        ({"method": "UPSERT", "data": {"id": "A"}}, "requests[0][method]"),
    ],
)
async def test_requests_of_a_wrong_shape(filled: tuple[Meta, str], request_: dict[str, Any], words: str) -> None:
    meta, catalog = filled
    answer = await meta.localized(catalog, [request_])
    assert (answer.status, answer.code) == (400, 100)
    assert words in answer.message


@claims("localized.create")
async def test_a_key_that_is_not_of_its_type(filled: tuple[Meta, str]) -> None:
    meta, catalog = filled
    for type_, value in (("LANGUAGE", "FR"), ("COUNTRY", "fr_XX"), ("LANGUAGE_AND_COUNTRY", "FR|fr_XX")):
        request = {"method": "UPDATE", "data": {"id": "A"}, "localization": {"type": type_, "value": value}}
        answer = await meta.localized(catalog, [request])
        assert answer["handles"] == []
        assert "Invalid localization" in answer["validation_status"][0]["errors"][0]["message"]


@claims("localized.create", "batch.limits")
async def test_limits_and_quota_are_those_of_items_batch(filled: tuple[Meta, str]) -> None:
    meta, catalog = filled
    many = [localized(f"X-{number}", "FR", title="x") for number in range(5_001)]
    answer = await meta.localized(catalog, many)
    assert (answer.status, answer.code) == (400, 100)
    assert (await meta.localized(catalog, many[:5_000])).status == 200
    large = await meta.localized(catalog, [localized("A", "FR", description="x" * 29_400_000)])
    assert (large.status, large.code) == (500, 1)
    codes = {(await meta.localized(catalog, [localized("A", "FR", title="x")])).status for _ in range(8)}
    assert codes == {200, 400}
    answer = await meta.localized(catalog, [localized("A", "FR", title="x")])
    assert answer.code == 80014
    assert (await meta.batch(catalog, [update("A", title="x")])).code == 80014, "one quota for both"


@claims("switch.localized_update")
@pytest.mark.parametrize("setting", ["merge", "replace"])
async def test_fields_that_a_later_update_leaves_out(make: Any, setting: str) -> None:
    meta, catalog = await made(make, switches={"localized_update": setting})
    await sent(meta, catalog, localized("A", "fr_XX", title="Chemise", brand="ACMÉ"))
    await sent(meta, catalog, localized("A", "fr_XX", title="Blouse"))
    kept = {"brand": "ACMÉ"} if setting == "merge" else {}
    assert await overrides(meta, catalog) == {"fr_XX": {"title": "Blouse", **kept}}


@claims("switch.delete_unknown_override")
@pytest.mark.parametrize(("setting", "count"), [("error", 1), ("ok", 0)])
async def test_delete_of_what_is_not_there(make: Any, setting: str, count: int) -> None:
    meta, catalog = await made(make, switches={"delete_unknown_override": setting})
    assert (await sent(meta, catalog, localized("A", "FR", "DELETE")))["errors_total_count"] == count


@claims("localized.deleted_items")
@pytest.mark.parametrize("keeps_id", ["true", "false"])
async def test_a_deleted_item_takes_its_values_along(make: Any, keeps_id: str) -> None:
    meta, catalog = await made(make, switches={"recreated_item_keeps_id": keeps_id})
    await sent(meta, catalog, localized("A", "FR", title="Chemise"))
    await meta.batch(catalog, [delete("A")])
    meta.wait(200)
    assert set(await meta.truth(catalog)) == {"B"}
    await meta.batch(catalog, [{"method": "CREATE", "data": item("A")}])
    meta.wait(200)
    assert await overrides(meta, catalog) == {}


@claims("localized.deleted_items")
async def test_other_ways_to_delete_an_item(filled: tuple[Meta, str]) -> None:
    meta, catalog = filled
    await sent(meta, catalog, localized("A", "FR", title="Chemise"), localized("B", "FR", title="Chemise"))
    await meta.control("POST", "/items", {"catalog": catalog, "id": "A", "delete": True})
    feed = str((await meta.truth(catalog))["B"]["feed"])
    await meta.call("DELETE", f"/{feed}")
    again = await meta.feed(catalog, "Again")
    await meta.upload(again, [item("A"), item("B")])
    assert (await overrides(meta, catalog), await overrides(meta, catalog, "B")) == ({}, {})


@claims("override.details", "switch.override_values_named")
@pytest.mark.parametrize("named", ["node", "feed"])
async def test_override_details(make: Any, named: str) -> None:
    meta, catalog = await made(make, switches={"override_values_named": named})
    await sent(meta, catalog, localized("A", "FR", price="9.99 EUR", title="Chemise", status="archived"))
    await sent(meta, catalog, localized("A", "fr_XX", title="Blouse", link="https://shop.example/fr"))
    path = f"/{await meta_id(meta, catalog)}/override_details"
    spoken = {
        "node": {"price": "€9.99", "currency": "EUR", "name": "Chemise", "visibility": "staging"},
        "feed": {"price": "9.99 EUR", "title": "Chemise", "status": "archived"},
    }
    country = {"key": "FR", "type": "COUNTRY", "values": spoken[named]}
    title, link = ("name", "url") if named == "node" else ("title", "link")
    language = {"key": "fr_XX", "type": "LANGUAGE", "values": {title: "Blouse", link: "https://shop.example/fr"}}
    assert (await meta.get(path)).rows == [country, language]
    assert (await meta.get(path, type="COUNTRY")).rows == [country]
    assert (await meta.get(path, keys=json.dumps(["fr_XX", "de_XX"]))).rows == [language]
    assert (await meta.get(path, type="COUNTRY", keys="fr_XX")).rows == []
    nested = await meta.get(f"/{catalog}/products", fields="retailer_id,override_details.type(COUNTRY){values}")
    by_id = {row["retailer_id"]: row["override_details"]["data"] for row in nested.rows}
    assert by_id == {"A": [{"values": spoken[named]}], "B": []}
    assert (await meta.get(path, type="PLANET")).code == 100


@claims("override.read", "override.precedence")
async def test_an_item_as_it_is_shown_somewhere(filled: tuple[Meta, str]) -> None:
    meta, catalog = filled
    await sent(meta, catalog, localized("A", "FR", price="9.99 EUR", title="Country", brand="Country"))
    await sent(meta, catalog, localized("A", "fr_XX", title="Language", brand="Language", color="Language"))
    await sent(meta, catalog, localized("A", "fr_XX|FR", title="Both"))
    path = f"/{await meta_id(meta, catalog)}"

    async def shown(**where: str) -> tuple[Any, ...]:
        answer = await meta.get(path, fields="name,brand,color,price", **where)
        return tuple(answer.body.get(name) for name in ("name", "brand", "color", "price"))

    assert await shown() == ("Title of A", "ACME", None, "€12.50")
    assert await shown(override_country="FR") == ("Country", "Country", None, "€9.99")
    assert await shown(override_language="fr_XX") == ("Language", "Language", "Language", "€12.50")
    assert await shown(override_language="fr_XX", override_country="FR") == ("Both", "Country", "Language", "€9.99")
    assert await shown(override_country="DE") == ("Title of A", "ACME", None, "€12.50")


@claims("switch.reads_lag_seconds")
async def test_reads_of_overrides_lag_too(make: Any) -> None:
    meta, catalog = await made(make, switches={"batch_seconds_min": 100, "batch_seconds_max": 100})
    await meta.control("POST", "/switches", {"reads_lag_seconds": 3_600})
    path = f"/{await meta_id(meta, catalog)}/override_details"
    await sent(meta, catalog, localized("A", "FR", title="First"))
    assert (await overrides(meta, catalog))["FR"] == {"title": "First"}
    assert (await meta.get(path)).rows == []
    meta.wait(3_600)
    assert (await meta.get(path)).rows[0]["values"] == {"name": "First"}


@claims("effects.scattered")
async def test_rows_of_two_batches_interleave_and_are_seen_as_an_overlap(make: Any) -> None:
    outcomes: set[str] = set()
    for seed in range(12):
        meta, catalog = await made(make, seed=seed)
        await meta.localized(catalog, [localized("A", "FR", title="First")])
        await meta.localized(catalog, [localized("A", "FR", title="Second")])
        meta.wait(200)
        outcomes.add((await overrides(meta, catalog))["FR"]["title"])
        assert (await meta.audit())["judged"]["I1"] == "violated"
    assert outcomes == {"First", "Second"}


@claims("effects.scattered", "switch.effects_after_finished_seconds")
async def test_effects_after_finished(make: Any) -> None:
    meta, catalog = await made(make)
    await meta.control("POST", "/switches", {"effects_after_finished_seconds": 3_600})
    feed = await meta.feed(catalog, "Many")
    ids = [f"N-{number}" for number in range(60)]
    await meta.upload(feed, [item(rid) for rid in ids])
    meta.wait(4_000)
    await sent(meta, catalog, *(localized(rid, "FR", title="x") for rid in ids))
    truth = await meta.truth(catalog)
    early = sum(bool(truth[rid]["overrides"]) for rid in ids)
    assert 20 < early < 60
    meta.wait(3_600)
    truth = await meta.truth(catalog)
    assert all(truth[rid]["overrides"] for rid in ids)


async def test_faults_of_batches_strike_localised_ones(filled: tuple[Meta, str]) -> None:
    meta, catalog = filled
    await meta.arm("lost_effects", path="localized_items_batch")
    status = await sent(meta, catalog, localized("A", "FR", title="x"))
    assert (status["status"], await overrides(meta, catalog)) == ("finished", {})
    await meta.arm("partial_batch", path="items_batch")
    assert (await sent(meta, catalog, localized("A", "FR", title="x")))["status"] == "error"
    await meta.arm("throttle", path="items_batch", minutes=5)
    assert (await meta.localized(catalog, [localized("A", "FR", title="x")])).code == 80014


class TestAudit:
    """Localised values count under their item's id."""

    @pytest.mark.parametrize("other", ["base", "locale", "feed"])
    async def test_they_meet_other_mutations_of_their_item(self, filled: tuple[Meta, str], other: str) -> None:
        meta, catalog = filled
        await meta.localized(catalog, [localized("A", "fr_XX", title="Chemise")])
        if other == "base":
            await meta.batch(catalog, [update("A", price="9.99 EUR")])
        elif other == "locale":
            await meta.localized(catalog, [localized("A", "DE", title="Hemd")])
        else:
            feed = str((await meta.truth(catalog))["A"]["feed"])
            await meta.upload(feed, [item("A"), item("B")])
        audit = await meta.audit()
        assert (audit["judged"]["I1"], audit["overlaps"]) == ("violated", 1)
        assert "localized" in {audit["violations"][0][side]["kind"] for side in ("first", "second")}

    async def test_other_items_and_other_times_are_free(self, filled: tuple[Meta, str]) -> None:
        meta, catalog = filled
        await meta.localized(catalog, [localized("A", "fr_XX", title="Chemise")])
        await meta.localized(catalog, [localized("B", "fr_XX", title="Chemise")])
        meta.wait(200)
        await meta.batch(catalog, [update("A", price="9.99 EUR")])
        assert (await meta.audit())["judged"]["I1"] == "clean"

    async def test_one_item_twice_in_a_call(self, filled: tuple[Meta, str]) -> None:
        meta, catalog = filled
        await meta.localized(catalog, [localized("A", "fr_XX", title="a"), localized("A", "FR", title="b")])
        assert (await meta.audit())["judged"]["I4"] == "violated"

    async def test_a_value_that_goes_back_in_one_country(self, filled: tuple[Meta, str]) -> None:
        meta, catalog = filled
        wish = [
            {"item": "A", "field": "price@FR", "value": f"{number}.00 EUR", "sequence": number} for number in (1, 2)
        ]
        await meta.control("POST", "/witness", {"records": wish})
        for price in ("1.00 EUR", "2.00 EUR"):
            await sent(meta, catalog, localized("A", "FR", price=price))
            await sent(meta, catalog, localized("A", "DE", price="1.00 EUR"))
        assert (await meta.audit())["judged"]["I7"] == "clean"
        await sent(meta, catalog, localized("A", "FR", price="1.00 EUR"))
        audit = await meta.audit()
        assert audit["judged"]["I7"] == "violated"
        assert [(one["item"], one["field"]) for one in audit["violations"]] == [("A", "price@FR")]

    async def test_a_country_without_stock_is_no_lost_item(self, filled: tuple[Meta, str]) -> None:
        meta, catalog = filled
        await meta.control("POST", "/witness", {"removals": [{"item": "nobody"}]})
        await sent(meta, catalog, localized("A", "FR", availability="out of stock"))
        assert (await meta.audit())["judged"]["I8"] == "clean"
