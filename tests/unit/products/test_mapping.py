"""Columns to fields: by name, by declaration, by constant; and messages that lead to a working mapping."""

import json
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from controller.api.v1alpha1.items import ItemsEntry
from controller.faults import Fault
from controller.products import mapping, rules
from tests.unit.preparing.world import COLUMNS, items_entry, product
from tests.unit.products.reads import Export

Cells = dict[str, list[str | None]]


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


def test_no_address_of_an_image_is_made_up() -> None:
    said = message(entry({"brand": "maker"}), ["id", "maker", "title"])
    assert '"template": "https://YOUR-SHOP/{id}"' in said
    assert said.count("YOUR-SHOP/") == 1
    assert "Write the address of your shop in place of YOUR-SHOP" in said


def test_a_field_from_two_places_is_refused() -> None:
    assert "remove one" in message(entry({"brand": "maker"}, {"brand": "ACME"}), [*COLUMNS, "maker"])


def test_values_are_trimmed_and_blank_is_null() -> None:
    frame = pl.DataFrame({name: ["x", " y\t", "", "   "] for name in COLUMNS})
    found = mapping.apply(frame, mapping.plan(entry(constants={"brand": "ACME"}), frame.columns))
    assert found.get_column("title").to_list() == ["x", "y", None, None]
    assert found.get_column("brand").to_list() == ["ACME"] * 4
    assert found.get_column("sale_price").to_list() == [None] * 4
    assert found.columns[:3] == ["id", "title", "description"]


def mapped(columns: Cells, document: dict[str, Any], **changes: Any) -> pl.DataFrame:
    frame = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
    items = items_entry(mapping=document, rejectedRows="Send", **changes)
    return mapping.apply(frame, mapping.plan(items, frame.columns))


def test_templates_name_the_nearest_column() -> None:
    said = message(
        items_entry(mapping={"templates": [{"field": "link", "template": "https://shop.example/{Handel}"}]}),
        [*COLUMNS, "Handle"],
    )
    assert "mapping.templates[link]: the source has no column 'Handel'; nearest: 'Handle'" in said


def test_all_that_is_wrong_is_said_at_once() -> None:
    document = {
        "columns": [{"field": "brand", "column": "maker"}, {"field": "mpn", "column": "nowhere"}],
        "constants": [{"field": "brand", "value": "ACME"}],
        "values": [{"field": "color", "from": "rot", "to": "red"}],
    }
    said = message(items_entry(mapping=document), ["id", "maker", "title"])
    for words in (
        "'nowhere'",
        "brand stands in columns and constants",
        "mapping.values[color]",
        "availability, condition, price",
    ):
        assert words in said


def test_values_are_replaced_whole_and_blank_ones_too() -> None:
    document = {
        "values": [
            {"field": "availability", "from": "yes", "to": "in stock"},
            {"field": "availability", "from": "", "to": "out of stock"},
            {"field": "brand", "from": "n/a", "to": ""},
        ]
    }
    columns: Cells = {"id": ["1", "2", "3"], "availability": ["yes", " ", "yes please"], "brand": ["n/a", "ACME", None]}
    found = mapped(columns, document)
    assert found.get_column("availability").to_list() == ["in stock", "out of stock", "yes please"]
    assert found.get_column("brand").to_list() == [None, "ACME", None]


def test_an_unquoted_yes_is_no_value() -> None:
    with pytest.raises(ValidationError, match="valid string"):
        items_entry(mapping={"values": [{"field": "availability", "from": True, "to": "in stock"}]})


def test_paths_lead_into_nested_columns_and_columns_win() -> None:
    document = {
        "columns": [
            {"field": "image_link", "column": "images[0].url"},
            {"field": "brand", "column": "maker.name"},
            {"field": "color", "column": "a.b"},
        ]
    }
    columns: Cells = {
        "id": ["1", "2"],
        "images": ['[{"url":"https://shop.example/1.jpg"}]', "not JSON"],
        "maker": ['{"name":"ACME"}', None],
        "a.b": ["red", None],
        "a": ['{"b":"blue"}', None],
    }
    found = mapped(columns, document)
    assert found.get_column("image_link").to_list() == ["https://shop.example/1.jpg", None]
    assert found.get_column("brand").to_list() == ["ACME", None]
    assert found.get_column("color").to_list() == ["red", None]


