"""Upload sessions: what a file does to items, and what is said about it."""

import gzip
from typing import Any

import pytest

from hack.emulator.fetching import Fetched
from hack.emulator.sections.catalog.item_fields import FIELDS_MAX_LINE_BYTES
from tests.contract.emulator.claims import claims
from tests.contract.emulator.driver import Meta, create, feed_file, item


@claims("upload.create", "upload.session", "upload.list")
async def test_a_session_runs_and_ends(meta: Meta) -> None:
    _, feed = await meta.catalog_and_feed()
    upload = await meta.upload(feed, [item("A"), item("B")], wait=False)
    running = await meta.session(upload)
    assert "end_time" not in running
    assert running["start_time"] == "2027-01-15T08:00:00+0000"
    assert running["input_method"] == "Manual Upload"
    meta.wait(30)
    done = await meta.session(upload)
    assert done["end_time"] > done["start_time"]
    counts = [done[f"num_{name}_items"] for name in ("detected", "persisted", "invalid", "deleted")]
    assert counts == [2, 2, 0, 0]
    listed = await meta.get(f"/{feed}/uploads", fields="id,end_time")
    assert listed.rows == [{"id": upload, "end_time": done["end_time"]}]


async def test_a_file_or_a_url_is_needed(meta: Meta) -> None:
    _, feed = await meta.catalog_and_feed()
    assert (await meta.post(f"/{feed}/uploads", update_only="true")).code == 10801


@claims("effects.replace_deletes_missing")
async def test_a_replace_upload_deletes_what_the_file_lacks(meta: Meta) -> None:
    catalog, feed = await meta.catalog_and_feed()
    await meta.upload(feed, [item("A"), item("B"), item("C")])
    upload = await meta.upload(feed, [item("A", title="New"), item("D")])
    assert set(await meta.truth(catalog)) == {"A", "D"}
    assert (await meta.truth(catalog))["A"]["values"]["title"] == "New"
    assert (await meta.session(upload))["num_deleted_items"] == 2


@claims("effects.replace_deletes_missing", "feed.deletion_enabled")
async def test_without_deletion_a_replace_upload_only_adds(meta: Meta) -> None:
    catalog, feed = await meta.catalog_and_feed(deletion_enabled="false")
    await meta.upload(feed, [item("A"), item("B")])
    upload = await meta.upload(feed, [item("C")])
    assert set(await meta.truth(catalog)) == {"A", "B", "C"}
    assert (await meta.session(upload))["num_deleted_items"] == 0


@claims("effects.replace_deletes_missing", "effects.owner")
async def test_a_replace_upload_deletes_nothing_of_others(meta: Meta) -> None:
    catalog, feed = await meta.catalog_and_feed()
    other = await meta.feed(catalog, "Other")
    await meta.upload(other, [item("O")])
    await meta.batch(catalog, [create("Batch")])
    meta.wait(200)
    await meta.upload(feed, [item("A")])
    await meta.upload(feed, [item("B")])
    truth = await meta.truth(catalog)
    assert {rid: row["feed"] for rid, row in truth.items()} == {"B": feed, "O": other, "Batch": None}


@claims("effects.update_keeps_missing")
async def test_an_update_upload_touches_only_its_rows_and_columns(meta: Meta) -> None:
    catalog, feed = await meta.catalog_and_feed()
    await meta.upload(feed, [item("A", sale_price="9.00 EUR"), item("B")])
    rows = [{"id": "A", "price": "11.00 EUR", "sale_price": ""}]
    upload = await meta.upload(feed, rows, update_only=True)
    truth = await meta.truth(catalog)
    assert set(truth) == {"A", "B"}
    assert truth["A"]["values"]["price"] == "11.00 EUR"
    assert "sale_price" not in truth["A"]["values"], "an empty cell clears"
    assert truth["A"]["values"]["title"] == "Title of A"
    assert (await meta.session(upload))["num_deleted_items"] == 0


@claims("effects.update_keeps_missing", "item.required")
async def test_an_update_upload_creates_whole_rows_and_refuses_partial_ones(meta: Meta) -> None:
    catalog, feed = await meta.catalog_and_feed()
    whole = await meta.upload(feed, [item("A")], update_only=True)
    assert (await meta.session(whole))["num_persisted_items"] == 1
    partial = await meta.upload(feed, [{"id": "B", "price": "1.00 EUR"}], update_only=True)
    assert (await meta.session(partial))["num_invalid_items"] == 1
    assert set(await meta.truth(catalog)) == {"A"}


