"""Values in their one form, and named checks."""

from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.products import gtin, rules
from controller.products.fields import KNOWN, REQUIRED, VOLATILE
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
        ({"price": "5 ZZZ"}, {"price-currency-code"}),
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
        ({"availability": "pending"}, set()),
        ({"availability": "7"}, set()),
        ({"availability": "mark_as_sold"}, {"availability-value"}),
        ({"description": "x" * (5 << 20)}, {"description-length", "row-size"}),
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


WRITTEN = st.one_of(
    st.none(),
    st.sampled_from(["9.90 EUR", "0.00 USD", "10.00 JPY", "1.50 KWD", "01.00 EUR", "1,50", "1.234,50 EUR", "5", "x"]),
    st.builds("{}{} {}".format, PRICES, st.sampled_from(["", "0"]), st.sampled_from(["EUR", "JPY", "KWD", "eur"])),
)


@given(st.lists(WRITTEN, max_size=6), st.sampled_from([None, "EUR", "JPY"]), st.booleans())
def test_a_price_does_not_depend_on_the_others(prices: list[str | None], currency: str | None, comma: bool) -> None:
    frame = pl.DataFrame({"id": ["1"] * len(prices), "price": prices}, schema={"id": pl.String, "price": pl.String})
    found = rules.normalise(frame, currency, decimal_comma=comma).get_column("price").to_list()
    alone = [rules.normalise(frame[at], currency, decimal_comma=comma).item(0, "price") for at in range(len(prices))]
    assert found == alone


@given(st.lists(st.sampled_from([None, "In_Stock", "in stock", "backorder", "-1", "3", "X"]), max_size=6))
def test_values_are_the_same_each_or_together(values: list[str | None]) -> None:
    frame = pl.DataFrame(
        {"id": ["1"] * len(values), "availability": values}, schema=dict.fromkeys(("id", "availability"), pl.String)
    )
    found = rules.normalise(frame, None).get_column("availability")
    assert found.to_list() == frame.select(rules.canonical_availability(pl.col("availability"))).to_series().to_list()


def test_ids_are_trimmed_and_composed() -> None:
    _, row = checked(id="\u00a0 e\u0301 7\t")
    assert row["id"] == "é 7"


def test_findings_count_and_name_ids() -> None:
    rows = [product(number, price="1" if number < 1_200 else "1 EUR") for number in range(1_203)]
    frame = pl.DataFrame([{**row, LINE: 1} for row in rows])
    result, findings = rules.check(rules.normalise(frame, None), rules.rules_for(frame.columns))
    (found,) = [each for each in findings if each.level == "Error"]
    assert (found.rule, found.level, found.count) == ("price-currency", "Error", 1_200)
    assert found.sample_ids == tuple(str(number) for number in range(rules.NAMED_MAX))
    assert "currency" in found.message
    assert result.get_column(REJECTED).null_count() == 3
    merged = rules.merge([found, found])
    assert (merged[0].count, len(merged[0].sample_ids)) == (2_400, rules.NAMED_MAX)


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


