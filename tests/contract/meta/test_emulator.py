"""Every method of the Graph against the emulator, an independent reading of Meta's documentation."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest

from controller.faults import Disposition, Fault
from controller.ports.meta import Body, Bucket, CatalogChange, DisplaySettings, Localization
from hack.emulator.world import TEST_APP, TEST_BUSINESS, TEST_TOKEN
from tests.contract.meta.conftest import APP_SECRET, START, Meta, row, send_file
from tests.unit.meta.scripted import make_body

FRANCE = Localization(country="FR")


def batch(*requests: tuple[str, Mapping[str, object]]) -> Body:
    document = {
        "item_type": "PRODUCT_ITEM",
        "allow_upsert": True,
        "requests": [{"method": method, "data": data} for method, data in requests],
    }
    return make_body(json.dumps(document).encode())


def data(item_id: str, price: str = "34.00 GBP") -> dict[str, object]:
    return {
        "id": item_id,
        "title": "A shirt",
        "description": "A plain shirt of cotton",
        "availability": "in stock",
        "condition": "new",
        "price": price,
        "link": f"https://shop.example/{item_id}",
        "image_link": f"https://shop.example/{item_id}.png",
        "brand": "Acme",
    }


async def test_catalog_from_creation_to_deletion(meta: Meta) -> None:
    graph = meta.graph
    catalog_id = await graph.create_catalog("Shop ü", "commerce")
    await graph.create_catalog("Shop", "commerce")
    assert [found.id for found in await graph.find_catalogs("Shop ü")] == [catalog_id]
    assert await graph.find_catalogs("shop ü") == ()
    await graph.update_catalog(
        catalog_id,
        CatalogChange(
            name="Shop 2",
            default_image_url="https://shop.example/d.png",
            fallback_image_urls=("https://shop.example/f.png",),
        ),
    )
    found = await graph.read_catalog(catalog_id)
    assert (found.name, found.vertical, found.product_count, found.onsite) == ("Shop 2", "commerce", 0, False)
    assert found.default_image_url == "https://shop.example/d.png"
    assert found.fallback_image_urls == ("https://shop.example/f.png",)
    assert found.business_id == TEST_BUSINESS
    shown = DisplaySettings(carousel_ad="background_padding", single_ad="none")
    await graph.update_catalog(catalog_id, CatalogChange(display=shown, additional_vertical_option="LOCAL_PRODUCTS"))
    assert (await graph.read_catalog(catalog_id)).display == shown
    await graph.update_catalog(catalog_id, CatalogChange(fallback_image_urls=()))
    assert (await graph.read_catalog(catalog_id)).fallback_image_urls == ()
    await graph.delete_catalog(catalog_id, allow_live=False)
    with pytest.raises(Fault) as caught:
        await graph.read_catalog(catalog_id)
    assert (caught.value.reason, caught.value.disposition) == ("NotVisible", Disposition.STALLED)


async def test_onsite_shop_is_seen(meta: Meta) -> None:
    meta.switch(onsite_checkout="present")
    catalog_id = await meta.graph.create_catalog("Shop", "commerce")
    assert (await meta.graph.read_catalog(catalog_id)).onsite is True


async def test_catalog_of_a_name_that_is_taken(meta: Meta) -> None:
    meta.switch(duplicate_catalog_name="refused")
    await meta.graph.create_catalog("Shop", "commerce")
    with pytest.raises(Fault) as caught:
        await meta.graph.create_catalog("Shop", "commerce")
    assert (caught.value.reason, caught.value.disposition) == ("AlreadyExists", Disposition.UNCERTAIN)


async def test_search_through_many_catalogs(meta: Meta) -> None:
    meta.switch(page_limit_max=2, short_pages="true")
    ids = [await meta.graph.create_catalog("Shop", "commerce") for _ in range(7)]
    assert sorted(found.id for found in await meta.graph.find_catalogs("Shop")) == sorted(ids)


async def test_settings_that_meta_refuses(meta: Meta) -> None:
    with pytest.raises(Fault) as caught:
        await meta.graph.create_catalog("Shop", "no_such_vertical")
    assert (caught.value.reason, caught.value.disposition) == ("InvalidRequest", Disposition.STALLED)
    assert "vertical" in caught.value.message


async def test_feed_from_creation_to_deletion(meta: Meta) -> None:
    graph = meta.graph
    catalog_id = await graph.create_catalog("Shop", "commerce")
    feed_id = await graph.create_feed(catalog_id, "marker 0", currency="GBP")
    (listed,) = await graph.list_feeds(catalog_id)
    assert (listed.id, listed.name, listed.deletion_enabled, listed.scheduled) == (feed_id, "marker 0", False, False)
    await graph.enable_deletion(catalog_id, feed_id)
    assert (await graph.read_feed(catalog_id, feed_id)).deletion_enabled is True
    await graph.delete_feed(catalog_id, feed_id)
    assert await graph.list_feeds(catalog_id) == ()
    with pytest.raises(Fault, match="NotVisible"):
        await graph.read_feed(catalog_id, feed_id)


async def test_upload_from_first_byte_to_error_report(meta: Meta) -> None:
    graph = meta.graph
    meta.switch(upload_error_samples=2)
    catalog_id = await graph.create_catalog("Shop", "commerce")
    feed_id = await graph.create_feed(catalog_id, "marker", currency="GBP")
    bad = [row(f"bad-{number}", price="cheap") for number in range(5)]
    upload_id = await send_file(meta, catalog_id, feed_id, row("A-1", group="G"), row("A-2", price="1234.50 GBP"), *bad)
    upload = await graph.read_upload(catalog_id, upload_id)
    assert upload.start_time is not None
    assert upload.end_time is not None
    assert (upload.detected, upload.persisted, upload.invalid, upload.deleted) == (7, 2, 5, 0)
    problems = [
        problem for problem in await graph.read_upload_problems(catalog_id, upload_id) if problem.severity == "fatal"
    ]
    assert [(problem.item_id, problem.field, problem.count) for problem in problems] == [
        ("bad-0", "price", 1),
        ("bad-1", "price", 1),
        (None, "price", 3),
    ]
    assert (await graph.read_error_report(catalog_id, upload_id)).status == "NOT_REQUESTED"
    await graph.request_error_report(catalog_id, upload_id)
    assert (await graph.read_error_report(catalog_id, upload_id)).status == "REQUESTED"
    meta.later(60)
    report = await graph.read_error_report(catalog_id, upload_id)
    assert report.status == "WRITE_FINISHED"
    rows = [problem async for problem in graph.download_error_report(catalog_id, report)]
    fatal = [problem for problem in rows if problem.severity == "fatal"]
    assert [(problem.item_id, problem.field) for problem in fatal] == [
        (f"bad-{number}", "price") for number in range(5)
    ]
    found = {item.id: dict(item.fields) for item in (await graph.list_items(catalog_id, feed_id, None)).items}
    assert set(found) == {"A-1", "A-2"}
    assert (found["A-1"]["title"], found["A-1"]["price"], found["A-1"]["item_group_id"]) == (
        "A shirt",
        "34.00 GBP",
        "G",
    )
    assert (found["A-2"]["price"], found["A-2"]["availability"]) == ("1234.50 GBP", "in stock")
    assert found["A-1"]["link"] == "https://shop.example/A-1"


async def test_uploads_are_listed_with_metas_clock(meta: Meta) -> None:
    catalog_id = await meta.graph.create_catalog("Shop", "commerce")
    feed_id = await meta.graph.create_feed(catalog_id, "marker", currency=None)
    for order in ("oldest_first", "newest_first"):
        meta.switch(upload_order=order, filename_echoed="true")
        upload_id = await send_file(meta, catalog_id, feed_id, row("A-1"))
        found = await meta.graph.list_uploads(catalog_id, feed_id)
        assert upload_id in {upload.id for upload in found.uploads}
        assert {upload.file_name for upload in found.uploads if upload.id == upload_id} == {"shop-0.csv.gz"}
        assert found.server_time == datetime.fromtimestamp(meta.emulator.now(), UTC)
    meta.switch(page_limit_max=2)
    uploads = [await send_file(meta, catalog_id, feed_id, row("A-1")) for _ in range(4)]
    meta.switch(upload_order="oldest_first")
    assert uploads[-1] in {upload.id for upload in (await meta.graph.list_uploads(catalog_id, feed_id)).uploads}


async def test_upload_without_a_file_name_echoed(meta: Meta) -> None:
    catalog_id = await meta.graph.create_catalog("Shop", "commerce")
    feed_id = await meta.graph.create_feed(catalog_id, "marker", currency=None)
    await send_file(meta, catalog_id, feed_id, row("A-1"))
    (upload,) = (await meta.graph.list_uploads(catalog_id, feed_id)).uploads
    assert upload.file_name != "shop-0.csv.gz"


async def test_replace_and_update_only_differ(meta: Meta) -> None:
    catalog_id = await meta.graph.create_catalog("Shop", "commerce")
    feed_id = await meta.graph.create_feed(catalog_id, "marker", currency=None)
    await meta.graph.enable_deletion(catalog_id, feed_id)
    await send_file(meta, catalog_id, feed_id, row("A-1"), row("A-2"))
    await send_file(meta, catalog_id, feed_id, row("A-1"), update_only=True)
    assert len((await meta.graph.list_items(catalog_id, feed_id, None)).items) == 2
    upload_id = await send_file(meta, catalog_id, feed_id, row("A-1"))
    assert [item.id for item in (await meta.graph.list_items(catalog_id, feed_id, None)).items] == ["A-1"]
    assert (await meta.graph.read_upload(catalog_id, upload_id)).deleted == 1


async def test_items_page_by_page_and_by_id(meta: Meta) -> None:
    meta.switch(page_limit_max=3)
    catalog_id = await meta.graph.create_catalog("Shop", "commerce")
    feed_id = await meta.graph.create_feed(catalog_id, "marker", currency=None)
    ids = [f"sku '{number}' & ü" for number in range(10)]
    await send_file(meta, catalog_id, feed_id, *(row(item_id) for item_id in ids))
    seen: list[str] = []
    after: str | None = None
    while True:
        page = await meta.graph.list_items(catalog_id, feed_id, after)
        seen += [item.id for item in page.items]
        if page.after is None:
            break
        after = page.after
    assert sorted(seen) == sorted(ids)
    wanted = (*ids[2:9], "not there", ids[2].upper())
    assert sorted(item.id for item in await meta.graph.read_items(catalog_id, wanted)) == sorted(ids[2:9])


async def test_batch_from_post_to_items(meta: Meta) -> None:
    catalog_id = await meta.graph.create_catalog("Shop", "commerce")
    answer = await meta.graph.send_batch(
        catalog_id,
        batch(
            ("CREATE", data("A-1")),
            ("CREATE", data("A-2", price="cheap")),
            ("UPDATE", {"id": "A-3", "colour": "red", "price": "1.00 GBP"}),
            ("DELETE", {"id": "A-4"}),
        ),
    )
    assert answer.handle is not None
    said = {(problem.item_id, problem.severity): problem for problem in answer.problems}
    assert said["A-2", "fatal"].field == "price"
    assert said["A-3", "warning"].field == "colour"
    assert (await meta.graph.read_batch(catalog_id, answer.handle)).terminal is False
    meta.later(400)
    status = await meta.graph.read_batch(catalog_id, answer.handle)
    assert (status.status, status.terminal, status.failed) == ("finished", True, False)
    assert status.errors_total >= 1
    assert "A-4" in {problem.item_id for problem in status.problems if problem.severity == "fatal"}
    assert "A-4" in status.invalid_ids
    (item,) = await meta.graph.read_items(catalog_id, ("A-1",))
    assert dict(item.fields)["price"] == "34.00 GBP"
    assert [call.bucket for call in meta.governor.admitted if call.name == "items_batch"] == [Bucket.BATCH]


def localized(*requests: tuple[str, str, dict[str, object]]) -> Body:
    """Requests for one country: method, id, values."""
    return make_body(
        json.dumps(
            {
                "item_type": "PRODUCT_ITEM",
                "requests": [
                    {
                        "method": method,
                        "data": {"id": item_id, **values},
                        "localization": {"type": FRANCE.type, "value": FRANCE.value},
                    }
                    for method, item_id, values in requests
                ],
            }
        ).encode()
    )


@pytest.mark.parametrize("named", ["node", "feed"])
async def test_values_of_a_country_from_post_to_reading_back(meta: Meta, named: str) -> None:
    meta.switch(override_values_named=named)
    catalog_id = await meta.graph.create_catalog("Shop", "commerce")
    await meta.graph.send_batch(catalog_id, batch(("CREATE", data("A-1")), ("CREATE", data("A-2"))))
    meta.later(400)
    values: dict[str, object] = {"price": "9.99 EUR", "title": "Chemise", "link": "https://shop.example/fr"}
    answer = await meta.graph.send_localized_batch(
        catalog_id,
        localized(("UPDATE", "A-1", {**values, "colour": "red"}), ("UPDATE", "X", {"title": "x"})),
    )
    assert answer.handle is not None
    assert {(problem.item_id, problem.severity, problem.field) for problem in answer.problems} == {
        ("A-1", "warning", "colour")
    }
    meta.later(400)
    status = await meta.graph.read_batch(catalog_id, answer.handle)
    assert (status.status, status.terminal, status.failed) == ("finished", True, False)
    assert status.invalid_ids == ("X",)
    found = await meta.graph.read_overrides(catalog_id, ("A-1", "A-2", "X"), FRANCE)
    assert {item.id: dict(item.fields) for item in found} == {"A-1": values, "A-2": {}}
    other = await meta.graph.read_overrides(catalog_id, ("A-1",), Localization("fr_XX", "FR"))
    assert [item.fields for item in other] == [()]
    calls = [call for call in meta.governor.admitted if call.name == "localized_items_batch"]
    assert [(call.bucket, call.catalog_id) for call in calls] == [(Bucket.BATCH, catalog_id)]
    answer = await meta.graph.send_localized_batch(catalog_id, localized(("DELETE", "A-1", {})))
    meta.later(400)
    assert [item.fields for item in await meta.graph.read_overrides(catalog_id, ("A-1",), FRANCE)] == [()]


async def test_field_that_meta_refuses_in_a_language_is_named(meta: Meta) -> None:
    catalog_id = await meta.graph.create_catalog("Shop", "commerce")
    await meta.graph.send_batch(catalog_id, batch(("CREATE", data("A-1"))))
    meta.later(400)
    answer = await meta.graph.send_localized_batch(
        catalog_id, localized(("UPDATE", "A-1", {"image_link": "https://shop.example/fr.png"}))
    )
    assert (answer.handle, [(problem.item_id, problem.field) for problem in answer.problems]) == (
        None,
        [("A-1", "image_link")],
    )


async def test_localised_batch_that_meta_refuses_was_not_accepted(meta: Meta) -> None:
    catalog_id = await meta.graph.create_catalog("Shop", "commerce")
    body = json.dumps({"item_type": "PRODUCT_ITEM", "requests": [{"method": "UPDATE", "data": {"id": "A"}}]})
    with pytest.raises(Fault) as caught:
        await meta.graph.send_localized_batch(catalog_id, make_body(body.encode()))
    assert (caught.value.reason, caught.value.disposition) == ("InvalidRequest", Disposition.STALLED)


async def test_truncated_lists_are_told_by_their_totals(meta: Meta) -> None:
    meta.switch(listed_batch_errors=2, partially_named_errors="true")
    catalog_id = await meta.graph.create_catalog("Shop", "commerce")
    answer = await meta.graph.send_batch(catalog_id, batch(*(("DELETE", {"id": f"X-{number}"}) for number in range(5))))
    assert answer.handle is not None
    meta.later(400)
    status = await meta.graph.read_batch(catalog_id, answer.handle)
    assert (status.errors_total, len([p for p in status.problems if p.severity == "fatal"])) == (5, 2)


async def test_broken_batch(meta: Meta) -> None:
    catalog_id = await meta.graph.create_catalog("Shop", "commerce")
    meta.arm("partial_batch")
    answer = await meta.graph.send_batch(catalog_id, batch(("CREATE", data("A-1"))))
    assert answer.handle is not None
    meta.later(400)
    status = await meta.graph.read_batch(catalog_id, answer.handle)
    assert (status.status, status.terminal, status.failed) == ("error", True, True)


async def test_batch_of_which_nothing_is_ingested(meta: Meta) -> None:
    catalog_id = await meta.graph.create_catalog("Shop", "commerce")
    answer = await meta.graph.send_batch(catalog_id, batch(("CREATE", {"id": "A-1"})))
    assert answer.handle is None
    assert {problem.item_id for problem in answer.problems} == {"A-1"}


async def test_batch_that_meta_refuses_was_not_accepted(meta: Meta) -> None:
    catalog_id = await meta.graph.create_catalog("Shop", "commerce")
    with pytest.raises(Fault) as caught:
        await meta.graph.send_batch(catalog_id, make_body(b'{"item_type": "PRODUCT_ITEM"}'))
    assert (caught.value.reason, caught.value.disposition) == ("InvalidRequest", Disposition.STALLED)


async def test_handle_that_meta_forgot(meta: Meta) -> None:
    catalog_id = await meta.graph.create_catalog("Shop", "commerce")
    meta.arm("handle_lost")
    answer = await meta.graph.send_batch(catalog_id, batch(("CREATE", data("A-1"))))
    assert answer.handle is not None
    with pytest.raises(Fault) as caught:
        await meta.graph.read_batch(catalog_id, answer.handle)
    assert caught.value.reason in ("InvalidRequest", "NotVisible")
    assert caught.value.disposition is Disposition.STALLED


class TestTokens:
    async def test_with_the_app_secret(self, meta: Meta) -> None:
        facts = await meta.connect(app_secret=APP_SECRET).inspect_token()
        assert (facts.valid, facts.app_id, facts.expires_at, facts.expiry_known) == (True, TEST_APP, None, True)
        assert "catalog_management" in facts.scopes

    async def test_app_is_found_where_it_is_not_known(self, meta: Meta) -> None:
        facts = await meta.connect(app_secret=APP_SECRET, app_id=None).inspect_token()
        assert (facts.valid, facts.app_id, facts.expiry_known) == (True, TEST_APP, True)

    async def test_with_itself(self, meta: Meta) -> None:
        meta.switch(debug_token_with_itself="allowed")
        meta.emulator.world.tokens[TEST_TOKEN].expires = (START + timedelta(days=30)).timestamp()
        facts = await meta.graph.inspect_token()
        assert (facts.valid, facts.app_id, facts.expires_at) == (True, TEST_APP, START + timedelta(days=30))

    async def test_by_its_permissions(self, meta: Meta) -> None:
        facts = await meta.graph.inspect_token()
        assert (facts.valid, facts.expires_at, facts.expiry_known) == (True, None, False)
        assert "catalog_management" in facts.scopes

    async def test_expired(self, meta: Meta) -> None:
        meta.emulator.world.tokens[TEST_TOKEN].expires = START.timestamp() - 1
        facts = await meta.connect(app_secret=APP_SECRET).inspect_token()
        assert (facts.valid, facts.message) == (False, "Meta says that the token has expired")
        with pytest.raises(Fault, match="TokenExpired"):
            await meta.graph.inspect_token()
        with pytest.raises(Fault, match="TokenExpired") as caught:
            await meta.graph.create_catalog("Shop", "commerce")
        assert caught.value.disposition is Disposition.STALLED

    async def test_unknown(self, meta: Meta) -> None:
        with pytest.raises(Fault, match="TokenInvalid"):
            await meta.connect("EAAnosuchtoken").inspect_token()

    async def test_wrong_app_secret(self, meta: Meta) -> None:
        for app_id in (None, TEST_APP):
            with pytest.raises(Fault, match="appSecretRef") as caught:
                await meta.connect(app_secret="wrong", app_id=app_id).inspect_token()
            assert caught.value.reason == "TokenInvalid"
        with pytest.raises(Fault, match="appSecretRef"):
            await meta.connect(app_secret="wrong").create_catalog("Shop", "commerce")

    async def test_app_that_demands_a_proof(self, meta: Meta) -> None:
        meta.emulator.world.apps[TEST_APP].proof_required = True
        with pytest.raises(Fault, match="set appSecretRef"):
            await meta.graph.inspect_token()
        graph = meta.connect(app_secret=APP_SECRET)
        catalog_id = await graph.create_catalog("Shop", "commerce")
        feed_id = await graph.create_feed(catalog_id, "marker", currency=None)
        await graph.upload(catalog_id, feed_id, "a.csv.gz", make_body(b"id\n1\n"), update_only=True)
        assert (await graph.send_batch(catalog_id, batch(("CREATE", data("A-1"))))).handle is not None
        await graph.delete_feed(catalog_id, feed_id)

    async def test_missing_permission(self, meta: Meta) -> None:
        meta.emulator.world.tokens[TEST_TOKEN].scopes = ["ads_read"]
        with pytest.raises(Fault, match="PermissionDenied") as caught:
            await meta.graph.create_catalog("Shop", "commerce")
        assert caught.value.disposition is Disposition.STALLED


async def test_version_that_is_not_served(meta: Meta) -> None:
    with pytest.raises(Fault, match="VersionUnsupported") as caught:
        await meta.connect(version="v19.0").create_catalog("Shop", "commerce")
    assert caught.value.disposition is Disposition.STALLED
    assert await meta.connect(version="v25.0").find_catalogs("Shop") == ()


class TestFaults:
    """Each fault once on a read and once on each kind of write."""

    R, W, S, U = Disposition.RETRY, Disposition.WAIT, Disposition.STALLED, Disposition.UNCERTAIN
    TABLE: ClassVar[tuple[tuple[str, dict[str, int | bool], str, Disposition, Disposition], ...]] = (
        ("drop_before", {}, "MetaUnavailable", R, U),
        ("drop_after", {}, "MetaUnavailable", R, U),
        ("half_answer", {}, "MetaUnavailable", R, U),
        ("http_error", {"status": 502}, "MetaUnavailable", R, U),
        ("http_error", {"status": 503, "accepted": True}, "MetaUnavailable", R, U),
        ("error_200", {"code": 1}, "MetaUnavailable", R, U),
        ("error_200", {"code": 100}, "InvalidRequest", S, S),
        ("graph_error", {"code": 2}, "MetaUnavailable", R, U),
        ("graph_error", {"code": 1, "accepted": True}, "MetaUnavailable", R, U),
        ("throttle", {"code": 80014, "minutes": 7}, "RateLimited", W, W),
        ("throttle", {"code": 80009, "minutes": 7}, "RateLimited", W, W),
        ("throttle", {"code": 4, "minutes": 7}, "RateLimited", W, W),
        ("throttle", {"code": 17, "minutes": 7}, "RateLimited", W, W),
        ("throttle", {"code": 613, "minutes": 7}, "RateLimited", W, W),
        ("token", {"subcode": 463}, "TokenExpired", S, S),
        ("token", {"subcode": 460}, "TokenInvalid", S, S),
    )

    @pytest.mark.parametrize(("kind", "wish", "reason", "read", "write"), TABLE, ids=str)
    async def test_fault(
        self, meta: Meta, kind: str, wish: dict[str, int | bool], reason: str, read: Disposition, write: Disposition
    ) -> None:
        catalog_id = await meta.graph.create_catalog("Shop", "commerce")
        feed_id = await meta.graph.create_feed(catalog_id, "marker", currency=None)
        graph = meta.graph
        for operation, disposition in (
            (lambda: graph.list_feeds(catalog_id), read),
            (lambda: graph.update_catalog(catalog_id, CatalogChange(name="New")), write),
            (lambda: graph.send_batch(catalog_id, batch(("CREATE", data("A-1")))), write),
            (lambda: graph.upload(catalog_id, feed_id, "a.csv.gz", make_body(b"id\n1\n"), update_only=True), write),
            (lambda: graph.delete_feed(catalog_id, feed_id), write),
        ):
            meta.arm(kind, **wish)
            with pytest.raises(Fault) as caught:
                await operation()
            assert (caught.value.reason, caught.value.disposition) == (reason, disposition)
            if reason == "RateLimited":
                assert caught.value.retry_at == START + self._elapsed(meta) + timedelta(minutes=7)
                assert meta.governor.observed[-1][2] == 7
                meta.later(20 * 60)
        assert meta.emulator.faults.armed == []

    @staticmethod
    def _elapsed(meta: Meta) -> timedelta:
        return timedelta(seconds=meta.emulator.now() - START.timestamp())

    async def test_connection_refused(self, meta: Meta) -> None:
        meta.arm("connect_refused")
        with pytest.raises(Fault) as caught:
            await meta.graph.create_catalog("Shop", "commerce")
        in_process = meta.factory._endpoint.startswith("https")
        # over HTTP the front can only end the connection once it has heard the request
        expected = Disposition.RETRY if in_process else Disposition.UNCERTAIN
        assert (caught.value.reason, caught.value.disposition) == ("MetaUnavailable", expected)
        assert len(meta.governor.admitted) == (0 if in_process else 1)

    async def test_reset_in_the_body(self, meta: Meta) -> None:
        catalog_id = await meta.graph.create_catalog("Shop", "commerce")
        meta.arm("reset", bytes=1000)
        with pytest.raises(Fault) as caught:
            await meta.graph.send_batch(catalog_id, make_body(b" " * 300_000, pieces=20))
        assert caught.value.disposition is Disposition.UNCERTAIN

    async def test_nothing_arrives_of_a_wrong_payload(self, meta: Meta) -> None:
        catalog_id = await meta.graph.create_catalog("Shop", "commerce")
        good = batch(("CREATE", data("A-1")))
        wrong = Body(good.size_bytes, "0" * 64, good.open, good.deadline_seconds)
        with pytest.raises(Fault, match="PayloadMismatch"):
            await meta.graph.send_batch(catalog_id, wrong)
        assert meta.emulator.journal.mutations == []

    async def test_answer_after_a_slow_start_is_an_answer(self, meta: Meta) -> None:
        meta.arm("latency", seconds=0.05)
        assert await meta.graph.find_catalogs("Shop") == ()


async def test_usage_reaches_the_governor(meta: Meta) -> None:
    catalog_id = await meta.graph.create_catalog("Shop", "commerce")
    meta.governor.observed.clear()
    for _ in range(3):
        await meta.graph.send_batch(catalog_id, batch(("CREATE", data("A-1"))))
    call, usage, throttled = meta.governor.observed[-1]
    assert (call.name, call.catalog_id, call.bucket, call.write) == ("items_batch", catalog_id, Bucket.BATCH, True)
    assert usage is not None
    assert usage.percent == 37  # 3 of 8 per minute
    assert throttled is None


async def test_quota_that_is_used_up(meta: Meta) -> None:
    catalog_id = await meta.graph.create_catalog("Shop", "commerce")
    for _ in range(8):
        await meta.graph.send_batch(catalog_id, batch(("CREATE", data("A-1"))))
    with pytest.raises(Fault) as caught:
        await meta.graph.send_batch(catalog_id, batch(("CREATE", data("A-1"))))
    assert (caught.value.reason, caught.value.disposition) == ("RateLimited", Disposition.WAIT)
    assert caught.value.evidence.code == 80014
    assert caught.value.retry_at == START + timedelta(minutes=1)
