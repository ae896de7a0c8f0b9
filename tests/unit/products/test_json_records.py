"""JSON: rows out of a document of any size, digits kept, nested values reached, broken rows named."""

import json
from collections.abc import Iterator

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.api.v1alpha1.items import FileType
from controller.faults import Fault
from controller.products import nested, reading, shapes
from controller.products.records import LINE, Findings
from controller.products.shapes import Shape

LINE_MAX = 5_242_880


def pieces(content: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def read(content: bytes, at: str = "", *, size: int = 1 << 20, block: int = 1 << 20) -> tuple[list[dict], Findings]:  # type: ignore[type-arg]
    findings = Findings()
    shape = Shape(FileType.JSON, rows_at=tuple(at.split(".")) if at else ())
    frames = list(reading.read(pieces(content, size), shape, findings, line_bytes_max=LINE_MAX, block_bytes=block))
    return pl.concat(frames, how="diagonal").to_dicts(), findings


def refused(content: bytes, at: str = "", block: int = 1 << 20) -> str:
    with pytest.raises(Fault) as caught:
        read(content, at, block=block)
    assert caught.value.reason == "SourceMalformed"
    return caught.value.message


def ids(rows: list[dict[str, object]]) -> list[object]:
    return [row.get("id") for row in rows]


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("at", "document"),
    [
        ("", '[{"id":"1"},{"id":"2"}]'),
        ("products", '{"meta":{"n":[1,2,"]}"]},"products":[{"id":"1"},{"id":"2"}],"more":[1]}'),
        ("data.items", ' { "page" : 1 , "data":{"x":"\\"{[","items": [ {"id":"1"} , {"id":"2"} ] } } \n'),
        ("data.items", '{"data":{"items":[{"id":"1"},\n{"id":"2"}\n],"next":null}}'),
    ],
)
def test_the_array_is_found_wherever_it_is(at: str, document: str, block: int) -> None:
    rows, findings = read(document.encode(), at, block=block, size=block)
    assert ids(rows) == ["1", "2"]
    assert [row[LINE] for row in rows] == [1, 2]
    assert findings.complete
    assert findings.unit == "row"


def test_values_keep_their_digits_and_have_an_inside() -> None:
    row = {"id": "007", "n": 12345678901234567890, "ok": True, "none": None, "tags": ["a", "b"]}
    text = json.dumps(row)[:-1] + ',"price":{"amount":9.90,"unit":{"code":"EUR"}},"variants":[{"sku":1e3},{"sku":"B"}]}'
    rows, _ = read(f"[{text}]".encode())
    (found,) = rows
    assert found["id"] == "007"
    assert found["n"] == "12345678901234567890"
    assert found["ok"] == "true"
    assert found["none"] is None
    assert (found["tags"], found["tags.0"], found["tags.1"]) == ('["a","b"]', "a", "b")
    assert found["price"] == '{"amount":9.90,"unit":{"code":"EUR"}}'
    assert (found["price.amount"], found["price.unit.code"]) == ("9.90", "EUR")
    assert (found["variants.0.sku"], found["variants.1.sku"]) == ("1e3", "B")


@pytest.mark.parametrize("cut", [1, 2, 5, 20, 60, 79])
@pytest.mark.parametrize("block", [3, 1 << 20])
def test_a_cut_document_is_refused(cut: int, block: int) -> None:
    document = json.dumps({"products": [{"id": str(number), "t": "x"} for number in range(4)]}).encode()
    assert "cut short" in refused(document[:-cut], "products", block)


