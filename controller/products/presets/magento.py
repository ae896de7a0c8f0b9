"""Magento's (Adobe Commerce's) product export: configurable products that list their children. Group-wide.

A configurable product names its variants in configurable_variations: sku=S-RED,color=Red|sku=S-BLUE,color=Blue. Those
rows inherit what they leave blank, and the address where they have no page of their own. Configurable, bundle and
grouped products are not sellable; neither is what is disabled or nowhere visible and no variant, nor the rows that
repeat a product for a store view. Addresses of pages and images are relative: declare templates for them.
"""

from collections.abc import Sequence

import polars as pl
from typing_extensions import override

from controller.products.presets.families import KEY, PARENT, Families
from controller.products.presets.parts import first, must_have, options, plain_text, rich_text, value

_VARIATIONS = "configurable_variations"
_INHERITED = ("name", "description", "short_description", "categories", "base_image", "additional_images")
_ADDRESS = "url_key"
_ATTRIBUTES = ("color", "size", "material", "pattern")
_NOT_SELLABLE = ("configurable", "bundle", "grouped")
_INVISIBLE = "not visible individually"
_OPTIONS = "_options"
_WEB = r"(?i)^https?://"


class Magento(Families):
    def __init__(self, available: Sequence[str]) -> None:
        must_have(available, ("sku", "product_type", "name"), "Magento")
        message = "configurable, bundle and grouped products, disabled and invisible ones, and store views are left out"
        super().__init__(available, _fields(available), message)
        self._passed_on = [name for name in (*_INHERITED, _ADDRESS) if name in available]

    @override
    def _parents(self, block: pl.DataFrame) -> pl.DataFrame:
        own = [value(name).alias(PARENT + name) for name in ("sku", *self._passed_on)]
        variations = first(self._available, _VARIATIONS)
        found = (
            block.lazy()
            .filter(variations.is_not_null() & _main_rows(self._available))
            .select(*own, variations.str.split("|").alias(_OPTIONS))
            .explode(_OPTIONS, empty_as_null=True)
            .with_columns(pl.col(_OPTIONS).str.extract(r"(?:^|,)\s*sku=([^,]+)").str.strip_chars().alias(KEY))
            .filter(pl.col(KEY).is_not_null())
        )
        return found.select(KEY, pl.exclude(KEY)).collect()

    @override
    def _keyed(self, block: pl.DataFrame) -> pl.DataFrame:
        return block.with_columns(value("sku").alias(KEY))

    @override
    def _inherited(self, rows: pl.DataFrame) -> pl.DataFrame:
        wanted = (PARENT + "sku", _OPTIONS, *(PARENT + name for name in self._passed_on))
        whole = rows.with_columns(
            pl.lit(None, dtype=pl.String).alias(name) for name in wanted if name not in rows.columns
        )
        filled = [pl.coalesce(value(name), PARENT + name).alias(name) for name in self._passed_on if name != _ADDRESS]
        if _ADDRESS in self._passed_on:
            hidden = _invisible(self._available)
            there = pl.when(hidden).then(pl.coalesce(PARENT + _ADDRESS, value(_ADDRESS))).otherwise(value(_ADDRESS))
            filled.append(there.alias(_ADDRESS))
        return whole.with_columns(filled)

    @override
    def _sellable(self) -> pl.Expr:
        kind = first(self._available, "product_type").str.to_lowercase()
        enabled = first(self._available, "product_online").fill_null("1") == "1"
        seen = ~_invisible(self._available) | pl.col(PARENT + "sku").is_not_null()
        return ~kind.is_in(_NOT_SELLABLE) & enabled & seen & _main_rows(self._available)

    @override
    def _name(self) -> str:
        return "sku"


def _main_rows(available: Sequence[str]) -> pl.Expr:
    """Rows of the default store view."""
    return first(available, "store_view_code").is_null()


def _invisible(available: Sequence[str]) -> pl.Expr:
    return first(available, "visibility").str.to_lowercase().fill_null("") == _INVISIBLE


def _fields(available: Sequence[str]) -> dict[str, pl.Expr]:
    html = first(available, "description", "short_description")
    quantity = first(available, "qty").cast(pl.Float64, strict=False)
    sold_out = first(available, "is_in_stock") == "0"
    category = first(available, "categories").str.split(",").list.first()
    pairs = [(pl.lit(name), _attribute(available, name)) for name in _ATTRIBUTES]
    variant = pl.col(PARENT + "sku").is_not_null()
    fields = {
        "id": first(available, "sku"),
        "title": first(available, "name"),
        "description": plain_text(html),
        "rich_text_description": rich_text(html),
        "price": first(available, "price"),
        "sale_price": first(available, "special_price"),
        "availability": pl.when(sold_out).then(pl.lit("out of stock")).otherwise(pl.lit("in stock")),
        "quantity_to_sell_on_facebook": pl.when(quantity >= 0).then(
            quantity.cast(pl.Int64, strict=False).cast(pl.String)
        ),
        "condition": pl.lit("new"),
        "brand": pl.coalesce(first(available, "manufacturer", "brand"), _attribute(available, "manufacturer")),
        "gtin": pl.coalesce(first(available, "gtin", "ean"), _attribute(available, "ean")),
        "product_type": category.str.replace(r"^Default Category/", "").str.replace_all("/", " > "),
        "item_group_id": pl.col(PARENT + "sku"),
        **{name: pl.when(variant).then(text) for name, text in options(pairs).items()},
        "additional_variant_attribute": pl.when(variant).then(_other_attributes()),
    }
    web = pl.when(first(available, "base_image").str.contains(_WEB)).then(first(available, "base_image"))
    return {**fields, **({"image_link": web} if _has_addresses(available) else {})}


def _has_addresses(available: Sequence[str]) -> bool:
    """Exports by Magento itself have paths; image_link then needs a template, and must not look given."""
    return "base_image_url" in available


def _attribute(available: Sequence[str], name: str) -> pl.Expr:
    """Value of an attribute: of the variation, of a column, or of additional_attributes."""
    pattern = rf"(?:^|,)\s*{name}=([^,]*)"
    return pl.coalesce(
        pl.col(_OPTIONS).str.extract(pattern),
        first(available, name),
        first(available, "additional_attributes").str.extract(pattern),
    )


def _other_attributes() -> pl.Expr:
    """What a variation varies in besides the attributes that are fields, as Label:Value."""
    known = "|".join(("sku", *_ATTRIBUTES))
    parts = (
        pl.col(_OPTIONS)
        .str.replace_all(":", " ")
        .str.split(",")
        .list.eval(
            pl.when(~pl.element().str.contains(rf"^\s*({known})=")).then(
                pl.element().str.strip_chars().str.replace("=", ":", literal=True)
            )
        )
        .list.drop_nulls()
        .list.join(",")
    )
    return pl.when(parts != "").then(parts)
