"""XML feeds: RSS, Atom and others, item by item, without entities, and with every broken item named."""

from collections.abc import Iterator

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.api.v1alpha1.items import FileType
from controller.faults import Fault
from controller.products import reading
from controller.products.records import LINE, Findings
from controller.products.shapes import Shape

LINE_MAX = 5_242_880
RSS = b"""<?xml version="1.0"?>
<rss xmlns:g="http://base.google.com/ns/1.0" version="2.0">
<channel><title>Shop</title>
%s
</channel>
</rss>
"""


def pieces(content: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def read(
    content: bytes, at: str = "", *, block: int = 1 << 20, line_max: int = LINE_MAX
) -> tuple[list[dict[str, object]], Findings]:
    findings = Findings()
    shape = Shape(FileType.XML, rows_at=tuple(at.split(".")) if at else ())
    frames = list(reading.read(pieces(content, block), shape, findings, line_bytes_max=line_max, block_bytes=block))
    return pl.concat(frames, how="diagonal").to_dicts(), findings


def rss(*items: bytes) -> bytes:
    return RSS % b"\n".join(items)


def item(number: int, inner: bytes = b"") -> bytes:
    return b"<item><g:id>%d</g:id><title>t %d</title>%b</item>" % (number, number, inner)


def ids(rows: list[dict[str, object]]) -> list[object]:
    return [row["g:id"] for row in rows]


@pytest.mark.parametrize("block", [1, 13, 64, 1 << 20])
def test_items_are_rows_whatever_the_blocks(block: int) -> None:
    rows, findings = read(rss(*map(item, range(30))), block=block)
    assert ids(rows) == [str(number) for number in range(30)]
    assert [row[LINE] for row in rows] == list(range(4, 34))
    assert findings.complete


def test_values_are_joined_nested_and_plain() -> None:
    inner = b"""
      <description><![CDATA[<b>5 > 3</b> </item> & so on]]></description>
      <link>https://shop.example/?a=1&amp;b=2</link>
      <!-- </item> -->
      <g:additional_image_link>https://a</g:additional_image_link>
      <g:additional_image_link>https://b</g:additional_image_link>
      <g:shipping><g:country>DE</g:country><g:price>4.90 EUR</g:price></g:shipping>
      <g:shipping><g:country>AT</g:country></g:shipping>
      <g:price currency="EUR">09.90</g:price><empty/>"""
    (row,), findings = read(rss(item(7, inner)))
    assert findings.complete
    assert row["description"] == "<b>5 > 3</b> </item> & so on"
    assert row["link"] == "https://shop.example/?a=1&b=2"
    assert row["g:additional_image_link"] == "https://a,https://b"
    assert (row["g:shipping.country"], row["g:shipping.0.price"], row["g:shipping.1.country"]) == (
        "DE",
        "4.90 EUR",
        "AT",
    )
    assert row["g:shipping"] == '[{"country":"DE","price":"4.90 EUR"},{"country":"AT"}]'
    assert (row["g:price"], row["g:price.currency"]) == ("09.90", "EUR")
    assert row["empty"] is None


def test_atom_and_other_documents() -> None:
    atom = b"""<feed xmlns="http://www.w3.org/2005/Atom" xmlns:x="http://base.google.com/ns/1.0"><title>S</title>
    <entry><x:id>1</x:id><link rel="alternate" href="https://a"/><link rel="self" href="https://b"/></entry></feed>"""
    (row,), _ = read(atom)
    assert (row["g:id"], row["link"]) == ("1", "https://a")
    shop = b"<shop><offers><offer id='1'><n>a</n></offer><offer id='2'><n>b</n></offer></offers></shop>"
    rows, findings = read(shop, "shop.offers.offer")
    assert [(row["@id"], row["n"]) for row in rows] == [("1", "a"), ("2", "b")]
    assert findings.complete
    rows, _ = read(b"<r xmlns:y='u'><y:item><y:a>1</y:a></y:item></r>")
    assert rows[0]["y:a"] == "1"


def test_a_document_without_known_rows_is_answered_with_what_it_has() -> None:
    with pytest.raises(Fault, match=r"format.rowsAt \(found: things, thing, name\)"):
        read(b"<things><thing><name>x</name></thing></things>"[:46].replace(b"<things>", b"<r><things>"))


def test_entities_and_document_types_are_never_resolved(tmp_path: object) -> None:
    bomb = b"""<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">
    <!ENTITY x SYSTEM "file:///etc/passwd">]><rss><channel>
    <item><id>1</id><title>&b;</title></item><item><id>2</id><title>&x;</title></item>
    <item><id>3</id><title>&lt;ok&gt; &#228;</title></item></channel></rss>"""
    rows, findings = read(bomb)
    assert [(row["id"], row["title"]) for row in rows] == [("3", "<ok> ä")]
    assert [each.reason for each in findings.samples][-1].startswith("uses the entity")
    assert findings.bad_rows == 2


@pytest.mark.parametrize("cut", [2, 8, 12, 30, 90])
@pytest.mark.parametrize("block", [16, 1 << 20])
def test_a_document_without_its_end_is_refused(cut: int, block: int) -> None:
    with pytest.raises(Fault, match="cut short"):
        read(rss(*map(item, range(5)))[:-cut], block=block)


@pytest.mark.parametrize(
    "broken",
    [
        b"<item><g:id>9</g:id><title>x</item>",
        b"<item><g:id>9</g:id><title>\xff</title></item>",
        b"<item><g:id>9</g:id><title>a & b</title></item>",
        b"<item><g:id>9</g:id><title>&nbsp;</title></item>",
        b"<item><g:id>9</g:id><title>a",
        b"<item><g:id>9</g:id><t><![CDATA[never closed</t></item>",
        b"<item><g:id>9</g:id><!-- never closed</item>",
        b"<g:id>9</g:id></item>",
        b"<itXm><g:id>9</g:id></itXm>",
        b"\x00\x01\x02 garbage <<>>",
        b"<item><g:id>9</g:id><title a='1' a='2'/></item>",
        b"<item>" + b"<a>" * 300 + b"</item>",
    ],
)
@pytest.mark.parametrize("block", [97, 1 << 20])
def test_a_broken_item_costs_itself(broken: bytes, block: int) -> None:
    good = [item(number) for number in range(6)]
    rows, findings = read(rss(*good[:3], broken, *good[3:]), block=block)
    assert ids(rows) == ["0", "1", "2", "3", "4", "5"]
    assert not findings.complete
    assert findings.samples[0].line_from in {7, 8}


def test_an_undeclared_prefix_breaks_nothing() -> None:
    content = rss(*(item(number, b"<x:y>1</x:y>") for number in range(500))).replace(b' xmlns:g="', b' xmlns:h="')
    rows, findings = read(content)
    assert len(rows) == 500
    assert rows[0]["x:y"] == "1"
    assert findings.complete


def test_tags_around_groups_of_items_are_no_error() -> None:
    content = b"<shop><group n='1'>%b</group>\n<!-- x --><group n='2'>%b</group></shop>" % (
        b"<item><id>1</id></item>",
        b"<item><id>2</id></item>",
    )
    rows, findings = read(content)
    assert [row["id"] for row in rows] == ["1", "2"]
    assert findings.complete


def test_an_item_that_never_ends_is_bounded() -> None:
    content = rss(item(1), b"<item><g:id>2</g:id>" + b"x" * 400_000, item(3))
    rows, findings = read(content, block=10_000, line_max=100_000)
    assert ids(rows) == ["1", "3"]
    assert not findings.complete


def test_no_items_are_no_rows() -> None:
    findings = Findings()
    frames = list(reading.read([rss()], Shape(FileType.XML), findings, line_bytes_max=LINE_MAX))
    assert sum(frame.height for frame in frames) == 0


@given(st.binary(max_size=200), st.integers(0, 10), st.integers(1, 400))
def test_garbage_between_items_keeps_the_others_or_refuses(garbage: bytes, at: int, block: int) -> None:
    good = [item(number) for number in range(10)]
    rows, findings = read(rss(*good[:at], garbage, *good[at:]), block=block)
    assert [each for each in ids(rows) if each is not None][:at] == [str(number) for number in range(at)]
    assert findings.complete is (len(rows) == 10 and findings.bad_rows == 0)
