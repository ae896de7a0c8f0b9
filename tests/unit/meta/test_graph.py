"""Every method of the Graph: what it asks, and how it reads the answer."""

import json
from datetime import UTC, datetime
from typing import ClassVar

import httpx
import pytest

from controller.faults import Disposition, Fault
from controller.meta import limits
from controller.ports.meta import (
    BatchAnswer,
    BatchStatus,
    Bucket,
    CatalogAtMeta,
    CatalogChange,
    DisplaySettings,
    ErrorReport,
    FeedAtMeta,
    Graph,
    ItemAtMeta,
    ItemPage,
    Problem,
    UploadAtMeta,
)
from tests.unit.meta.scripted import (
    APP_SECRET,
    ENDPOINT,
    TOKEN,
    RecordingGovernor,
    Script,
    answer,
    connect,
    credentials,
    envelope,
    make_body,
    page,
    raw,
)


def test_it_is_a_graph() -> None:
    graph: Graph = connect(Script())
    assert "connection" not in repr(graph)


class TestCatalogs:
    async def test_search_reads_all_pages_and_matches_exactly(self) -> None:
        script = Script(
            answer(page({"id": 1, "name": "Shop "}, {"id": "2", "name": "Shop", "vertical": "commerce"}, after="c1")),
            answer(page({"id": "3", "name": "shop"}, {"id": "4", "name": "Shop", "business": {"id": 77}})),
        )
        found = await connect(script).find_catalogs("Shop")
        assert found == (CatalogAtMeta("2", "Shop", "commerce"), CatalogAtMeta("4", "Shop", business_id="77"))
        assert script.paths == ["GET /v26.0/77/owned_product_catalogs"] * 2
        assert script.query(1)["after"] == "c1"
        assert TOKEN not in str(script.requests[1].url)

    async def test_read(self) -> None:
        document = {
            "id": "5",
            "name": "Shop",
            "vertical": "a_vertical_of_the_future",
            "product_count": 12,
            "default_image_url": "https://a/b.png",
            "fallback_image_url": ["https://a/c.png"],
            "da_display_settings": {
                "carousel_ad": {"transformation_type": "none"},
                "single_ad": {"transformation_type": "background_padding"},
            },
            "business": {"id": "77", "name": "Us"},
            "commerce_merchant_settings": {"id": "8", "cta": "ONSITE_CHECKOUT"},
        }
        script = Script(answer(document), answer({"id": "5", "name": "Shop"}))
        graph = connect(script)
        assert await graph.read_catalog("5") == CatalogAtMeta(
            "5",
            "Shop",
            "a_vertical_of_the_future",
            12,
            "https://a/b.png",
            ("https://a/c.png",),
            display=DisplaySettings("none", "background_padding"),
            onsite=True,
            business_id="77",
        )
        assert (await graph.read_catalog("5")).onsite is False

    async def test_create_update_delete(self) -> None:
        script = Script(answer({"id": "9"}), answer({"success": True}), answer({"success": True}))
        graph = connect(script)
        assert await graph.create_catalog("Shop ü", "commerce") == "9"
        assert script.form() == {"name": "Shop ü", "vertical": "commerce"}
        await graph.update_catalog("9", CatalogChange(name="New", fallback_image_urls=("https://a/c.png",)))
        assert script.form() == {"name": "New", "fallback_image_url": '["https://a/c.png"]'}
        await graph.delete_catalog("9", allow_live=False)
        assert script.query() == {"allow_delete_catalog_with_live_product_set": "false"}
        assert script.paths == ["POST /v26.0/77/owned_product_catalogs", "POST /v26.0/9", "DELETE /v26.0/9"]

    async def test_nothing_to_change_calls_nothing(self) -> None:
        script = Script()
        await connect(script).update_catalog("9", CatalogChange())
        assert script.requests == []

    async def test_update_that_answers_with_the_node(self) -> None:
        await connect(Script(answer({"id": "9"}))).update_catalog("9", CatalogChange(name="New"))