def test_the_currency_of_a_row_wins_over_that_of_the_entry() -> None:
    frame = mapped({"id": ["1", "2", "3"], "price": ["5", "5", "5 GBP"], "Currency": ["usd", None, "USD"]}, {})
    found = rules.normalise(frame, "EUR")
    assert found.get_column("price").to_list() == ["5.00 USD", "5.00 EUR", "5.00 GBP"]
    assert "currency" not in found.columns


def test_nested_values_are_reached_the_way_a_person_writes_them() -> None:
    row = {
        **product("1"),
        "images": [{"url": "https://shop.example/1.jpg"}, {"url": "https://shop.example/2.jpg"}],
        "maker": {"name": "Holm", "plants": [{"code": "007"}]},
        "cost": {"value": "9.90", "unit": "EUR"},
    }
    content = json.dumps([row]).encode()
    document = {
        "columns": [
            {"field": "image_link", "column": "images[1].url"},
            {"field": "brand", "column": "maker.name"},
            {"field": "mpn", "column": "maker.plants.0.code"},
        ],
        "templates": [{"field": "price", "template": "{cost.value} {cost.unit}"}],
    }
    item = Export(content, mapping=document).item("1")
    assert item["image_link"] == "https://shop.example/2.jpg"
    assert (item["brand"], item["mpn"], item["price"]) == ("Holm", "007", "9.90 EUR")


def test_a_path_may_count_by_dots_or_in_brackets() -> None:
    columns: Cells = {"id": ["1"], "a": ['{"b":[{"c":"x"},{"c":"y"}]}']}
    for path in ("a.b[1].c", "a.b.1.c"):
        assert mapped(columns, {"columns": [{"field": "color", "column": path}]}).item(0, "color") == "y"


@pytest.mark.parametrize("path", ["brand[", "brand.", "brand[x", "brand.name[0", "brand[?(", "nothing.name"])
def test_what_is_no_path_is_no_column(path: str) -> None:
    assert f"the source has no column {path!r}" in message(entry({"color": path}), list(COLUMNS))


@pytest.mark.parametrize(
    ("previous", "expected"),
    [
        ({"column": "old"}, ["10024", None]),
        ({"template": "{old}"}, ["10024", None]),
        ({"idPattern": "^([0-9]+)_"}, ["10024", "10025"]),
    ],
)
def test_previous_ids_come_from_a_column_a_template_or_the_id(
    previous: dict[str, str], expected: list[str | None]
) -> None:
    columns: Cells = {"id": ["10024_1", "10025_1"], "old": ["10024", "10025_1"]}
    found = mapped(columns, {}, variants={"previousID": previous})
    assert found.get_column("previous_id").to_list() == expected


@pytest.mark.parametrize("pattern", ["^([0-9]+", "^[0-9]+_", "(a)(b)"])
def test_a_pattern_needs_one_group(pattern: str) -> None:
    said = message(items_entry(variants={"previousID": {"idPattern": pattern}}), list(COLUMNS))
    assert "variants.previousID.idPattern" in said


def test_a_mapping_without_preset_and_select_is_row_local() -> None:
    assert mapping.is_row_local(entry())
    assert mapping.is_row_local(items_entry(mapping={"preset": "GoogleMerchant"}))
    assert not mapping.is_row_local(items_entry(mapping={"preset": "Shopify"}))
    assert mapping.is_row_local(items_entry(mapping={"sql": "SELECT id FROM source"}))
    assert not mapping.is_row_local(items_entry(mapping={"sql": "SELECT id, count(*) OVER () AS n FROM source"}))


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({}, True),
        ({"preset": "GoogleMerchant"}, True),
        ({"preset": "MetaTemplate"}, False),
        ({"preset": "WooCommerce"}, False),
        ({"sql": "SELECT id FROM source"}, True),
        ({"sql": "SELECT id FROM source WHERE id <> ''"}, False),
        ({"sql": "SELECT DISTINCT id FROM source"}, False),
    ],
)
def test_only_what_gives_one_row_per_record_lets_records_be_skipped(document: dict[str, str], expected: bool) -> None:
    assert mapping.is_record_by_record(items_entry(mapping=document)) is expected