@claims("effects.update_keeps_missing")
async def test_a_delete_column_deletes_in_an_update_upload(meta: Meta) -> None:
    catalog, feed = await meta.catalog_and_feed()
    await meta.upload(feed, [item("A"), item("B")])
    rows = [{"id": "A", "price": "2.00 EUR", "delete": ""}, {"id": "B", "price": "", "delete": "true"}]
    await meta.upload(feed, rows, update_only=True)
    assert set(await meta.truth(catalog)) == {"A"}


@claims("upload.errors", "upload.error_samples", "item.required", "switch.upload_error_samples")
async def test_errors_are_kinds_with_counts_and_samples(make: Any) -> None:
    meta: Meta = await make(switches={"upload_error_samples": 3})
    _, feed = await meta.catalog_and_feed()
    rows = [item("OK")] + [item(f"P{n}", price="cheap") for n in range(5)]
    rows += [item("S", sale_price="99.00 EUR"), item("U", link="shop.example")]
    upload = await meta.upload(feed, rows)
    done = await meta.session(upload)
    assert (done["num_detected_items"], done["num_persisted_items"], done["num_invalid_items"]) == (8, 2, 6)
    assert (done["error_count"], done["warning_count"]) == (6, 1)
    found = {error["error_type"]: error for error in await meta.errors(upload)}
    price = found["PROPERTY_VALUE_FORMAT"]
    assert (price["severity"], price["total_count"], price["row_number"]) == ("fatal", 5, 3)
    assert [sample["retailer_id"] for sample in price["samples"]["data"]] == ["P0", "P1", "P2"]
    assert found["INVALID_URL"]["description"].startswith("The provided URL is formatted incorrectly.")
    assert found["INVALID_SALE_PRICE"]["severity"] == "warning"
    high = await meta.errors(upload, error_priority="HIGH")
    assert {error["severity"] for error in high} == {"fatal"}
    for priority in ("MEDIUM", "LOW"):
        assert {error["severity"] for error in await meta.errors(upload, error_priority=priority)} == {"warning"}


@claims("upload.error_report", "upload.error_report_file", "switch.error_report_seconds")
async def test_the_report_names_every_row(make: Any) -> None:
    meta: Meta = await make(switches={"error_report_seconds": 5})
    _, feed = await meta.catalog_and_feed()
    rows = [item(f"P{n:03d}", price="cheap") for n in range(50)]
    upload = await meta.upload(feed, rows, wait=False)
    assert (await meta.post(f"/{upload}/error_report")).code == 100, "not while it runs"
    meta.wait(30)
    assert (await meta.get(f"/{upload}", fields="error_report"))["error_report"] == {"report_status": "NOT_REQUESTED"}
    assert (await meta.post(f"/{upload}/error_report")).body == {"success": True}
    assert (await meta.get(f"/{upload}", fields="error_report"))["error_report"] == {"report_status": "REQUESTED"}
    meta.wait(6)
    report = (await meta.get(f"/{upload}", fields="error_report"))["error_report"]
    assert report["report_status"] == "WRITE_FINISHED"
    text = (await meta.client.get(report["file_handle"])).text
    assert text.splitlines()[0].startswith("retailer_id,message,severity")
    assert sum(line.startswith("P") for line in text.splitlines()) == 50


@claims("file.formats")
@pytest.mark.parametrize("delimiter", [",", "\t", "|", ";", "~"])
async def test_delimiters_quotes_and_line_breaks(meta: Meta, delimiter: str) -> None:
    catalog, feed = await meta.catalog_and_feed()
    text = 'Says "hi", and;more|of~it\nin two lines'
    content = feed_file([item("A", description=text), item("007", title="Größe 42 日本")], delimiter=delimiter)
    upload = await meta.upload(feed, content)
    assert (await meta.session(upload))["num_persisted_items"] == 2
    truth = await meta.truth(catalog)
    assert truth["A"]["values"]["description"] == text
    assert truth["007"]["values"]["title"] == "Größe 42 日本"


@claims("file.formats")
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
async def test_encodings_are_detected(meta: Meta, encoding: str) -> None:
    catalog, feed = await meta.catalog_and_feed()
    await meta.upload(feed, feed_file([item("A", title="Größe")]).decode().encode(encoding))
    assert (await meta.truth(catalog))["A"]["values"]["title"] == "Größe"