def test_a_wrong_path_is_answered_with_what_is_there() -> None:
    assert "format.rowsAt (found: products, other)" in refused(b'{"a":1,"products":[],"other":[]}')
    assert "members there: a, b" in refused(b'{"a":1,"b":{}}', "products")
    assert "is no array" in refused(b'{"products":{"id":1}}', "products")


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ('{"id":"x","t":}', "is not valid JSON"),
        ('{"id":"x","t":"y}', "is not valid JSON"),
        ('{"id":"x" "t":"y"}', "is not valid JSON"),
        ("null", "is not an object"),
        ('"text"', "is not an object"),
        ('{"id":"x","t":"\udcff"}', "is not UTF-8"),
        ('{"id":"x","t":[{"id":"inner","u":1}, {"id":"inner2"}],,}', "is not valid JSON"),
        ('{"id":"x","t":"y"} garbage', "is followed by what is no row"),
        ("\x00\x01[[[", "is not valid JSON"),
    ],
)
@pytest.mark.parametrize("block", [11, 1 << 20])
def test_a_broken_row_costs_itself(broken: str, reason: str, block: int) -> None:
    good = [json.dumps({"id": str(number), "t": "a", "u": "b", "v": "c"}) for number in range(6)]
    document = ("[" + ",\n".join([*good[:3], broken, *good[3:]]) + "]").encode("utf-8", "surrogateescape")
    rows, findings = read(document, block=block)
    assert [each for each in ids(rows) if each != "x"] == ["0", "1", "2", "3", "4", "5"]
    assert findings.samples[0].reason == reason
    assert not findings.complete


def test_a_document_keyed_by_id_is_no_memory_problem() -> None:
    content = b"".join(b'{"k%d":1}\n' % number for number in range(nested.COLUMNS_MAX * 3))
    with pytest.raises(Fault, match="keyed by an id"):
        list(reading.read([content], Shape(FileType.JSON_LINES), Findings(), line_bytes_max=LINE_MAX))


def test_nested_columns_have_a_limit_and_the_text_has_all() -> None:
    item = {"id": "1", "by": {f"k{number}": number for number in range(nested.COLUMNS_MAX * 3)}}
    rows, _ = read(json.dumps([item]).encode())
    assert len(rows[0]) <= nested.COLUMNS_MAX + 2
    assert json.loads(rows[0]["by"])["k3000"] == 3000


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'[{"id":1}]', FileType.JSON),
        (b'{"products":[{"id":1}]}', FileType.JSON),
        (b'{\n  "products": [\n', FileType.JSON),
        (b'{"products":[{"id":1},' + b'{"id":2},' * 100, FileType.JSON),
        (b'{"id":1}\n{"id":2}\n', FileType.JSON_LINES),
        (b'{"id":1}', FileType.JSON_LINES),
        (b'{"id":1,"variants":[{"sku":1}]}\n{"id":2}', FileType.JSON_LINES),
        (b'{"id":\n{"id":2}\n', FileType.JSON_LINES),
        (b"<rss>", FileType.XML),
        (b"<?xml version='1.0'?><rss/>", FileType.XML),
        (b"PAR1\x00", FileType.PARQUET),
    ],
)
def test_formats_are_told_apart(content: bytes, expected: FileType) -> None:
    assert shapes.detect(content).type is expected


def test_json_lines_that_end_in_the_middle_are_refused() -> None:
    with pytest.raises(Fault, match="cut short"):
        list(reading.read([b'{"id":1}\n{"id'], Shape(FileType.JSON_LINES), Findings(), line_bytes_max=LINE_MAX))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(
    rows=st.lists(st.dictionaries(st.sampled_from(["a", "b", "c"]), VALUES, max_size=3), min_size=1, max_size=6),
    block=st.integers(1, 60),
    indent=st.sampled_from([None, 2]),
)
def test_what_json_writes_is_read_back(rows: list[dict[str, object]], block: int, indent: int | None) -> None:
    content = json.dumps({"n": [{}], "rows": rows, "end": {"x": [1]}}, ensure_ascii=False, indent=indent)
    found, findings = read(content.encode("utf-8", "replace"), "rows", block=block, size=block)
    assert findings.complete
    assert len(found) == len(rows)
    for row, item in zip(found, rows, strict=True):
        for name, value in item.items():
            if isinstance(value, dict | list):
                assert json.loads(row[name]) == json.loads(json.dumps(value).encode("utf-8", "replace"))
