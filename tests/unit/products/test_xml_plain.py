"""Plain items are read as an XML parser reads them, and what is not plain is left to it."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from controller.products.records import Findings
from controller.products.xml_records import Head, Reader

SPACES = ((b"", b'"urn:own"'), (b"g", b'"http://base.google.com/ns/1.0"'), (b"y", b'"urn:y"'))
HEAD = Head(b"rss", b"item", SPACES)
NAMES = st.sampled_from(["id", "g:id", "title", "y:title", "u:x", "é", "a.b-c", "xmlns", "xml:lang", "g:", "1a"])
PARTS = (
    "a",
    " ",
    "\n",
    "\r",
    "\r\n",
    "\t",
    "&amp;",
    "&lt;",
    "&#65;",
    "&nbsp;",
    "&",
    ">",
    "]]>",
    "]]",
    "ä",
    "🙂",
    "\x01",
)
STRANGE = (
    "<![CDATA[",
    "<![CDATA[x & <b>]]>",
    "<!-- c -->",
    "<?p?>",
    "<b>",
    "</b>",
    "<b/>",
    "\ufffe",
    "\u2028",
    "&amp;lt;",
)
TEXTS = st.lists(st.sampled_from(PARTS + STRANGE), max_size=4).map("".join)
FIELD = st.tuples(NAMES, st.sampled_from(["", "", "", " ", ' a="1"']), TEXTS, st.sampled_from(["", "", "", " "])).map(
    lambda each: f"<{each[0]}{each[1]}>{each[2]}</{each[0]}{each[3]}>"
)


def by_the_parser(raw: bytes) -> "dict[str, str | None] | str":
    """The row that a tree gives: an attribute keeps an item from being plain, and is a column of its own."""
    reader = Reader(HEAD, Findings(), 1 << 20, inside=True)
    frames = list(reader.frames(raw.replace(b"<item", b'<item plain="no"', 1) + b"\n</rss>", iter(())))
    rows = [row for frame in frames for row in frame.drop("_line").to_dicts()]
    if len(rows) != 1:
        return "no row"
    return {name: value for name, value in rows[0].items() if name != "@plain"}


def plainly(raw: bytes) -> "dict[str, str | None] | None":
    reader = Reader(HEAD, Findings(), 1 << 20, inside=True)
    return reader.plain.row(raw)


@given(st.lists(st.tuples(FIELD, st.sampled_from(["", "\n", " x ", "&amp;", "&", "<!-- -->"])), max_size=5))
@example([("<id><![CDATA[]]></id>", "")])
@example([("<id> <![CDATA[ a ]]> </id>", ""), ("<title>&amp;lt;</title>", "\n")])
def test_what_is_plain_is_what_the_parser_reads(fields: list[tuple[str, str]]) -> None:
    raw = ("<item>" + "".join(field + gap for field, gap in fields) + "</item>").encode()
    found = plainly(raw)
    if found is not None:
        assert found == by_the_parser(raw)


@given(st.binary(max_size=40), st.integers(0, 60))
def test_bytes_in_the_middle_are_read_as_the_parser_reads_them(garbage: bytes, at: int) -> None:
    raw = b"<item><id>1</id>\n<title>a &amp; b</title><g:id>2</g:id></item>"
    at = 6 + at % (len(raw) - 13)
    raw = raw[:at] + garbage + raw[at:]
    found = plainly(raw) if raw.count(b"</item") == 1 else None
    if found is not None:
        assert found == by_the_parser(raw)


@pytest.mark.parametrize(
    ("inner", "row"),
    [
        ("<id>1</id><g:id> 2 </g:id>", {"id": "1", "g:id": "2"}),
        ("<id>a &amp;lt; &quot;b&apos;</id>", {"id": "a &lt; \"b'"}),
        ("<id><![CDATA[<p>a & b</p>]]></id><title/>", None),
        ("<id><![CDATA[<p>a & b</p>]]></id>\n<u:x>1</u:x>", {"id": "<p>a & b</p>", "u:x": "1"}),
        ("<id>1</id><id>2</id>", None),
        ("<id>1</id>loose &amp; text", {"id": "1"}),
        ("<id>1</id>loose & text", None),
        ("<id></id>", {"id": None}),
    ],
)
def test_which_items_are_plain(inner: str, row: "dict[str, str | None] | None") -> None:
    assert plainly(f"<item>{inner}</item>".encode()) == row
    assert plainly(re.sub("^", "<item a='1'>", inner).encode() + b"</item>") is None
