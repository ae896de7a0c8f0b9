"""WooCommerce's product export: variable products with variations, which name them in Parent. Group-wide.

Parent holds `id:` and the number of the parent, or the parent's SKU. A variation inherits what it leaves blank:
description, categories, images, brand. Variable and grouped products are parents and not sellable; neither are drafts
and hidden ones. The id is the SKU or, where there is none, the number. The export has no addresses of pages.
"""

import re
from collections.abc import Sequence

import polars as pl
from typing_extensions import override

from controller.products.presets.families import KEY, PARENT, Families
from controller.products.presets.parts import (
    additional_images,
    first,
    must_have,
    options,
    plain_text,
    rich_text,
    value,
)

_INHERITED = (
    "Name",
    "Description",
    "Short description",
    "Categories",
    "Tags",
    "Images",
    "Brands",
    "Brand",
    "Published",
    "Visibility in catalog",
)
_ATTRIBUTE = re.compile(r"^Attribute (\d+) name$")
_OWN_KEYS = ("ID", "SKU")
_GTIN = ("GTIN, UPC, EAN, or ISBN", "GTIN UPC EAN or ISBN", "GTIN")
_LISTED = r"\s*,\s*"


class WooCommerce(Families):
    def __init__(self, available: Sequence[str]) -> None:
        must_have(available, ("ID", "Type", "SKU", "Name"), "WooCommerce")
        message = "variable and grouped products, drafts and hidden products are left out"
        super().__init__(available, _fields(available), message)
        self._passed_on = [name for name in _INHERITED if name in available]

    @override
    def _parents(self, block: pl.DataFrame) -> pl.DataFrame:
        columns = [value(name).alias(PARENT + name) for name in (*_OWN_KEYS, *self._passed_on)]
        parents = block.filter(_is(block.columns, "variable")).select(*columns)
        by_number = parents.select(pl.format("id:{}", pl.col(PARENT + "ID")).alias(KEY), pl.all())
        by_sku = parents.select(pl.col(PARENT + "SKU").alias(KEY), pl.all())
        return pl.concat([by_number, by_sku]).filter(pl.col(KEY).is_not_null())

    @override
    def _keyed(self, block: pl.DataFrame) -> pl.DataFrame:
        parent = first(self._available, "Parent").str.replace(r"^id:\s*", "id:")
        return block.with_columns(pl.when(_is(self._available, "variation")).then(parent).alias(KEY))

    @override
    def _inherited(self, rows: pl.DataFrame) -> pl.DataFrame:
        present = [name for name in self._passed_on if PARENT + name in rows.columns]
        missing = [name for name in (*_OWN_KEYS,) if PARENT + name not in rows.columns]
        filled = rows.with_columns(pl.coalesce(value(name), PARENT + name).alias(name) for name in present)
        return filled.with_columns(pl.lit(None, dtype=pl.String).alias(PARENT + name) for name in missing)

    @override
    def _sellable(self) -> pl.Expr:
        parents = _is(self._available, "variable") | _is(self._available, "grouped")
        published = first(self._available, "Published").fill_null("1")
        hidden = first(self._available, "Visibility in catalog").str.to_lowercase().fill_null("visible") == "hidden"
        return ~parents & (published == "1") & ~hidden

    @override
    def _name(self) -> str:
        return "Name"


def _is(available: Sequence[str], kind: str) -> pl.Expr:
    """Type may say more: "variation, virtual"."""
    return first(available, "Type").str.to_lowercase().str.split(", ").list.contains(kind).fill_null(value=False)


def _fields(available: Sequence[str]) -> dict[str, pl.Expr]:
    html = first(available, "Description", "Short description")
    images = first(available, "Images").str.replace_all(_LISTED, ",").str.split(",")
    variation = _is(available, "variation")
    numbers = [match.group(1) for name in available if (match := _ATTRIBUTE.match(name))]
    pairs = [
        (first(available, f"Attribute {number} name"), first(available, f"Attribute {number} value(s)"))
        for number in numbers
    ]
    group = pl.coalesce(PARENT + "SKU", PARENT + "ID", pl.col(KEY).str.strip_prefix("id:"))
    starts, ends = first(available, "Date sale price starts"), first(available, "Date sale price ends")
    stock = first(available, "Stock").cast(pl.Float64, strict=False)
    fields = {
        "id": first(available, "SKU", "ID"),
        "title": first(available, "Name"),
        "description": plain_text(html),
        "rich_text_description": rich_text(html),
        "price": first(available, "Regular price"),
        "sale_price": first(available, "Sale price"),
        "sale_price_effective_date": pl.concat_str(_moment(starts), pl.lit("/"), _moment(ends)),
        "availability": _availability(available),
        "quantity_to_sell_on_facebook": pl.when(stock >= 0).then(stock.cast(pl.Int64, strict=False).cast(pl.String)),
        "condition": pl.lit("new"),
        "image_link": images.list.first(),
        "additional_image_link": additional_images(images),
        "brand": first(available, "Brands", "Brand"),
        "gtin": first(available, *_GTIN),
        "product_type": first(available, "Categories").str.split(",").list.first(),
        "item_group_id": pl.when(variation).then(group),
    }
    if pairs:
        fields |= {name: pl.when(variation).then(text) for name, text in options(pairs).items()}
    return fields


def _moment(text: pl.Expr) -> pl.Expr:
    """Write 2026-01-31 00:00:00 in ISO 8601."""
    return text.str.replace(r"^(\d{4}-\d{2}-\d{2})[ T](\d{2}:\d{2}).*$", "${1}T${2}Z")


def _availability(available: Sequence[str]) -> pl.Expr:
    stock = first(available, "In stock?").str.to_lowercase()
    return (
        pl.when(stock.is_in(["0", "no", "false", "outofstock"]))
        .then(pl.lit("out of stock"))
        .when(stock.is_in(["backorder", "onbackorder"]))
        .then(pl.lit("available for order"))
        .otherwise(pl.lit("in stock"))
    )