class TestFeeds:
    async def test_list(self) -> None:
        script = Script(
            answer(
                page(
                    {"id": "1", "name": "a", "deletion_enabled": False, "product_count": 3},
                    {"id": "2", "name": "b", "schedule": {"url": "https://x", "interval": "HOURLY"}},
                    {"id": "3", "name": "c", "update_schedule": {"url": "https://x"}},
                )
            )
        )
        assert await connect(script).list_feeds("5") == (
            FeedAtMeta("1", "a", False, 3),
            FeedAtMeta("2", "b", scheduled=True),
            FeedAtMeta("3", "c", scheduled=True),
        )

    async def test_created_feed_cannot_delete(self) -> None:
        script = Script(answer({"id": "6"}))
        assert await connect(script).create_feed("5", "marker", currency="EUR") == "6"
        form = script.form()
        assert (form["name"], form["deletion_enabled"], form["default_currency"]) == ("marker", "false", "EUR")

    async def test_creation_that_names_invalid_attributes_only(self) -> None:
        script = Script(answer({"errors": [{"invalid_attribute": "name", "error_message": "no"}]}))
        with pytest.raises(Fault) as caught:
            await connect(script).create_feed("5", "marker", currency=None)
        assert caught.value.disposition is Disposition.UNCERTAIN

    async def test_read_enable_delete(self) -> None:
        script = Script(answer({"id": "6", "name": "m"}), answer({"success": True}), answer({"success": True}))
        graph = connect(script)
        assert await graph.read_feed("5", "6") == FeedAtMeta("6", "m")
        await graph.enable_deletion("5", "6")
        assert script.form() == {"deletion_enabled": "true"}
        await graph.delete_feed("5", "6")
        assert script.paths == ["GET /v26.0/6", "POST /v26.0/6", "DELETE /v26.0/6"]


