"""The fast path may never call a row clean that the one true path does not keep as it is."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hack.emulator.items import SEPARATOR
from hack.emulator.keysets import canonical_id
from hack.emulator.sections.catalog import feed_columns, feed_files, item_fields, item_rules
from hack.emulator.sections.catalog.feed_files import Table

COLUMNS = (
    "id", "title", "description", "availability", "condition", "price", "link", "image_link", "brand", "sale_price",
    "quantity_to_sell_on_facebook", "sale_price_effective_date", "additional_image_link", "gender", "custom_number_0",
    "google_product_category", "user_rating", "expiration_date", "nonsense", "delete",
)  # fmt: skip
GOOD = {
    "id": "SKU-1",
    "title": "A title",
    "description": 'Some "words"\nin two lines',
    "availability": "in stock",
    "condition": "new",
    "price": "12.50 EUR",
    "link": "https://shop.example/a?b=c#d",
    "image_link": "http://cdn.shop.example:8080/1.jpg",
    "brand": "ACME",
    "sale_price": "11.00 EUR",
    "quantity_to_sell_on_facebook": "7",
    "sale_price_effective_date": "2026-01-01T00:00+01:00/2026-02-01T00:00+0100",
    "additional_image_link": "https://a.example/1.jpg,https://a.example/2.jpg",
    "gender": "unisex",
    "custom_number_0": "0",
    "google_product_category": "1604",
}
texts = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=12)
odd = st.sampled_from(
    [
        "", " ", "\t", "\u00a0", "0", "00", "-1", "1e3", "12.50", "12,50 EUR", "12.50 eur", "0.00 EUR", "99 EUR", "€5",
        "in  stock", "IN STOCK", " in stock ", "https://", "https://user:pw@a.example/", "https://a.example/a b",
        "https://a.example/;https://b.example/", "ftp://a.example/x", "javascript:alert(1)", "x" * 101, "x" * 201,
        "ü" * 150, "4294967296", "4294967295", "true", "TRUE", "a\x1fb", "a\x1db", "a\x1e", "\x1c", "2026-13-99",
        "2026-01-01/2026-02-01", "https://a.example/1.jpg https://a.example/2.jpg", "SKU 1", "Ünïcode", "e\u0301",
    ]
)  # fmt: skip
values = st.fixed_dictionaries({}, optional=dict.fromkeys(COLUMNS, odd | texts))


def as_block(rows: list[dict[str, str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([row.get(name, "") for name in COLUMNS] for row in rows)
    return text.getvalue().encode()


def clean(rows: list[dict[str, str]], *, complete: bool, recommend: bool) -> feed_columns.Clean | None:
    known = [name if item_fields.known(name) or name == "delete" else "" for name in COLUMNS]
    block = as_block(rows)
    frame = feed_columns.read(Table(columns=COLUMNS, delimiter=",", blocks=iter([block])), block)
    return None if frame is None else feed_columns.clean_rows(frame, known, complete=complete, recommend=recommend)


def test_a_good_row_is_clean() -> None:
    found = clean([GOOD], complete=True, recommend=True)
    assert found is not None
    assert found.ids == ["SKU-1"]
    assert found.values[0] is not None
    names = [name for name in COLUMNS if name != "nonsense"]
    assert dict(zip(names, found.values[0].split(SEPARATOR), strict=True)) == {
        name: GOOD.get(name, "") for name in names
    }


@settings(max_examples=400, deadline=None)
@given(changes=values, complete=st.booleans(), recommend=st.booleans())
def test_clean_means_kept_as_it_is(changes: dict[str, str], complete: bool, recommend: bool) -> None:
    row = {**GOOD, **changes}
    found = clean([row], complete=complete, recommend=recommend)
    if found is None or not found.values or found.values[0] is None:
        return
    shown = {name: row.get(name, "") for name in COLUMNS if name != "nonsense"}
    checked = item_rules.check_row(shown, complete=complete, recommend=recommend)
    assert checked.issues == (), "a clean row has nothing to say"
    kept = dict(zip(shown, found.values[0].split(SEPARATOR), strict=True))
    assert kept == {name: checked.values[name] for name in shown}
    assert canonical_id(row["id"]) == row["id"] == found.ids[0]


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(values, min_size=1, max_size=6))
def test_rows_stay_in_their_places(rows: list[dict[str, str]]) -> None:
    whole = [{**GOOD, **row, "id": f"ID-{number}"} for number, row in enumerate(rows)]
    found = clean(whole, complete=True, recommend=False)
    if found is None:
        return
    assert found.ids == [row["id"] for row in whole]
    for place, row in enumerate(whole):
        assert found.fields(place)[0] == row["id"]


fields = st.sampled_from(["a", "b c", "", "é", '"x,y"', '"p\nq"', '"s\n\nt"', '"d""q"', '""', '"""z"', "0"])
plain = st.lists(fields, min_size=1, max_size=3).map(",".join)
strange = st.sampled_from(["", ",,", '"a"b,c', 'a"b', '"a" ,b', 'x""y,z', '"a,b', " ", '"a"""b",c', "a,b,c,d"])
ends = st.sampled_from(["\n", "\r\n"])


def read_both(text: str) -> tuple[list[list[str]] | None, list[list[str]]]:
    block = (text + "\n").encode()
    table = Table(columns=("id", "b", "c"), delimiter=",", blocks=iter([block]))
    frame = feed_columns.read(table, block)
    rows = [[*found, *[""] * (3 - len(found))] for found in feed_files.rows(table, block)]
    return (None if frame is None else [[str(value) for value in row] for row in frame.data.rows()]), rows


@settings(max_examples=300, deadline=None)
@given(lines=st.lists(plain, max_size=6), end=ends)
def test_both_readers_see_the_same_fields(lines: list[str], end: str) -> None:
    by_columns, by_rows = read_both(end.join(lines))
    assert by_columns in (None, by_rows)


@settings(max_examples=300, deadline=None)
@given(lines=st.lists(plain | strange, max_size=6), end=ends)
def test_where_the_readers_could_differ_only_one_is_asked(lines: list[str], end: str) -> None:
    by_columns, by_rows = read_both(end.join(lines))
    assert by_columns in (None, by_rows)


@pytest.mark.parametrize("text", ["a,b,c\n\nd,e,f", 'a,"d""q",c', '"p\nq",b,c\nd,e,f', "a,b,c\n,,\nd,e,f"])
def test_the_columns_reader_answers_for_ordinary_files(text: str) -> None:
    by_columns, by_rows = read_both(text)
    assert by_columns == by_rows
