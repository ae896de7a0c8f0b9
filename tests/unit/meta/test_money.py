"""Prices as Meta formats them."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.meta.money import decimals_of, normalise_price


@pytest.mark.parametrize(
    ("text", "currency", "expected"),
    [
        ("£34.00", "GBP", "34.00 GBP"),
        ("£34", "GBP", "34.00 GBP"),
        ("$1,234.50", "USD", "1234.50 USD"),
        ("US$1,234", "USD", "1234.00 USD"),
        ("€1.234,50", "EUR", "1234.50 EUR"),
        ("1 234,50 €", "EUR", "1234.50 EUR"),
        ("1\u202f234,50\u00a0€", "EUR", "1234.50 EUR"),
        ("0,99 €", "EUR", "0.99 EUR"),
        ("12,5", "EUR", "12.50 EUR"),
        ("CHF 1'234.50", "CHF", "1234.50 CHF"),
        ("CHF 1’234.50", "CHF", "1234.50 CHF"),
        ("₹1,23,456.00", "INR", "123456.00 INR"),
        ("¥1,200", "JPY", "1200 JPY"),
        ("¥1,200,000", "JPY", "1200000 JPY"),
        ("₩12", "KRW", "12 KRW"),
        ("Rp1.200.000", "IDR", "1200000.00 IDR"),
        ("€1.234", "EUR", "1234.00 EUR"),
        ("$0.125", "USD", "0.125 USD"),
        ("$1.2500", "USD", "1.25 USD"),
        ("KWD 1.234", "KWD", "1.234 KWD"),
        ("KWD 1,234.567", "KWD", "1234.567 KWD"),
        ("34.00 GBP", None, "34.00 GBP"),
        ("34.00 GBP", "", "34.00 GBP"),
        ("£34.00", "gbp", "34.00 GBP"),
        ("0", "USD", "0.00 USD"),
        ("£34.00", None, None),
        ("free", "USD", None),
        ("", "USD", None),
    ],
)
def test_formats(text: str, currency: str | None, expected: str | None) -> None:
    assert normalise_price(text, currency) == expected


FORMATS = {"en": (",", "."), "de": (".", ","), "fr": ("\u202f", ","), "ch": ("’", ".")}


@given(
    st.integers(min_value=0, max_value=10**9),
    st.sampled_from(["GBP", "EUR", "JPY", "KWD"]),
    st.sampled_from(sorted(FORMATS)),
    st.sampled_from(["£{}", "{} €", "KWD {}", "{}"]),
)
def test_every_amount_survives_every_locale(minor: int, currency: str, locale: str, pattern: str) -> None:
    places = decimals_of(currency)
    amount = Decimal(minor).scaleb(-places)
    group, point = FORMATS[locale]
    shown = f"{amount:,.{places}f}".translate({ord(","): group, ord("."): point})
    normal = normalise_price(pattern.format(shown), currency)
    assert normal == f"{amount:.{places}f} {currency}"