class TestUploads:
    async def test_upload(self) -> None:
        script = Script(answer({"id": 493476498092860}))
        upload_id = await connect(script).upload("5", "6", "s-0.csv.gz", make_body(b"\x1f\x8bdata"), update_only=False)
        assert upload_id == "493476498092860"
        assert script.paths == ["POST /v26.0/6/uploads"]
        content = script.requests[0].content
        assert int(script.requests[0].headers["content-length"]) == len(content)
        assert b'name="update_only"\r\n\r\nfalse' in content
        assert b"\x1f\x8bdata" in content
        assert "transfer-encoding" not in script.requests[0].headers

    async def test_too_large_a_file_is_not_sent(self) -> None:
        script = Script()
        with pytest.raises(Fault, match="PayloadTooLarge"):
            await connect(script).upload(
                "5", "6", "x.csv", make_body(b"", size_bytes=limits.FEED_FILE_BYTES_MAX + 1), update_only=True
            )
        assert script.requests == []

    async def test_list_carries_metas_clock(self) -> None:
        row = {"id": "1", "start_time": "2019-07-15T12:38:36+0000", "end_time": None, "filename": "a.csv.gz"}
        script = Script(answer(page(row), headers={"Date": "Mon, 15 Jul 2019 12:40:00 GMT"}))
        found = await connect(script).list_uploads("5", "6")
        assert found.uploads == (
            UploadAtMeta("1", start_time=datetime(2019, 7, 15, 12, 38, 36, tzinfo=UTC), file_name="a.csv.gz"),
        )
        assert found.server_time == datetime(2019, 7, 15, 12, 40, tzinfo=UTC)

    async def test_list_ends_early_only_where_the_newest_come_first(self) -> None:
        early = {"id": "1", "start_time": "2019-07-15T12:00:00+0000"}
        late = {"id": "2", "start_time": "2019-07-15T13:00:00+0000"}
        newest_first = Script(answer(page(late, early, after="c")))
        assert len((await connect(newest_first).list_uploads("5", "6")).uploads) == 2
        oldest_first = Script(answer(page(early, late, after="c")), answer(page({"id": "3"})))
        assert len((await connect(oldest_first).list_uploads("5", "6")).uploads) == 3
        unknown = Script(answer(page(late, {"id": "4"}, after="c")), answer(page({"id": "3"})))
        assert len((await connect(unknown).list_uploads("5", "6")).uploads) == 3

    async def test_read(self) -> None:
        document = {
            "id": "1",
            "start_time": "2019-07-15T12:38:36+0000",
            "end_time": "2019-07-15T14:38:47+0200",
            "error_count": 1,
            "warning_count": 2,
            "num_detected_items": 10,
            "num_persisted_items": 9,
            "num_invalid_items": 1,
            "num_deleted_items": 0,
        }
        found = await connect(Script(answer(document))).read_upload("5", "1")
        assert found.end_time == datetime(2019, 7, 15, 12, 38, 47, tzinfo=UTC)
        assert (found.detected, found.persisted, found.invalid, found.deleted) == (10, 9, 1, 0)
        assert (found.error_count, found.warning_count) == (1, 2)

    async def test_problems_come_from_errors_and_their_samples(self) -> None:
        inline = {"id": 5, "summary": "GTIN is bad", "severity": "warning", "samples": {"data": [{"retailer_id": "w"}]}}
        by_edge = {"id": "7", "summary": "A required field is missing: price.", "severity": "fatal", "total_count": 4}
        script = Script(
            answer(page(inline, after="c")),
            answer(page(by_edge)),
            answer(page({"id": "1", "retailer_id": "a", "row_number": 2}, after="d")),
            answer(page({"id": "2", "retailer_id": "b", "row_number": 3})),
        )
        found = await connect(script).read_upload_problems("5", "1")
        text = "A required field is missing: price."
        assert found == (
            Problem("warning", "GTIN is bad", "w"),
            Problem("fatal", text, "a", "price"),
            Problem("fatal", text, "b", "price"),
            Problem("fatal", text, None, "price", 2),
        )
        assert script.paths == [*["GET /v26.0/1/errors"] * 2, *["GET /v26.0/7/samples"] * 2]

    async def test_report(self) -> None:
        handle = "https://files.example/report?sig=1"
        script = Script(
            answer({"success": True}),
            answer({"id": "1"}),
            answer({"id": "1", "error_report": {"report_status": "WRITE_FINISHED", "file_handle": handle}}),
            raw(b"A,A required field is missing: price.,FATAL,price\n"),
        )
        graph = connect(script, credentials(app_secret=True))
        await graph.request_error_report("5", "1")
        assert (await graph.read_error_report("5", "1")).status == "NOT_REQUESTED"
        report = await graph.read_error_report("5", "1")
        assert (report.status, report.handle) == ("WRITE_FINISHED", handle)
        assert handle not in repr(report)
        found = [problem async for problem in graph.download_error_report("5", report)]
        assert found == [Problem("fatal", "A required field is missing: price.", "A", "price")]
        assert str(script.requests[-1].url) == handle
        assert "authorization" not in script.requests[-1].headers

    @pytest.mark.parametrize("handle", [None, "http://files.example/x", "file:///etc/passwd", "ftp://x/y", "x"])
    async def test_report_elsewhere_is_not_fetched(self, handle: str | None) -> None:
        script = Script()
        with pytest.raises(Fault, match="ContractViolation"):
            await anext(connect(script).download_error_report("5", ErrorReport("WRITE_FINISHED", handle)))
        assert script.requests == []

    async def test_report_that_is_gone(self) -> None:
        rows = connect(Script(raw(b"", 404))).download_error_report(
            "5", ErrorReport("WRITE_FINISHED", "https://files.example/x")
        )
        with pytest.raises(Fault) as caught:
            await anext(rows)
        assert caught.value.disposition is Disposition.RETRY