WARNED: list[tuple[dict[str, str | None], str]] = [
    ({"title": "x" * 101}, "title-long"),
    ({"title": "WINTER COAT"}, "title-capitals"),
    ({"description": "x" * 5_001}, "description-long"),
    ({"description": "Short"}, "description-short"),
    ({"description": "A coat<br>that keeps warm in any weather"}, "description-html"),
    ({"description": "A COAT THAT KEEPS WARM IN ANY WEATHER"}, "description-capitals"),
    ({"description": "A coat, see https://shop.example/coats/7 for all"}, "description-link"),
    ({"price": "0 EUR"}, "price-zero"),
    ({"sale_price": "9.99 EUR"}, "sale-price-not-below"),
    ({"sale_price": "19.99 EUR"}, "sale-price-not-below"),
    ({"sale_price": "5 USD"}, "sale-price-other-currency"),
    ({"sale_price_effective_date": "2026-02-01/2026-01-01"}, "sale-dates-order"),
    ({"availability": "preorder"}, "availability-unusual"),
    ({"gender": "women"}, "gender-value"),
    ({"age_group": "grown up"}, "age-group-value"),
    ({"status": "enabled"}, "status-value"),
    ({"gtin": "4006381333930"}, "gtin-check-digit"),
    ({"gtin": "400638133393"}, "gtin-check-digit"),
    ({"gtin": "123"}, "gtin-check-digit"),
    ({"gtin": "978-3-16-148410-0"}, "gtin-check-digit"),
    ({"gtin": "none"}, "gtin-check-digit"),
    ({"color": "x" * 201}, "color-length"),
    ({"custom_label_3": "x" * 101}, "custom-label-3-length"),
    ({"custom_number_2": "-1"}, "custom-number-value"),
    ({"custom_number_2": "4294967296"}, "custom-number-value"),
    ({"additional_image_link": ",".join(["https://shop.example/1.jpg"] * 21)}, "additional-images-many"),
    ({"additional_image_link": "1.jpg"}, "additional-images-url"),
    ({"expiration_date": "31.12.2026"}, "expiration-date-format"),
    ({"shipping_weight": "10"}, "shipping-weight-format"),
    ({"commerce_tax_category": "Clothing"}, "tax-category-value"),
    ({"origin_country": "India"}, "origin-country-value"),
    ({"shipping": "4.99 EUR"}, "shipping-format"),
    ({"additional_variant_attribute": "Silk"}, "variant-attribute-format"),
    ({"additional_variant_attribute": "Lining:Silk:thin"}, "variant-attribute-format"),
    ({"unit_price": "5 EUR"}, "unit-price-format"),
    ({"return_policy_info": "30 days"}, "return-policy-format"),
    ({"importer_address": "Main Street 5"}, "importer-address-format"),
    ({"wa_compliance_category": "none"}, "wa-compliance-category-value"),
    ({"video[0].url": "v.mp4"}, "nested-url"),
    ({"additional_image_link": "https://shop.example/" + "x" * 2_000}, "additional-images-length"),
    ({"user_rating": "5.1"}, "user-rating-value"),
    ({"rating_count": "many"}, "rating-count-value"),
    ({"ordering_index": "-1"}, "ordering-index-value"),
    ({"item_group_id": "G"}, "variant-attributes"),
]
"""A wrong optional value costs the value and not the row."""


def spoken(**changes: str | None) -> dict[str, str]:
    """Rules that found something in one row, with their levels."""
    row: dict[str, str | None] = {**dict.fromkeys(VOLATILE), **product("1"), **changes}
    frame = pl.DataFrame([row], schema=dict.fromkeys(row, pl.String))
    _, findings = rules.check(rules.normalise(frame, None), rules.rules_for(frame.columns))
    return {found.rule: found.level for found in findings}


@pytest.mark.parametrize(("changes", "rule"), WARNED)
def test_a_wrong_optional_value_is_named(changes: dict[str, str | None], rule: str) -> None:
    found = spoken(**changes)
    assert found[rule] == "Warning"
    assert "Error" not in found.values()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"title": "LG TV 55"},
        {"title": "冬のコート"},
        {"description": "3 < 5 and 7 > 5: a sentence without any markup at all"},
        {"gtin": "4006381333931"},
        {"gtin": "73513537"},
        {"gtin": "012345678905"},
        {"gtin": "10614141000415"},
        {"custom_number_0": "4294967295"},
        {"sale_price": "5 EUR", "sale_price_effective_date": "2026-01-01T00:00Z/2026-02-01T00:00Z"},
        {"additional_image_link": "https://shop.example/1.jpg, https://shop.example/2.jpg"},
        {"additional_image_link": '["https://shop.example/1.jpg"]'},
        {"item_group_id": "G", "size": "M"},
        {"user_rating": "4.5", "rating_count": "12", "ordering_index": "0"},
        {"shipping_weight": "10 kg", "expiration_date": "2026-12-31", "commerce_tax_category": "FB_SHOES"},
        {"gender": "Female", "age_group": "All Ages", "status": "ACTIVE"},
        {"shipping": "US:CA:Ground:9.99 USD,DE:::4.99 EUR", "additional_variant_attribute": "Lining:Silk,Fit:Slim"},
        {
            "shipping": '[{"shipping_country": "DE"}]',
            "unit_price": '{"value": "1"}',
            "wa_compliance_category": "DEFAULT",
        },
        {"image[0].url": "https://shop.example/1.jpg", "image[1].url": None},
    ],
)
def test_a_right_value_is_not(changes: dict[str, str | None]) -> None:
    assert set(spoken(**changes).values()) <= {"Advice"}