@claims("switch.gzip_members", "file.formats")
@pytest.mark.parametrize(("setting", "expected"), [("first", {"A"}), ("all", {"A", "B"})])
async def test_how_many_gzip_members_are_read(make: Any, setting: str, expected: set[str]) -> None:
    meta: Meta = await make(switches={"gzip_members": setting})
    catalog, feed = await meta.catalog_and_feed()
    whole = feed_file([item("A"), item("B")])
    cut = whole.index(b"\nB,") + 1
    upload = await meta.upload(feed, gzip.compress(whole[:cut]) + gzip.compress(whole[cut:]))
    assert set(await meta.truth(catalog)) == expected
    assert (await meta.session(upload))["num_detected_items"] == len(expected)


@claims("file.refused", "upload.unusable_file")
@pytest.mark.parametrize(
    ("content", "summary"),
    [
        (b"", "empty"),
        (b"id,title\n", "empty"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"sku,title\nA,B\n", "missing: id"),
        (b"id,title,title\nA,B,C\n", "twice"),
        (gzip.compress(b"id,title\nA,B\n", mtime=0)[:-9], "unpack"),
    ],
)
async def test_an_unusable_file_changes_nothing(meta: Meta, content: bytes, summary: str) -> None:
    catalog, feed = await meta.catalog_and_feed()
    await meta.upload(feed, [item("A"), item("B")])
    upload = await meta.upload(feed, content)
    done = await meta.session(upload)
    assert (done["error_count"], done["num_persisted_items"], done["num_deleted_items"]) == (1, 0, 0)
    assert summary in (await meta.errors(upload, error_priority="HIGH"))[0]["summary"]
    assert set(await meta.truth(catalog)) == {"A", "B"}


@claims("file.line_too_long")
async def test_a_line_that_is_too_long_refuses_the_upload(meta: Meta) -> None:
    catalog, feed = await meta.catalog_and_feed()
    rows = [item("A"), item("B", rich_text_description="x" * (FIELDS_MAX_LINE_BYTES + 1))]
    upload = await meta.upload(feed, rows)
    assert "too long" in (await meta.errors(upload))[0]["summary"]
    assert await meta.truth(catalog) == {}


@claims("switch.duplicate_rows_in_replace")
@pytest.mark.parametrize(("setting", "expected"), [("deleted", {"B"}), ("kept", {"A", "B"})])
async def test_all_rows_of_an_id_that_stands_twice_are_ignored(make: Any, setting: str, expected: set[str]) -> None:
    meta: Meta = await make(switches={"duplicate_rows_in_replace": setting})
    catalog, feed = await meta.catalog_and_feed()
    await meta.upload(feed, [item("A", title="Old"), item("B")])
    rows = [item("A", title="New"), item("B"), item(" A ", title="Newer")]
    upload = await meta.upload(feed, rows)
    truth = await meta.truth(catalog)
    assert set(truth) == expected
    assert all(row["values"]["title"] != "New" for row in truth.values())
    assert (await meta.session(upload))["num_invalid_items"] == 2


@claims("switch.fatal_row_in_replace")
@pytest.mark.parametrize(("setting", "expected"), [("deleted", {"B"}), ("kept", {"A", "B"})])
async def test_an_item_whose_row_is_refused(make: Any, setting: str, expected: set[str]) -> None:
    meta: Meta = await make(switches={"fatal_row_in_replace": setting})
    catalog, feed = await meta.catalog_and_feed()
    await meta.upload(feed, [item("A"), item("B")])
    await meta.upload(feed, [item("A", price="cheap"), item("B")])
    assert set(await meta.truth(catalog)) == expected


@claims("switch.omitted_fields_in_replace")
@pytest.mark.parametrize(("setting", "kept"), [("keep_volatile", True), ("full", False)])
async def test_columns_that_a_replace_file_lacks(make: Any, setting: str, kept: bool) -> None:
    meta: Meta = await make(switches={"omitted_fields_in_replace": setting})
    catalog, feed = await meta.catalog_and_feed()
    await meta.upload(feed, [item("A", sale_price="9.00 EUR", color="red")])
    await meta.upload(feed, [item("A")])
    values = (await meta.truth(catalog))["A"]["values"]
    assert ("sale_price" in values) is kept
    assert "color" not in values


