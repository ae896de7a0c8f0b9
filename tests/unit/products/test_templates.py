"""Fields written from several columns: what is encoded, what a blank does, what a brace is."""

import polars as pl
import pytest

from controller.products.templates import parse


def written(template: str, field: str, **columns: str | None) -> str | None:
    parsed = parse(template, field)
    names = {name.replace("_", " "): value for name, value in columns.items()}
    frame = pl.DataFrame({name: [value] for name, value in names.items()}, schema=dict.fromkeys(names, pl.String))
    found: str | None = frame.select(parsed.expression({name: pl.col(name) for name in names})).item()
    return found


def test_values_in_addresses_are_encoded() -> None:
    template = "https://shop.example/p/{Handle}?variant={Variant SKU}"
    found = written(template, "link", Handle="männer/hose 5%", Variant_SKU="a/b&c=d")
    assert found == "https://shop.example/p/m%C3%A4nner/hose%205%25?variant=a%2Fb%26c%3Dd"


def test_a_column_that_begins_an_address_carries_its_scheme() -> None:
    assert written("{Link}?utm={Tag}", "link", Link="https://shop.example/a?b", Tag="x y").endswith("a?b?utm=x%20y")  # type: ignore[union-attr]


def test_text_is_inserted_as_it_is() -> None:
    assert written("{A} – {B}", "title", A="Hose 5%", B="M/L") == "Hose 5% – M/L"


@pytest.mark.parametrize(
    ("field", "expected"), [("link", None), ("image_link", None), ("title", "https://shop.example/x/")]
)
def test_half_an_address_is_none(field: str, expected: str | None) -> None:
    assert written("https://shop.example/{A}/{B}", field, A="x", B=None) == expected


def test_a_text_without_any_value_is_none() -> None:
    assert written("{A} {B}", "title", A=None, B=None) is None


def test_braces_are_written_twice() -> None:
    assert written("{{{A}}}", "title", A="x") == "{x}"
    assert parse("{{A}}{B}", "title").columns == ("B",)


@pytest.mark.parametrize("template", ["{", "}", "a{b", "a}b", "{}", "{{{"])
def test_a_single_brace_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="single brace"):
        parse(template, "title")