@given(st.integers(0, 10**13 - 1))
def test_check_digits_are_those_of_the_definition(number: int) -> None:
    digits = f"{number:013}"
    total = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(digits))
    right = -total % 10
    frame = pl.DataFrame({"gtin": [f"{digits}{last}" for last in range(10)]})
    wrong = frame.select(gtin.wrong(pl.col("gtin"))).to_series().to_list()
    assert wrong == [last != right for last in range(10)]


COMPLETE: dict[str, str | None] = {
    "title": "Coat",
    "description": "A coat " + "x" * 200,
    "google_product_category": "Apparel & Accessories > Clothing",
    "additional_image_link": "https://shop.example/2.jpg",
    "size": "M",
    "color": "blue",
    "gender": "female",
    "age_group": "adult",
    "material": "wool",
    "pattern": "plain",
    "quantity_to_sell_on_facebook": "3",
    "sale_price": "5 EUR",
    "sale_price_effective_date": "2026-01-01T00:00Z/2026-02-01T00:00Z",
    "rich_text_description": "<p>A coat</p>",
    "video[0].url": "https://shop.example/v.mp4",
    "custom_label_0": "winter",
}
ADVISED: list[tuple[dict[str, str | None], set[str]]] = [
    ({}, set()),
    ({"quantity_to_sell_on_facebook": None}, {"advice-quantity"}),
    ({"quantity_to_sell_on_facebook": None, "availability": "out of stock"}, set()),
    ({"google_product_category": None}, {"advice-category"}),
    ({"google_product_category": None, "fb_product_category": "clothing"}, set()),
    ({"additional_image_link": None}, {"advice-more-images"}),
    ({"size": None}, {"advice-size"}),
    ({"size": None, "google_product_category": "Furniture > Chairs"}, set()),
    ({"size": None, "google_product_category": "1604"}, {"advice-size"}),
    ({"size": None, "google_product_category": "222"}, set()),
    ({"gender": None, "age_group": None}, {"advice-gender", "advice-age-group"}),
    ({"color": None, "material": None, "pattern": None}, {"advice-color", "advice-material", "advice-pattern"}),
    ({"sale_price_effective_date": None}, {"advice-sale-dates"}),
    ({"rich_text_description": None}, {"advice-rich-text"}),
    ({"rich_text_description": None, "description": "x" * 200}, set()),
    ({"video[0].url": None}, {"advice-video"}),
    ({"custom_label_0": None}, {"advice-custom-labels"}),
    ({"title": "x" * 66}, {"advice-title-length"}),
    ({"brand": None, "gtin": "4006381333931"}, {"advice-brand"}),
]


@pytest.mark.parametrize(("changes", "advice"), ADVISED)
def test_each_recommendation_is_a_rule_of_its_own(changes: dict[str, str | None], advice: set[str]) -> None:
    found = spoken(**{**COMPLETE, **changes})
    assert {rule for rule, level in found.items() if level == "Advice"} == advice
    assert set(found.values()) <= {"Advice"}