@claims("switch.foreign_owner", "effects.owner")
@pytest.mark.parametrize("setting", ["refuse", "adopt"])
async def test_an_id_that_another_feed_owns(make: Any, setting: str) -> None:
    meta: Meta = await make(switches={"foreign_owner": setting})
    catalog, first = await meta.catalog_and_feed()
    second = await meta.feed(catalog, "Second")
    await meta.upload(first, [item("A")])
    upload = await meta.upload(second, [item("A", title="Taken"), item("B")])
    row = (await meta.truth(catalog))["A"]
    assert row["feed"] == (second if setting == "adopt" else first)
    assert (row["values"]["title"] == "Taken") is (setting == "adopt")
    assert (await meta.session(upload))["num_invalid_items"] == (0 if setting == "adopt" else 1)


@claims("effects.owner")
async def test_a_feed_that_migrates_takes_items_over_with_its_first_upload(meta: Meta) -> None:
    catalog, first = await meta.catalog_and_feed()
    await meta.upload(first, [item("A"), item("B")])
    second = await meta.feed(catalog, "Second", migrated_from_feed_id=first)
    await meta.upload(second, [item("B")])
    assert {rid: row["feed"] for rid, row in (await meta.truth(catalog)).items()} == {"A": first, "B": second}
    again = await meta.upload(second, [item("A"), item("B")])
    assert (await meta.session(again))["num_invalid_items"] == 1, "only the first completed upload takes over"


@claims("effects.owner")
async def test_a_feed_takes_over_what_a_batch_created(meta: Meta) -> None:
    catalog, feed = await meta.catalog_and_feed()
    await meta.batch(catalog, [create("A")])
    meta.wait(200)
    await meta.upload(feed, [item("A")])
    assert (await meta.truth(catalog))["A"]["feed"] == feed


@claims("item.price")
async def test_a_price_without_currency_takes_the_one_of_the_feed(meta: Meta) -> None:
    catalog, feed = await meta.catalog_and_feed(default_currency="GBP")
    await meta.upload(feed, [item("A", price="34.00")])
    assert (await meta.truth(catalog))["A"]["values"]["price"] == "34.00 GBP"


@claims("item.lengths", "item.format", "item.sale_price")
@pytest.mark.parametrize(
    ("change", "persisted", "severity"),
    [
        ({"title": "x" * 200}, 1, "warning"),
        ({"title": "x" * 201}, 0, "fatal"),
        ({"description": "x" * 5_001}, 1, "warning"),
        ({"description": "x" * 10_000}, 0, "fatal"),
        ({"availability": "maybe"}, 0, "fatal"),
        ({"condition": ""}, 0, "fatal"),
        ({"gender": "other"}, 1, "warning"),
        ({"price": "$12.50"}, 0, "fatal"),
        ({"price": "12,50 EUR"}, 0, "fatal"),
        ({"sale_price": "12.50 EUR"}, 1, "warning"),
        ({"link": "https://user:secret@shop.example/"}, 0, "fatal"),
        ({"image_link": ""}, 0, "fatal"),
        ({"brand": ""}, 0, "fatal"),
        ({"id": "x" * 101}, 0, "fatal"),
    ],
)
async def test_what_a_row_may_hold(meta: Meta, change: dict[str, str], persisted: int, severity: str) -> None:
    _, feed = await meta.catalog_and_feed()
    upload = await meta.upload(feed, [item("A", **{"brand": "ACME", **change})])
    assert (await meta.session(upload))["num_persisted_items"] == persisted
    assert severity in {error["severity"] for error in await meta.errors(upload)}


async def test_an_unknown_column_is_warned_about_and_ignored(meta: Meta) -> None:
    catalog, feed = await meta.catalog_and_feed()
    upload = await meta.upload(feed, [item("A", colour="red")])
    assert "colour" in (await meta.errors(upload))[0]["description"]
    assert "colour" not in (await meta.truth(catalog))["A"]["values"]


async def test_a_row_with_too_many_columns_is_refused(meta: Meta) -> None:
    _, feed = await meta.catalog_and_feed()
    upload = await meta.upload(feed, feed_file([item("A")]) + feed_file([item("B")]).split(b"\n")[1] + b",more\n")
    done = await meta.session(upload)
    assert (done["num_detected_items"], done["num_persisted_items"], done["num_invalid_items"]) == (2, 1, 1)


@claims("switch.warn_missing_recommended")
async def test_a_missing_recommended_field_is_warned_about(make: Any) -> None:
    meta: Meta = await make(switches={"warn_missing_recommended": "true"})
    _, feed = await meta.catalog_and_feed()
    rows = [item("A"), item("B", google_product_category="1604")]
    upload = await meta.upload(feed, rows)
    errors = await meta.errors(upload)
    assert [(error["severity"], error["total_count"]) for error in errors] == [("warning", 1)]
    assert "google_product_category" in errors[0]["description"]