class TestItems:
    async def test_batch(self) -> None:
        document = {
            "handles": ["AcHandle"],
            "validation_status": [
                {"retailer_id": "a", "errors": [{"message": "A required field is missing: price."}], "warnings": []},
                {"retailer_id": "b", "warnings": [{"message": "odd"}]},
            ],
        }
        script = Script(answer(document))
        governor = RecordingGovernor()
        body = b'{"item_type":"PRODUCT_ITEM","requests":[]}'
        found = await connect(script, governor=governor).send_batch("5", make_body(body))
        assert found == BatchAnswer(
            "AcHandle",
            (Problem("fatal", "A required field is missing: price.", "a", "price"), Problem("warning", "odd", "b")),
        )
        assert script.requests[0].content == body
        assert script.requests[0].headers["content-type"] == "application/json"
        assert [call.bucket for call in governor.admitted] == [Bucket.BATCH]

    @pytest.mark.parametrize("document", [{"handles": []}, {"handles": None}, {}])
    async def test_batch_without_a_handle(self, document: object) -> None:
        assert await connect(Script(answer(document))).send_batch("5", make_body(b"{}")) == BatchAnswer(None, ())

    async def test_batch_that_says_something_unknown_may_have_happened(self) -> None:
        documents: list[object] = [[], {"handles": ["a", "b"]}, {"handles": {"a": 1}}]
        for document in documents:
            with pytest.raises(Fault) as caught:
                await connect(Script(answer(document))).send_batch("5", make_body(b"{}"))
            assert (caught.value.reason, caught.value.disposition) == ("ContractViolation", Disposition.UNCERTAIN)

    async def test_too_large_a_batch_is_not_sent(self) -> None:
        script = Script()
        with pytest.raises(Fault, match="PayloadTooLarge"):
            await connect(script).send_batch("5", make_body(b"", size_bytes=limits.BATCH_BYTES_MAX + 1))
        assert script.requests == []

    async def test_status(self) -> None:
        document = {
            "data": [
                {
                    "handle": "Ac",
                    "status": "Finished",
                    "errors": [{"line": 1, "id": "a", "message": "A required field is missing: price."}],
                    "errors_total_count": 12,
                    "warnings": [{"line": 2, "id": 7, "message": "odd"}],
                    "warnings_total_count": 0,
                    "ids_of_invalid_requests": ["a", 7, "a"],
                }
            ]
        }
        script = Script(answer(document))
        found = await connect(script).read_batch("5", "Ac/+")
        assert found == BatchStatus(
            "finished",
            True,
            False,
            (Problem("fatal", "A required field is missing: price.", "a", "price"), Problem("warning", "odd", "7")),
            12,
            1,
            ("a", "7"),
        )
        assert script.query() == {"handle": "Ac/+", "load_ids_of_invalid_requests": "true"}

    @pytest.mark.parametrize(
        ("status", "terminal", "failed"),
        [
            ("scheduled", False, False),
            ("dispatched", False, False),
            ("started", False, False),
            ("in_progress", False, False),
            ("a_status_of_the_future", False, False),
            ("finished", True, False),
            ("canceled", True, True),
            ("error", True, True),
        ],
    )
    async def test_only_known_ends_are_ends(self, status: str, terminal: bool, failed: bool) -> None:
        found = await connect(Script(answer({"data": [{"handle": "Ac", "status": status}]}))).read_batch("5", "Ac")
        assert (found.status, found.terminal, found.failed) == (status, terminal, failed)

    async def test_forgotten_handle(self) -> None:
        with pytest.raises(Fault, match="NotVisible"):
            await connect(Script(answer({"data": []}))).read_batch("5", "Ac")

    async def test_items_by_their_ids(self) -> None:
        row = {
            "id": 11,
            "retailer_id": "A-1",
            "name": "Shirt",
            "price": "£34.00",
            "sale_price": "£1,034.00",
            "currency": "GBP",
            "url": "https://a/1",
            "image_url": "https://a/1.png",
            "retailer_product_group_id": "G",
            "category": "Apparel",
            "manufacturer_part_number": "M",
            "quantity_to_sell_on_facebook": 5,
            "custom_number_0": "12",
            "additional_image_urls": ["https://a/2.png", "https://a/3.png"],
            "visibility": "staging",
            "sale_price_start_date": "2026-01-01T00:00+00:00",
            "sale_price_end_date": "2026-02-01T00:00+00:00",
            "brand": None,
            "unknown": {"x": 1},
        }
        script = Script(answer(page(row, {"id": "12", "retailer_id": "a-1", "name": "Other case"})))
        found = await connect(script).read_items("5", ("A-1", "A-2"))
        assert found == (
            ItemAtMeta(
                "A-1",
                "11",
                (
                    ("additional_image_link", "https://a/2.png,https://a/3.png"),
                    ("custom_number_0", "12"),
                    ("google_product_category", "Apparel"),
                    ("image_link", "https://a/1.png"),
                    ("item_group_id", "G"),
                    ("link", "https://a/1"),
                    ("mpn", "M"),
                    ("price", "34.00 GBP"),
                    ("quantity_to_sell_on_facebook", "5"),
                    ("sale_price", "1034.00 GBP"),
                    ("sale_price_effective_date", "2026-01-01T00:00+00:00/2026-02-01T00:00+00:00"),
                    ("status", "archived"),
                    ("title", "Shirt"),
                ),
            ),
        )
        assert json.loads(script.query()["filter"]) == {"retailer_id": {"is_any": ["A-1", "A-2"]}}

    async def test_many_ids_take_few_calls_with_bounded_addresses(self) -> None:
        ids = tuple(f"sku-{number}-é" for number in range(700))
        script = Script(*[answer(page()) for _ in range(30)])
        await connect(script).read_items("5", ids)
        asked = [
            json.loads(script.query(number)["filter"])["retailer_id"]["is_any"]
            for number in range(len(script.requests))
        ]
        assert [item_id for chunk in asked for item_id in chunk] == list(ids)
        assert max(len(chunk) for chunk in asked) <= limits.FILTER_IDS_MAX
        assert max(len(str(request.url)) for request in script.requests) < 8_000
        assert len(asked) <= 6

    async def test_an_id_of_any_length_is_asked_for_alone(self) -> None:
        script = Script(answer(page()), answer(page()))
        await connect(script).read_items("5", ("x" * 7_000, "y"))
        assert len(script.requests) == 2

    async def test_no_ids_no_call(self) -> None:
        assert await connect(Script()).read_items("5", ()) == ()

    async def test_list_goes_page_by_page(self) -> None:
        script = Script(answer(page({"id": "1", "retailer_id": "a"}, after="c1")), answer(page()))
        graph = connect(script)
        first = await graph.list_items("5", "6", None)
        assert first == ItemPage((ItemAtMeta("a", "1", ()),), "c1")
        assert await graph.list_items("5", "6", first.after) == ItemPage((), None)
        assert script.query(1)["after"] == "c1"
        assert script.paths == ["GET /v26.0/6/products"] * 2