def test_a_column_that_is_not_there_is_advised_like_a_blank_one() -> None:
    found = spoken(google_product_category="Apparel & Accessories > Shoes")
    assert {"advice-size", "advice-color", "advice-more-images", "advice-video"} <= found.keys()


def test_prices_of_another_currency_than_declared_are_named() -> None:
    frame = pl.DataFrame(
        [{**product(number, price=price), LINE: 1} for number, price in enumerate(("1", "1 USD", "-"))]
    )
    normal = rules.normalise(frame, "EUR")
    _, findings = rules.check(normal, rules.rules_for(frame.columns, currency="EUR"))
    (found,) = [each for each in findings if each.rule == "price-other-currency"]
    assert (found.level, found.sample_ids) == ("Warning", ("1",))
    assert "one currency per file" in found.message
    _, undeclared = rules.check(normal, rules.rules_for(frame.columns))
    assert "price-other-currency" not in {each.rule for each in undeclared}


def test_rules_are_few_enough_for_a_mask_and_in_order() -> None:
    named = rules.rules_for([*KNOWN, "image[0].url", "video[0].url"], currency="EUR")
    names = [rule.name for rule in named]
    assert len(names) == len(set(names)) <= rules.RULES_MAX
    levels = [rule.level for rule in named]
    assert levels == sorted(levels, key=["Error", "Warning", "Advice"].index)


def test_every_rule_judges_rows_without_values() -> None:
    frame = pl.DataFrame(schema=dict.fromkeys(KNOWN, pl.String))
    result, findings = rules.check(rules.normalise(frame, "EUR"), rules.rules_for(frame.columns))
    assert (result.height, findings) == (0, [])
    blank = pl.DataFrame({name: [None] for name in KNOWN}, schema=dict.fromkeys(KNOWN, pl.String))
    _, findings = rules.check(rules.normalise(blank, "EUR"), rules.rules_for(blank.columns))
    assert {found.rule for found in findings if found.level == "Error"} == {
        *(f"{name}-required".replace("_", "-") for name in REQUIRED),
        "identifier-required",
    }
    assert not [found for found in findings if found.level == "Warning"]


@pytest.mark.parametrize(
    ("written", "currency", "comma", "canonical"),
    [
        ("19,90", "EUR", True, "19.90 EUR"),
        ("19,90 €", "EUR", True, "19.90 EUR"),
        ("€ 1.299,00", "EUR", True, "1299.00 EUR"),
        ("1.299", "EUR", True, "1299.00 EUR"),
        ("1'299.00", "CHF", False, "1299.00 CHF"),
        ("1,299.50", "USD", False, "1299.50 USD"),
        ("$5", "USD", False, "5.00 USD"),
        ("EUR 5,00", "EUR", True, "5.00 EUR"),
        ("5,00 USD", "EUR", True, "5.00 USD"),
        ("$5", "EUR", False, "$5"),
        ("19,90", "EUR", False, "19,90"),
        ("1.5,0,0", "EUR", True, "1.5,0,0"),
        ("19.90", "EUR", True, "19.90"),
        ("-5", "EUR", True, "-5"),
        ("auf Anfrage", "EUR", True, "auf Anfrage"),
        ("19,90", None, True, "19,90"),
    ],
)
def test_prices_written_by_hand(written: str, currency: str | None, comma: bool, canonical: str) -> None:
    frame = pl.DataFrame({"id": ["1"], "price": [written]})
    assert rules.normalise(frame, currency, decimal_comma=comma).item(0, "price") == canonical


@pytest.mark.parametrize(
    ("written", "canonical"),
    [("0", "out of stock"), ("12", "in stock"), ("-3", "out of stock"), ("5.0", "in stock"), ("0.00", "out of stock")],
)
def test_a_stock_is_an_availability(written: str, canonical: str) -> None:
    frame = pl.DataFrame({"id": ["1"], "availability": [written]})
    assert rules.normalise(frame, None).item(0, "availability") == canonical
