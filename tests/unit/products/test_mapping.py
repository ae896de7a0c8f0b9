"""Columns to fields: by name, by declaration, by constant; and messages that lead to a working mapping."""

import polars as pl
import pytest

from controller.api.v1alpha1.items import ItemsEntry
from controller.faults import Fault
from controller.products import mapping
from tests.unit.preparing.world import COLUMNS, items_entry


def entry(
    columns: dict[str, str] | None = None, constants: dict[str, str] | None = None, **changes: object
) -> ItemsEntry:
    document = {
        "columns": [{"field": field, "column": column} for field, column in (columns or {}).items()],
        "constants": [{"field": field, "value": value} for field, value in (constants or {}).items()],
    }
    return items_entry(mapping=document, **changes)


def message(items: ItemsEntry, available: list[str]) -> str:
    with pytest.raises(Fault) as caught:
        mapping.plan(items, available)
    assert caught.value.reason == "MappingInvalid"
    return caught.value.message


def test_metas_own_names_need_no_mapping() -> None:
    found = mapping.plan(entry(), [*COLUMNS, "warehouse", "custom_label_0"])
    assert found.columns == {name: name for name in (*COLUMNS, "custom_label_0")}


def test_similar_names_are_recognised_and_exact_ones_win() -> None:
    found = mapping.plan(
        entry(), ["Image Link", "g:price", "TITLE", "title", *(set(COLUMNS) - {"image_link", "price", "title"})]
    )
    assert found.columns["image_link"] == "Image Link"
    assert found.columns["price"] == "g:price"
    assert found.columns["title"] == "title"


def test_a_declared_column_wins_over_its_namesake_and_a_constant_over_both() -> None:
    found = mapping.plan(entry({"id": "sku"}, {"brand": " ACME "}), [*COLUMNS, "sku"])
    assert found.columns["id"] == "sku"
    assert "brand" not in found.columns
    assert found.constants == {"brand": "ACME"}


def test_a_missing_column_names_the_nearest() -> None:
    said = message(entry({"id": "Variant SKU"}), [*COLUMNS[1:], "variant_sku", "Variant Price", "Handle"])
    assert "mapping.columns[id]" in said
    assert "'Variant SKU'" in said
    assert "nearest: 'variant_sku'" in said


def test_a_required_field_without_column_is_said_before_any_row() -> None:
    assert "required field title" in message(entry(), ["name", *(set(COLUMNS) - {"title"})])
    assert "brand, gtin and mpn" in message(entry(), list(set(COLUMNS) - {"brand"}))
    mapping.plan(entry(rejectedRows="Send"), ["id"])


def test_a_field_from_two_places_is_refused() -> None:
    assert "remove one" in message(entry({"brand": "maker"}, {"brand": "ACME"}), [*COLUMNS, "maker"])


def test_values_are_trimmed_and_blank_is_null() -> None:
    frame = pl.DataFrame({name: ["x", " y\t", "", "   "] for name in COLUMNS})
    found = mapping.apply(frame, mapping.plan(entry(constants={"brand": "ACME"}), frame.columns))
    assert found.get_column("title").to_list() == ["x", "y", None, None]
    assert found.get_column("brand").to_list() == ["ACME"] * 4
    assert found.get_column("sale_price").to_list() == [None] * 4
    assert found.columns[:3] == ["id", "title", "description"]