class TestPaging:
    async def test_short_page_is_not_the_end(self) -> None:
        script = Script(answer(page(after="1")), answer(page(after="2")), answer(page({"id": "1", "name": "a"})))
        assert len(await connect(script).list_feeds("5")) == 1

    async def test_cursor_is_taken_from_next_where_cursors_are_absent(self) -> None:
        script = Script(answer({"data": [], "paging": {"next": f"{ENDPOINT}/x?after=q%2B1"}}), answer({"data": []}))
        await connect(script).list_feeds("5")
        assert script.query(1)["after"] == "q+1"

    @pytest.mark.parametrize("paging", [{"next": "https://evil.example/"}, {"next": "x", "cursors": {"after": ""}}])
    async def test_next_without_a_cursor(self, paging: object) -> None:
        with pytest.raises(Fault, match="ContractViolation"):
            await connect(Script(answer({"data": [], "paging": paging}))).list_feeds("5")

    async def test_circle(self) -> None:
        with pytest.raises(Fault, match="same page"):
            await connect(Script(answer(page(after="1")), answer(page(after="1")))).list_feeds("5")

    async def test_endless_list(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "PAGES_MAX", 3)
        with pytest.raises(Fault, match="more than 3 pages"):
            await connect(Script(*[answer(page(after=str(number))) for number in range(9)])).list_feeds("5")


