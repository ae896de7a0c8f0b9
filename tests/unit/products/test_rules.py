"""Values in their one form, and named checks."""

from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.products import rules
from controller.products.fields import VOLATILE
from controller.products.records import LINE
from controller.products.rules import REJECTED
from tests.unit.preparing.world import product


def checked(**changes: str | None) -> tuple[set[str], dict[str, object]]:
    """Names of broken Error rules and the normalised row."""
    row: dict[str, str | None] = {
        **dict.fromkeys(VOLATILE),
        **product("1"),
        "mpn": None,
        "mobile_link": None,
        **changes,
    }
    frame = pl.DataFrame([row], schema=dict.fromkeys(row, pl.String))
    normal = rules.normalise(frame, None)
    result, _ = rules.check(normal, rules.rules_for(frame.columns))
    rejected = result.get_column(REJECTED).item()
    return set(rejected.split(",")) if rejected else set(), result.row(0, named=True)


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({}, set()),
        ({"id": None}, {"id-required"}),
        ({"title": None}, {"title-required"}),
        ({"description": None}, {"description-required"}),
        ({"availability": None}, {"availability-required"}),
        ({"condition": None}, {"condition-required"}),
        ({"price": None}, {"price-required"}),
        ({"link": None}, {"link-required"}),
        ({"image_link": None}, {"image-link-required"}),
        ({"brand": None}, {"identifier-required"}),
        ({"brand": None, "mpn": "X"}, set()),
        ({"availability": "maybe"}, {"availability-value"}),
        ({"availability": "In_Stock"}, set()),
        ({"availability": "PREORDER"}, set()),
        ({"condition": "fresh"}, {"condition-value"}),
        ({"condition": "Used"}, set()),
        ({"price": "9.99"}, {"price-currency"}),
        ({"price": "9,99 EUR"}, {"price-format"}),
        ({"price": "EUR 9.99"}, {"price-format"}),
        ({"price": "€9.99"}, {"price-format"}),
        ({"price": "-1 EUR"}, {"price-format"}),
        ({"price": "free"}, {"price-format"}),
        ({"sale_price": "5"}, {"sale-price-currency"}),
        ({"link": "shop.example/p"}, {"link-url"}),
        ({"link": "ftp://shop.example/p"}, {"link-url"}),
        ({"link": "javascript:alert(1)"}, {"link-url"}),
        ({"link": "https://shop.example/a b"}, {"link-url"}),
        ({"link": "HTTPS://shop.example/?q=ü#x"}, set()),
        ({"image_link": "/img.jpg"}, {"image-link-url"}),
        ({"mobile_link": "m.shop.example"}, {"mobile-link-url"}),
        ({"id": "x" * 100}, set()),
        ({"id": "x" * 101}, {"id-length"}),
        ({"title": "🙂" * 200}, set()),
        ({"title": "x" * 201}, {"title-length"}),
        ({"description": "x" * 10_000}, {"description-length"}),
        ({"quantity_to_sell_on_facebook": "-1"}, {"quantity-number"}),
        ({"quantity_to_sell_on_facebook": "1.5"}, {"quantity-number"}),
        ({"quantity_to_sell_on_facebook": "012"}, set()),
        ({"sale_price_effective_date": "tomorrow"}, {"sale-dates-format"}),
        ({"sale_price_effective_date": "2026-01-01T00:00+01:00/2026-02-01T00:00+01:00"}, set()),
        ({"title": None, "price": "x"}, {"title-required", "price-format"}),
    ],
)
def test_one_row(changes: dict[str, str | None], broken: set[str]) -> None:
    assert checked(**changes)[0] == broken


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("9.99 EUR", "9.99 EUR"),
        ("9.9 EUR", "9.90 EUR"),
        ("9 EUR", "9.00 EUR"),
        ("009.900 eur", "9.90 EUR"),
        ("9.999 EUR", "9.999 EUR"),
        ("0 EUR", "0.00 EUR"),
        ("0.5EUR", "0.50 EUR"),
        ("100 JPY", "100 JPY"),
        ("100.00 JPY", "100 JPY"),
        ("1.5 KWD", "1.500 KWD"),
        ("12", "12.00 GBP"),
        ("12.345", "12.345 GBP"),
        ("12,3", "12,3"),
        ("1 EURO", "1 EURO"),
        (None, None),
    ],
)
def test_prices_have_one_form(written: str | None, canonical: str | None) -> None:
    frame = pl.DataFrame({"price": [written]}, schema={"price": pl.String})
    assert frame.select(rules.canonical_price(pl.col("price"), "GBP")).item() == canonical


PRICES = st.decimals(min_value=0, max_value=10**9, places=3).map(str)


@given(PRICES, PRICES, st.sampled_from(["EUR", "JPY", "KWD"]))
def test_equal_decimals_are_equal_texts(one: str, other: str, currency: str) -> None:
    frame = pl.DataFrame({"price": [f"{one} {currency}", f"{other} {currency.lower()}"]})
    left, right = frame.select(rules.canonical_price(pl.col("price"), None)).to_series().to_list()
    assert (left == right) == (Decimal(one) == Decimal(other))
    assert Decimal(left.split()[0]) == Decimal(one)
    again = pl.DataFrame({"price": [left]}).select(rules.canonical_price(pl.col("price"), None)).item()
    assert again == left


def test_ids_are_trimmed_and_composed() -> None:
    _, row = checked(id="\u00a0 e\u0301 7\t")
    assert row["id"] == "é 7"


def test_findings_count_and_name_ids() -> None:
    rows = [product(number, price="1" if number < 12 else "1 EUR") for number in range(15)]
    frame = pl.DataFrame([{**row, LINE: 1} for row in rows])
    result, findings = rules.check(rules.normalise(frame, None), rules.rules_for(frame.columns))
    (found,) = findings
    assert (found.rule, found.level, found.count) == ("price-currency", "Error", 12)
    assert found.sample_ids == tuple(str(number) for number in range(10))
    assert "currency" in found.message
    assert result.get_column(REJECTED).null_count() == 3
    merged = rules.merge([found, found])
    assert (merged[0].count, len(merged[0].sample_ids)) == (24, 10)


def test_of_rows_with_one_id_the_first_good_one_is_kept() -> None:
    ids = pl.DataFrame(
        {
            "id": ["a", "b", "a", "b", "c", None, None, "a"],
            LINE: [2, 3, 4, 5, 6, 7, 8, 9],
            REJECTED: [None, "title-required", None, None, None, None, None, None],
            "_order": range(8),
        },
        schema_overrides={LINE: pl.UInt64, "_order": pl.UInt32},
    )
    found = rules.duplicates(ids)
    assert found.select("id", LINE, "_kept_line").rows() == [("b", 3, 5), ("a", 4, 2), ("a", 9, 2)]
