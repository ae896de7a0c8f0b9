"""Whatever a client sends, it gets an answer in the documented shape; nothing makes the emulator fall over."""

import asyncio
from typing import Any
from urllib.parse import urlencode

from hypothesis import given, settings
from hypothesis import strategies as st

from hack.emulator import bodies, jsons, wire
from hack.emulator.app import Emulator
from hack.emulator.routing import ROUTES, Type
from hack.emulator.world import TEST_TOKEN
from tests.contract.emulator.driver import PROMPT, Clock, feed_file, item

NAMES = sorted(
    {name for route in ROUTES.values() for name in route.params} | {"fields", "limit", "after", "summary", "ids"}
)
EDGES = sorted({edge for _, _, edge in ROUTES if edge} | {"product_sets", "nonsense", ""})
words = st.sampled_from(
    [
        "", "true", "1", "0", "-1", "id", "id,name", "a{b", "[]", "{}", "null", "[1]", "USD", "A", "HIGH",
        "😀", "\x00", "²",
        '{"retailer_id":{"eq":"A"}}', '{"retailer_id":{"is_any":[1]}}', '{"and":[]}', "PRODUCT_ITEM", "http://x.example/f",
        '[{"method":"UPDATE","data":{"id":"A","price":"1 EUR"}}]', '[{"method":"UPDATE","data":{"id":["A"]}}]',
        '[{"method":"CREATE","data":{"id":7,"image":[{"url":1}],"title":null}}]', "99999999999999999999", "ä" * 40,
        "latest_upload{id}", "products{id}", "uploads.limit(1){errors{samples}}",
        "UVZGSVVrOjk5OTk5OTk5OTk5OTk5OTk5OTk5",
    ]
)  # fmt: skip
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**20) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
parameters = st.dictionaries(st.sampled_from(NAMES), words, max_size=4)
kinds = st.sampled_from(
    ["business", "catalog", "feed", "upload", "error", "item", "me", "app", "unknown", "root", "huge"]
)


@settings(max_examples=200, deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "DELETE", "PUT"]),
    kind=kinds,
    edge=st.sampled_from(EDGES),
    query=parameters,
    body=st.one_of(
        st.none(), parameters, st.dictionaries(st.sampled_from(NAMES), json_values, max_size=4), st.binary(max_size=40)
    ),
    content_type=st.sampled_from(
        ["", "application/json", "application/x-www-form-urlencoded", "multipart/form-data", "nonsense"]
    ),
)
def test_anything_is_answered(
    method: str, kind: str, edge: str, query: dict[str, str], body: Any, content_type: str
) -> None:
    asyncio.run(_anything(method, kind, edge, query, body, content_type))


async def _anything(method: str, kind: str, edge: str, query: dict[str, str], body: Any, content_type: str) -> None:
    emulator = Emulator(clock=Clock(), switches=PROMPT)
    ids = await _populate(emulator)
    path = "/v26.0/" + "/".join(part for part in (ids[kind], edge) if part)
    text = urlencode({"access_token": TEST_TOKEN, **query})
    content = body if isinstance(body, bytes) else b"" if body is None else jsons.dump(_plain(body))
    headers = {"content-type": content_type} if content_type else {}
    answer = await emulator.handle(wire.Request(method, path, text, headers, content))
    assert answer.status in (200, 400, 500, 501), answer.body
    document = jsons.parse(answer.body)
    if answer.status != 200:
        error = jsons.as_object(jsons.as_object(document)["error"])
        assert isinstance(error["code"], int)
        assert error["message"]
    emulator.close()


def _plain(body: Any) -> Any:
    """Integers that JSON can't carry are left out."""
    if isinstance(body, dict):
        return {name: _plain(value) for name, value in body.items()}
    if isinstance(body, list):
        return [_plain(value) for value in body]
    return str(body) if isinstance(body, int) and abs(body) >= 2**63 else body


async def _populate(emulator: Emulator) -> dict[str, str]:
    async def call(method: str, path: str, content: bytes = b"", kind: str = "") -> dict[str, Any]:
        request = wire.Request(method, f"/v26.0{path}", f"access_token={TEST_TOKEN}", {"content-type": kind}, content)
        return dict(jsons.as_object(jsons.parse((await emulator.handle(request)).body)))

    clock = emulator._clock
    assert isinstance(clock, Clock)
    catalog = (await call("POST", "/1234567890/owned_product_catalogs", b"name=A"))["id"]
    feed = (await call("POST", f"/{catalog}/product_feeds", b"name=F"))["id"]
    file = feed_file([item("A"), item("B", price="bad")])
    multipart = b'--B\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + file + b"\r\n--B--\r\n"
    upload = (await call("POST", f"/{feed}/uploads", multipart, "multipart/form-data; boundary=B"))["id"]
    clock.now += 60
    error = (await call("GET", f"/{upload}/errors"))["data"][0]["id"]
    number = (await call("GET", f"/{catalog}/products"))["data"][0]["id"]
    return {
        "business": "1234567890",
        "catalog": catalog,
        "feed": feed,
        "upload": upload,
        "error": error,
        "item": number,
        "me": "me",
        "app": "app",
        "unknown": "4242",
        "root": "",
        "huge": "9" * 30,
    }


def test_the_names_above_are_those_of_the_routes() -> None:
    assert {"requests", "filter", "file", "input_token"} <= set(NAMES)
    assert {type_ for _, type_, _ in ROUTES} >= {Type.CATALOG, Type.FEED, Type.UPLOAD, Type.ITEM}
    assert issubclass(bodies.UploadedFile, object)