class TestTokens:
    DATA: ClassVar[dict[str, object]] = {
        "app_id": 42,
        "type": "SYSTEM_USER",
        "application": "Shop",
        "is_valid": True,
        "issued_at": 1700000000,
        "expires_at": 0,
        "data_access_expires_at": 1800000000,
        "scopes": ["catalog_management", "business_management"],
        "granular_scopes": [{"scope": "catalog_management", "target_ids": ["1"]}],
        "user_id": "7",
    }
    NEEDS_APP_TOKEN = (
        "You must provide an app access token, or a user access token that is an owner or developer of the app"
    )

    async def test_with_the_apps_own_token_where_the_secret_is_known(self) -> None:
        script = Script(answer({"id": "42"}), answer({"data": self.DATA}))
        facts = await connect(script, credentials(app_secret=True)).inspect_token()
        assert (facts.valid, facts.app_id, facts.expires_at, facts.expiry_known) == (True, "42", None, True)
        assert facts.scopes == ("business_management", "catalog_management")
        assert facts.data_access_expires_at == datetime(2027, 1, 15, 8, 0, tzinfo=UTC)
        assert script.paths == ["GET /v26.0/app", "GET /v26.0/debug_token"]
        assert script.requests[1].headers["authorization"] == f"Bearer 42|{APP_SECRET}"
        assert script.query() == {"input_token": TOKEN}

    async def test_known_app_is_not_asked_for(self) -> None:
        script = Script(answer({"data": self.DATA}))
        await connect(script, credentials(app_secret=True, app_id="42")).inspect_token()
        assert script.paths == ["GET /v26.0/debug_token"]

    async def test_with_the_token_itself(self) -> None:
        script = Script(answer({"data": {**self.DATA, "expires_at": 1800000000}}))
        facts = await connect(script).inspect_token()
        assert facts.expires_at == datetime(2027, 1, 15, 8, 0, tzinfo=UTC)
        assert script.requests[0].headers["authorization"] == f"Bearer {TOKEN}"

    async def test_permissions_are_what_is_left(self) -> None:
        grants = page(
            {"permission": "catalog_management", "status": "granted"}, {"permission": "email", "status": "declined"}
        )
        script = Script(answer(envelope(100, self.NEEDS_APP_TOKEN), 400), answer({"id": "42"}), answer(grants))
        facts = await connect(script).inspect_token()
        assert (facts.valid, facts.app_id, facts.scopes) == (True, "42", ("catalog_management",))
        assert (facts.expires_at, facts.expiry_known) == (None, False)
        assert script.paths == ["GET /v26.0/debug_token", "GET /v26.0/app", "GET /v26.0/me/permissions"]

    async def test_app_that_cannot_be_named(self) -> None:
        script = Script(
            answer(envelope(100, self.NEEDS_APP_TOKEN), 400),
            answer(envelope(2500, "Unknown path components: /app"), 400),
            answer(page({"permission": "catalog_management"})),
        )
        facts = await connect(script).inspect_token()
        assert (facts.app_id, facts.scopes) == (None, ("catalog_management",))

    async def test_secret_without_an_app_falls_back_to_the_token_itself(self) -> None:
        script = Script(answer(envelope(2500, "Unknown path components: /app"), 400), answer({"data": self.DATA}))
        facts = await connect(script, credentials(app_secret=True)).inspect_token()
        assert facts.app_id == "42"
        assert script.requests[1].headers["authorization"] == f"Bearer {TOKEN}"

    async def test_expired_token_that_meta_describes(self) -> None:
        data = {
            "is_valid": False,
            "app_id": "42",
            "scopes": [],
            "expires_at": 1600000000,
            "error": {
                "code": 190,
                "subcode": 463,
                "message": "Error validating access token: expired on Monday 10:00:01",
            },
        }
        facts = await connect(Script(answer({"data": data}))).inspect_token()
        assert (facts.valid, facts.message) == (False, "Meta says that the token has expired")
        assert facts.expires_at == datetime(2020, 9, 13, 12, 26, 40, tzinfo=UTC)

    async def test_bad_token_is_a_fault(self) -> None:
        for with_secret in (False, True):
            script = Script(answer(envelope(190, "bad", 463), 400))
            with pytest.raises(Fault, match="TokenExpired"):
                await connect(script, credentials(app_secret=with_secret)).inspect_token()

    async def test_refusal_of_the_apps_own_token_blames_the_app_secret(self) -> None:
        script = Script(answer({"id": "42"}), answer(envelope(190, "Invalid OAuth access token signature."), 400))
        with pytest.raises(Fault, match="appSecretRef") as caught:
            await connect(script, credentials(app_secret=True)).inspect_token()
        assert (caught.value.reason, caught.value.evidence.code) == ("TokenInvalid", 190)

    async def test_app_that_demands_a_proof(self) -> None:
        refused = answer(envelope(100, "API calls from the server require an appsecret_proof argument"), 400)
        with pytest.raises(Fault, match="set appSecretRef"):
            await connect(Script(refused, refused, refused)).inspect_token()

    async def test_moments_beyond_the_calendar_are_never(self) -> None:
        script = Script(answer({"data": {**self.DATA, "expires_at": 10**18, "data_access_expires_at": -1}}))
        facts = await connect(script).inspect_token()
        assert (facts.expires_at, facts.data_access_expires_at) == (None, None)


