"""The invented shop has what real exports have, and is always the same one."""

import unicodedata
from collections import Counter

import pytest

from hack.demo import edits, export, products
from hack.demo.options import PRODUCTS, PRODUCTS_MIN

SHOP = products.catalog(PRODUCTS, seed=1)


def test_it_is_the_same_for_a_seed_and_another_for_another() -> None:
    assert products.catalog(PRODUCTS, seed=1) == SHOP
    assert products.catalog(PRODUCTS, seed=2) != SHOP


@pytest.mark.parametrize("count", [1, PRODUCTS_MIN, 5_000])
def test_there_are_as_many_as_asked_for_and_no_id_is_there_twice(count: int) -> None:
    assert len({product.id for product in products.catalog(count, seed=7)}) == count


def test_ids_look_like_numbers_with_leading_zeros_and_like_anything_else() -> None:
    kinds = Counter(
        "zeros" if each.id.isdigit() and each.id.startswith("0") else "latin" if each.id.isascii() else "other"
        for each in SHOP
    )
    assert min(kinds["zeros"], kinds["latin"], kinds["other"]) > 100
    assert any("/" in each.id for each in SHOP)


def test_texts_have_quotes_line_breaks_and_many_scripts() -> None:
    texts = "".join(each.title + each.description for each in SHOP)
    scripts = {unicodedata.name(letter).split()[0] for letter in set(texts) if letter.isalpha()}
    assert scripts >= {"LATIN", "CYRILLIC", "GREEK", "HEBREW", "ARABIC", "DEVANAGARI", "CJK", "HIRAGANA", "KATAKANA"}
    for needed in ('"', "\n", ";", ",", "\t", "“", "📷"):
        assert needed in texts
    assert all(1 < len(each.title) <= 200 for each in SHOP)


def test_variants_share_a_group_and_differ_in_color_or_size() -> None:
    groups: dict[str, list[products.Product]] = {}
    for each in SHOP:
        groups.setdefault(each.item_group_id, []).append(each)
    assert sum(len(members) > 1 for members in groups.values()) > len(groups) / 2
    for members in groups.values():
        assert len({(each.color, each.size) for each in members}) == len(members)


def test_a_gtin_has_its_check_digit() -> None:
    for each in SHOP:
        assert len(each.gtin) == 13
        weights = (1, 3) * 6 + (1,)
        assert sum(int(digit) * weight for digit, weight in zip(each.gtin, weights, strict=True)) % 10 == 0


def test_a_sale_price_is_below_the_price() -> None:
    on_sale = [each for each in SHOP if each.sale_price]
    assert len(on_sale) > 100
    assert all(float(each.sale_price.split()[0]) < float(each.price.split()[0]) for each in on_sale)


def test_the_export_says_what_the_products_are() -> None:
    rows = {each.id: each.row() for each in SHOP}
    assert export.parse(export.render(rows.values())) == rows


def test_the_first_row_can_be_edited_with_sed() -> None:
    """The line that the demo prints takes id and price to be the first two cells of a line."""
    rows = {each.id: each.row() for each in SHOP}
    item = edits.place(rows, edits.EDITED_PLACE)
    lines = export.render(rows.values()).decode().split("\n")
    assert [line for line in lines if line.startswith(f"{item},")] == [lines[1]]
    assert lines[1].startswith(f"{item},{rows[item]['price']},")
    assert not rows[item]["sale_price"]