@claims("switch.filename_echoed")
@pytest.mark.parametrize(("setting", "expected"), [("false", None), ("true", "feed.csv")])
async def test_the_file_name_may_be_shown(make: Any, setting: str, expected: str | None) -> None:
    meta: Meta = await make(switches={"filename_echoed": setting})
    _, feed = await meta.catalog_and_feed()
    upload = await meta.upload(feed, [item("A")])
    assert (await meta.session(upload)).get("filename") == expected


@claims("switch.upload_order", "upload.list")
@pytest.mark.parametrize("setting", ["oldest_first", "newest_first"])
async def test_the_order_of_sessions(make: Any, setting: str) -> None:
    meta: Meta = await make(switches={"upload_order": setting})
    _, feed = await meta.catalog_and_feed()
    uploads = [await meta.upload(feed, [item("A")]) for _ in range(3)]
    listed = [row["id"] for row in (await meta.get(f"/{feed}/uploads")).rows]
    assert listed == (uploads if setting == "oldest_first" else uploads[::-1])


@claims("switch.upload_base_seconds", "switch.upload_rows_per_second", "switch.upload_delay_seconds")
async def test_how_long_an_upload_takes(make: Any) -> None:
    meta: Meta = await make(
        switches={"upload_base_seconds": 10, "upload_rows_per_second": 2, "upload_delay_seconds": 0}
    )
    _, feed = await meta.catalog_and_feed()
    upload = await meta.upload(feed, [item(f"{n}") for n in range(20)], wait=False)
    meta.wait(19)
    assert "end_time" not in await meta.session(upload)
    meta.wait(2)
    assert "end_time" in await meta.session(upload)


@claims("upload.fetch")
async def test_a_file_is_fetched_later_with_its_login(make: Any) -> None:
    asked: list[tuple[str, str, str]] = []

    async def fetcher(url: str, username: str, password: str) -> Fetched:
        asked.append((url, username, password))
        return Fetched(200, feed_file([item("A")]))

    meta: Meta = await make(fetcher=fetcher, switches={"upload_delay_seconds": 3})
    catalog, feed = await meta.catalog_and_feed()
    made = await meta.post(f"/{feed}/uploads", url="http://shop.example/f.csv", username="u", password="p")
    assert "end_time" not in await meta.session(made["id"])
    meta.wait(4)
    await meta.session(made["id"])
    meta.wait(30)
    done = await meta.session(made["id"])
    assert asked == [("http://shop.example/f.csv", "u", "p")]
    assert done["num_persisted_items"] == 1
    assert done["input_method"] == "User initiated server fetch"
    assert set(await meta.truth(catalog)) == {"A"}


@claims("upload.fetch")
async def test_who_serves_the_file_may_call_the_emulator_meanwhile(make: Any) -> None:
    made: list[Meta] = []

    async def fetcher(_url: str, _username: str, _password: str) -> Fetched:
        await made[0].control("POST", "/witness", {"removals": [{"item": "X"}]})
        return Fetched(200, feed_file([item("A")]))

    made.append(await make(fetcher=fetcher))
    catalog, feed = await made[0].catalog_and_feed()
    await made[0].post(f"/{feed}/uploads", url="http://shop.example/f.csv")
    made[0].wait(10)
    await made[0].get("/me")
    made[0].wait(30)
    await made[0].get("/me")
    assert set(await made[0].truth(catalog)) == {"A"}


@claims("upload.fetch", "upload.unusable_file")
@pytest.mark.parametrize("status", [0, 404, 500])
async def test_a_failed_fetch_deletes_nothing(make: Any, status: int) -> None:
    async def fetcher(_url: str, _username: str, _password: str) -> Fetched:
        return Fetched(status, b"")

    meta: Meta = await make(fetcher=fetcher)
    catalog, feed = await meta.catalog_and_feed()
    await meta.upload(feed, [item("A")])
    made = await meta.post(f"/{feed}/uploads", url="http://shop.example/f.csv")
    meta.wait(10)
    await meta.session(made["id"])
    meta.wait(10)
    done = await meta.session(made["id"])
    assert "end_time" in done
    assert "download" in (await meta.errors(made["id"]))[0]["summary"]
    assert set(await meta.truth(catalog)) == {"A"}