class TestShapes:
    @pytest.mark.parametrize("document", [[], "x", 7, None, {}, {"id": None}, {"id": {"x": 1}}, {"id": True}])
    async def test_creation_in_an_unknown_shape_may_have_happened(self, document: object) -> None:
        with pytest.raises(Fault) as caught:
            await connect(Script(answer(document))).create_catalog("Shop", "commerce")
        assert (caught.value.reason, caught.value.disposition) == ("ContractViolation", Disposition.UNCERTAIN)

    @pytest.mark.parametrize(
        "document", [[], "x", None, {}, {"data": None}, {"data": {}}, {"data": [7]}, {"data": [{"name": "x"}]}]
    )
    async def test_list_in_an_unknown_shape_is_a_defect(self, document: object) -> None:
        with pytest.raises(Fault) as caught:
            await connect(Script(answer(document))).list_feeds("5")
        assert (caught.value.reason, caught.value.disposition) == ("ContractViolation", Disposition.DEFECT)

    @pytest.mark.parametrize("moment", ["yesterday", 10**20, {"x": 1}, "9999-99-99"])
    async def test_moment_that_is_none(self, moment: object) -> None:
        with pytest.raises(Fault, match="ContractViolation"):
            await connect(Script(answer({"id": "1", "end_time": moment}))).read_upload("5", "1")

    @pytest.mark.parametrize("rows", [[7], [{}], [{"id": "1"}], [{"retailer_id": "a"}]])
    async def test_item_without_identity(self, rows: list[object]) -> None:
        with pytest.raises(Fault, match="ContractViolation"):
            await connect(Script(answer({"data": rows}))).list_items("5", "6", None)

    async def test_answers_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "RESPONSE_BYTES_MAX", 100)
        script = Script(raw(b" " * 101), raw(b" " * 101))
        with pytest.raises(Fault, match="larger than 100"):
            await connect(script).list_feeds("5")
        with pytest.raises(Fault) as caught:
            await connect(script).create_feed("5", "m", currency=None)
        assert caught.value.disposition is Disposition.UNCERTAIN


class TestAddresses:
    async def test_version_of_the_connection(self) -> None:
        script = Script(answer({"id": "1"}))
        graph = connect(script)
        await graph.read_catalog("1")
        assert isinstance(script.requests[0], httpx.Request)
        assert script.paths == ["GET /v26.0/1"]
