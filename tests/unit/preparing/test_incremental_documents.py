"""XML and JSON documents of which only the changed records are parsed: the same as parsing everything, or nothing."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.unit.preparing.test_incremental import (
    ALONE,
    EDIT,
    SHARED,
    TITLES,
    Twins,
    edited,
    later_tables,
)
from tests.unit.preparing.world import Row, product

GOOGLE = "http://base.google.com/ns/1.0"
STRANGE = (
    "<item><g:id>s{0}</g:id><g:title>never closed</item>",
    "<item><g:id>s{0}</g:id><g:title><![CDATA[</item> & <item>]]></g:title></item>",
    "<item><g:id>s{0}</g:id><g:title><![CDATA[<!-- ]]></g:title></item>",
    "<item><!-- </item> --><g:id>s{0}</g:id><g:title>t</g:title></item>",
    "<item><?php </item> ?><g:id>s{0}</g:id></item>",
    "<item><g:id>s{0}</g:id><g:title>inner</g:title><item><g:id>n</g:id></item></item>",
    "<item><x:id>s{0}</x:id><g:id>s{0}</g:id></item>",
    "<item><g:id>s{0}</g:id><g:title>&nbsp; &e;</g:title></item>",
    "<item><g:id>s{0}</g:id><g:title>a&#x20;b</g:title></item >",
    '<item a="1"><g:id b="2">s{0}</g:id></item\n>',
    "<item/>",
    "<item ><g:id>s{0}</g:id></item>",
    "<title>between</title>",
    "<!-- <item> -->",
    "text between",
    "<g:id>behind</g:id></item>",
    "<items><id>1</id></items>",
    "<item><g:id>s{0}</g:id><g:title>\x01</g:title></item>",
    "<item><g:id>s{0}</g:id><![CDATA[never closed</item>",
)
HEADS = (
    '<?xml version="1.0"?>\n<rss xmlns:g="{0}"><channel>\n',
    '<?xml version="1.0"?>\n<rss xmlns:g="{0}">\n<channel><lastBuildDate>today</lastBuildDate>\n',
    '<!DOCTYPE rss [<!ENTITY e "x">]><rss xmlns:g="{0}"><channel><!-- a comment -->',
    '<rss xmlns:g="{0}" xmlns:x="urn:x"><channel>\n',
    '<!-- <item> --><rss xmlns:g="{0}"><channel>\n',
)
TAILS = ("</channel></rss>\n", "<ttl>5</ttl>\n</channel>\n</rss>", "</channel>", "text</channel></rss>", "</rss>")


def text(value: str) -> str:
    return value.replace("&", "&amp;").replace("<", "&lt;")


def as_item(row: Row, number: int) -> str:
    def value(name: str, content: str) -> str:
        inner = f"<![CDATA[{content}]]>" if number % 3 == 0 and name == "title" else text(content)
        return f"<g:{name}>{inner}</g:{name}>" if content else ""

    gap = "\n  " if number % 4 == 0 else ""
    return f"<item>{gap}" + gap.join(value(*each) for each in row.items()) + "</item>"


def as_xml(rows: list[Row], between: str = "\n", head: str = HEADS[0], tail: str = TAILS[0]) -> bytes:
    items = between.join(as_item(row, int(row["id"][1:] or 0) if row["id"][1:].isdigit() else 1) for row in rows)
    return (head.format(GOOGLE) + items + tail).encode()


TURN = st.tuples(
    st.lists(EDIT, max_size=4),
    st.lists(st.tuples(st.integers(0, 45), st.sampled_from(STRANGE)), max_size=2),
    st.sampled_from(HEADS[:1] * 4 + HEADS),
    st.sampled_from(TAILS[:1] * 4 + TAILS),
    st.sampled_from(["full", "batch", "none"]),
)


@settings(
    max_examples=12,
    deadline=None,
    report_multiple_bugs=False,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    st.lists(TURN, min_size=2, max_size=4),
    st.sampled_from(["\n", "\n\n  ", "", " ", "\n<!-- x -->\n"]),
    st.sampled_from([ALONE, SHARED]),
    st.sampled_from(["utf-8", "utf-16"]),
)
def test_changed_items_alone_give_what_everything_gives(
    turns: list[tuple[list[tuple[str, int, int]], list[tuple[int, str]], str, str, str]],
    between: str,
    shared: int,
    encoding: str,
) -> None:
    with tempfile.TemporaryDirectory() as name:
        twins = Twins(Path(name), 1, shared)
        rows = [product(f"{number:03}", title=TITLES[number % 5]) for number in range(40)]
        twins.look(as_xml(rows, between).decode().encode(encoding))
        twins.send("full")
        for edits, strange, head, tail, method in turns:
            for edit in edits:
                rows = edited(rows, edit)
            items = [as_xml([row], head="", tail="").decode() for row in rows]
            for number, (place, content) in enumerate(strange):
                items.insert(place, content.format(number))
            content = head.format(GOOGLE) + between.join(items) + tail
            twins.look(content.encode(encoding))
            if twins.worlds[0].head is not None:
                twins.send(method)


@pytest.mark.parametrize("shared", [ALONE, SHARED])
@pytest.mark.parametrize("between", ["\n", "", "\n  <!-- one more -->\n", "\n\n"])
def test_only_changed_items_are_parsed(tmp_path: Path, between: str, shared: int) -> None:
    twins = Twins(tmp_path, 1, shared)
    rows = [product(f"{number:04}") for number in range(200)]
    twins.look(as_xml(rows, between))
    twins.send("full")
    rows[3]["price"], rows[100]["price"], rows[101]["title"] = "1 EUR", "cheap", "another"
    result = twins.look(as_xml([*rows[:50], *rows[51:], product("new")], between, head=HEADS[1]))
    assert later_tables(twins) == 1
    assert (result.pending[0].volatile, result.pending[0].static, result.pending[0].creations) == (1, 1, 1)
    rows[3]["price"] = "2 EUR"
    twins.look(as_xml(rows, between, head=HEADS[1], tail=TAILS[1]))


def test_an_item_that_cannot_be_read_stays_named(tmp_path: Path) -> None:
    twins = Twins(tmp_path, 1, ALONE)
    rows = [product(f"{number:04}") for number in range(200)]
    broken = as_xml(rows).replace(b"<g:id>0040<", b"<g:id>0040&e;<")
    twins.look(broken)
    twins.send("full")
    changed = broken.replace(b"<g:id>0003</g:id>", b"<g:id>0003b</g:id>")
    result = twins.look(changed)
    assert later_tables(twins) == 1
    said = {each.rule: each.message for each in result.checks}
    assert "line 133–142" in said["row-malformed"]
    assert "uses the entity &e;" in said["row-malformed"]


def test_a_document_that_is_cut_is_refused(tmp_path: Path) -> None:
    twins = Twins(tmp_path, 1, ALONE)
    rows = [product(f"{number:04}") for number in range(200)]
    twins.look(as_xml(rows))
    result = twins.look(as_xml(rows)[:-7])
    assert result.refused is not None
    assert "cut short" in result.refused.message


def as_json(rows: Sequence[Mapping[str, object]], how: dict[str, object], path: str) -> bytes:
    options: dict[str, object] = {"ensure_ascii": False, **how}
    document: object = rows
    if path:
        members = {"other": [{"id": 1}, {"id": 2}], "products": rows, "shops": [{"name": 1}, {"name": 2}]}
        document = {"made": {"at": "12:00"}, "data": members}
    return json.dumps(document, **options).encode()  # type: ignore[arg-type]  # json's own options


STYLES: tuple[dict[str, object], ...] = (
    {},
    {"indent": 1},
    {"separators": (",", ":")},
    {"indent": 2, "sort_keys": True},
)
NESTED: tuple[dict[str, object], ...] = (
    {},
    {"nested": {"a": [1, {"id": "x"}], "b": "}, {"}},
    {"variants": [{"id": "1", "n": 2}, {"id": "3"}]},
    {"title": '"},{"id":"'},
    {"title": '},\n {\n  "id": [['},
)


@settings(
    max_examples=12,
    deadline=None,
    report_multiple_bugs=False,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    st.lists(
        st.tuples(st.lists(EDIT, max_size=4), st.integers(0, 39), st.sampled_from(NESTED), st.booleans()),
        min_size=2,
        max_size=4,
    ),
    st.sampled_from(STYLES),
    st.sampled_from(["", "data.products"]),
    st.sampled_from([ALONE, SHARED]),
)
def test_changed_elements_alone_give_what_everything_gives(
    turns: list[tuple[list[tuple[str, int, int]], int, dict[str, object], bool]],
    style: dict[str, object],
    path: str,
    shared: int,
) -> None:
    with tempfile.TemporaryDirectory() as name:
        twins = Twins(Path(name), 1, shared)
        for world in twins.worlds:
            world.entry = world.entry.model_copy(
                update={"format": world.entry.format.model_copy(update={"rows_at": path or None})}
            )
        rows = [product(f"{number:03}", title=TITLES[number % 5]) for number in range(40)]
        every = {key: value for each in NESTED for key, value in each.items()}
        twins.look(as_json([*rows, {**product("last"), **every}], style, path))
        twins.send("full")
        for edits, at, nested, broken in turns:
            for edit in edits:
                rows = edited(rows, edit)
            shown: list[dict[str, object]] = [*(dict[str, object](row) for row in rows), {**product("last"), **every}]
            shown[at % len(shown)].update(nested)
            content = as_json(shown, style, path)
            twins.look(content.replace(b'"brand"', b'"brand', 1) if broken else content)
            if twins.worlds[0].head is not None:
                twins.send("batch")


@pytest.mark.parametrize("shared", [ALONE, SHARED])
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("path", ["", "data.products"])
def test_only_changed_elements_are_parsed(tmp_path: Path, style: dict[str, object], path: str, shared: int) -> None:
    twins = Twins(tmp_path, 1, shared)
    for world in twins.worlds:
        world.entry = world.entry.model_copy(
            update={"format": world.entry.format.model_copy(update={"rows_at": path or None})}
        )
    rows = [product(f"{number:04}") for number in range(200)]
    twins.look(as_json(rows, style, path))
    twins.send("full")
    rows[3]["price"], rows[199]["price"], rows[101]["title"] = "1 EUR", "cheap", '"}, {"'
    result = twins.look(as_json([*rows[:50], *rows[51:], product("new")], style, path))
    assert later_tables(twins) == 1
    assert (result.pending[0].volatile, result.pending[0].static, result.pending[0].creations) == (1, 1, 1)


def test_what_looks_like_more_of_the_array_has_everything_parsed(tmp_path: Path) -> None:
    twins = Twins(tmp_path, 1, ALONE)
    for world in twins.worlds:
        world.entry = world.entry.model_copy(
            update={"format": world.entry.format.model_copy(update={"rows_at": "rows"})}
        )
    rows = [product(f"{number:04}") for number in range(200)]
    document = {"rows": rows, "shops": [{"id": "a"}, {"id": "b"}]}
    twins.look(json.dumps({"rows": rows}).encode())
    rows[3]["price"] = "1 EUR"
    result = twins.look(json.dumps(document).encode())
    assert result.pending[0].volatile + result.pending[0].creations == 200
    assert result.checks[0].rule != "row-malformed"
