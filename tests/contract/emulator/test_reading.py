"""Fields, expansion, paging, read-after-write, body encodings."""

import json
from typing import Any

import pytest

from tests.contract.emulator.claims import claims
from tests.contract.emulator.driver import Meta, item


@claims("read.fields", "catalog.read")
async def test_default_fields_and_chosen_ones(meta: Meta) -> None:
    catalog = await meta.catalog()
    assert (await meta.get(f"/{catalog}")).body == {"id": catalog, "name": "Shoes"}
    chosen = (await meta.get(f"/{catalog}", fields="vertical,product_count")).body
    assert chosen == {"id": catalog, "vertical": "commerce", "product_count": 0}


@claims("read.expansion", "feed.list")
@pytest.mark.parametrize(
    "fields", ["product_feeds{id,name}", "product_feeds.fields(id,name)", "product_feeds.limit(5){id,name}"]
)
async def test_an_edge_expands_inside_a_node(meta: Meta, fields: str) -> None:
    catalog, feed = await meta.catalog_and_feed()
    found = (await meta.get(f"/{catalog}", fields=f"name,{fields}")).body
    assert found["product_feeds"]["data"] == [{"id": feed, "name": "Feed"}]


@claims("read.expansion")
async def test_a_node_expands_inside_a_node(meta: Meta) -> None:
    catalog, feed = await meta.catalog_and_feed()
    upload = await meta.upload(feed, [item("A")])
    found = (await meta.get(f"/{feed}", fields="latest_upload{id,num_detected_items}")).body
    assert found["latest_upload"] == {"id": upload, "num_detected_items": 1}
    rows = (await meta.get(f"/{catalog}/products", fields="retailer_id,product_feed{id,name},product_catalog")).rows
    assert rows[0]["product_feed"] == {"id": feed, "name": "Feed"}
    assert rows[0]["product_catalog"] == {"id": catalog, "name": "Shoes"}


@pytest.mark.parametrize("fields", ["a{", "a}", "a,,b", "a.limit(5", "a.fields()", "a{b}{"])
async def test_malformed_fields_are_syntax_errors(meta: Meta, fields: str) -> None:
    catalog = await meta.catalog()
    answer = await meta.get(f"/{catalog}", fields=fields)
    assert answer.code == 2500
    assert answer.message.startswith("Syntax error")


@claims("read.after_write")
async def test_fields_on_a_write_read_the_node(meta: Meta) -> None:
    made = await meta.post(f"/{meta.business}/owned_product_catalogs", name="A", fields="name,vertical")
    assert made.body == {"id": made["id"], "name": "A", "vertical": "commerce"}
    changed = await meta.post(f"/{made['id']}", name="B", fields="name")
    assert changed.body == {"id": made["id"], "name": "B"}


@claims("paging.cursors")
async def test_cursors_walk_a_list_both_ways(meta: Meta) -> None:
    catalog = await meta.catalog()
    feeds = [await meta.feed(catalog, f"F{n}") for n in range(7)]
    seen: list[str] = []
    page = await meta.get(f"/{catalog}/product_feeds", limit="3")
    while True:
        seen += [row["id"] for row in page.rows]
        assert "previous" in page["paging"] or len(seen) == 3
        if "next" not in page["paging"]:
            break
        assert page["paging"]["next"].startswith("http")
        page = await meta.get(f"/{catalog}/product_feeds", limit="3", after=page["paging"]["cursors"]["after"])
    assert seen == feeds
    back = await meta.get(f"/{catalog}/product_feeds", limit="3", before=page["paging"]["cursors"]["before"])
    assert [row["id"] for row in back.rows] == feeds[3:6]


@claims("paging.cursors")
async def test_the_next_url_can_be_called_as_it_is(meta: Meta) -> None:
    catalog = await meta.catalog()
    for number in range(3):
        await meta.feed(catalog, f"F{number}")
    page = await meta.get(f"/{catalog}/product_feeds", limit="2", fields="name")
    answer = await meta.client.get(page["paging"]["next"])
    assert [row["name"] for row in answer.json()["data"]] == ["F2"]


@claims("switch.short_pages", "paging.cursors")
async def test_a_short_page_is_not_the_last(make: Any) -> None:
    meta: Meta = await make(switches={"short_pages": "true"})
    catalog = await meta.catalog()
    names = {await meta.feed(catalog, f"F{n}") for n in range(40)}
    sizes: list[int] = []
    seen: set[str] = set()
    after = ""
    while True:
        page = await meta.get(f"/{catalog}/product_feeds", limit="4", **({"after": after} if after else {}))
        sizes.append(len(page.rows))
        seen |= {row["id"] for row in page.rows}
        if "next" not in page["paging"]:
            break
        after = page["paging"]["cursors"]["after"]
    assert seen == names
    assert 2 in sizes[:-1], "some page before the last is short"


@claims("switch.page_limit_max")
async def test_no_page_is_longer_than_the_edge_allows(make: Any) -> None:
    meta: Meta = await make(switches={"page_limit_max": 5})
    catalog = await meta.catalog()
    for number in range(7):
        await meta.feed(catalog, f"F{number}")
    page = await meta.get(f"/{catalog}/product_feeds", limit="5000")
    assert len(page.rows) == 5
    assert "next" in page["paging"]


@claims("paging.summary")
async def test_a_total_comes_only_where_it_is_asked_for(meta: Meta) -> None:
    catalog = await meta.catalog()
    for number in range(3):
        await meta.feed(catalog, f"F{number}")
    assert "summary" not in (await meta.get(f"/{catalog}/product_feeds")).body
    for asked in ("true", "total_count"):
        page = await meta.get(f"/{catalog}/product_feeds", limit="1", summary=asked)
        assert page["summary"] == {"total_count": 3}


@pytest.mark.parametrize("value", ["0", "-1", "many"])
async def test_a_limit_must_be_a_number(meta: Meta, value: str) -> None:
    catalog = await meta.catalog()
    assert (await meta.get(f"/{catalog}/product_feeds", limit=value)).code == 100


async def test_a_foreign_cursor_is_an_error(meta: Meta) -> None:
    catalog = await meta.catalog()
    assert (await meta.get(f"/{catalog}/product_feeds", after="nonsense!")).code == 100


async def test_several_nodes_in_one_call(meta: Meta) -> None:
    one, two = await meta.catalog("One"), await meta.catalog("Two")
    found = (await meta.get("/", ids=f"{one},{two}", fields="name")).body
    assert {found[one]["name"], found[two]["name"]} == {"One", "Two"}


async def test_an_unchanged_read_is_304(meta: Meta) -> None:
    catalog = await meta.catalog()
    first = await meta.get(f"/{catalog}")
    again = await meta.call("GET", f"/{catalog}", headers={"If-None-Match": first.headers["etag"]})
    assert again.status == 304
    await meta.post(f"/{catalog}", name="Other")
    changed = await meta.call("GET", f"/{catalog}", headers={"If-None-Match": first.headers["etag"]})
    assert changed.status == 200


async def test_bodies_may_be_form_json_or_multipart(meta: Meta) -> None:
    catalog = await meta.catalog()
    display = {kind: {"transformation_type": "none"} for kind in ("carousel_ad", "single_ad")}
    bodies: list[dict[str, Any]] = [
        {"data": {"da_display_settings": json.dumps(display)}},
        {"json": {"da_display_settings": display}},
        {"files": {"da_display_settings": (None, json.dumps(display))}},
    ]
    for body in bodies:
        assert (await meta.call("POST", f"/{catalog}", **body)).body == {"success": True}
        found = (await meta.get(f"/{catalog}", fields="da_display_settings")).body
        assert found["da_display_settings"] == display


async def test_indexed_parameters_are_a_list(meta: Meta) -> None:
    catalog = await meta.catalog()
    data = {"fallback_image_url[0]": "https://a.example/1.jpg", "fallback_image_url[1]": "https://a.example/2.jpg"}
    assert (await meta.call("POST", f"/{catalog}", data=data)).status == 200
    found = (await meta.get(f"/{catalog}", fields="fallback_image_url")).body
    assert found["fallback_image_url"] == ["https://a.example/1.jpg", "https://a.example/2.jpg"]


async def test_a_broken_body_is_an_error(meta: Meta) -> None:
    catalog = await meta.catalog()
    answer = await meta.call("POST", f"/{catalog}", content=b"{", headers={"Content-Type": "application/json"})
    assert answer.code == 100


@claims("batch_requests.run")
async def test_calls_in_a_batch_are_answered_in_order(meta: Meta) -> None:
    catalog = await meta.catalog()
    calls = [
        {"method": "GET", "relative_url": f"v26.0/{catalog}?fields=name"},
        {"method": "POST", "relative_url": f"{catalog}/product_feeds", "body": "name=One"},
        {"method": "GET", "relative_url": "4242"},
        {"method": "DELETE", "relative_url": f"{catalog}?allow_delete_catalog_with_live_product_set=true"},
    ]
    answers = (await meta.call("POST", "/", data={"batch": json.dumps(calls), "include_headers": "false"})).body
    assert [answer["code"] for answer in answers] == [200, 200, 400, 200]
    assert json.loads(answers[0]["body"]) == {"id": catalog, "name": "Shoes"}
    assert json.loads(answers[2]["body"])["error"]["error_subcode"] == 33
    assert "headers" not in answers[0]
    too_many = await meta.call("POST", "/", data={"batch": json.dumps(calls * 13)})
    assert too_many.code == 100
