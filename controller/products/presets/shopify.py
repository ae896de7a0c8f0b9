"""Shopify's product export: one row per variant, and more rows for images. Group-wide.

Rows of a product follow one another and share its Handle. Only the first carries what belongs to the product; the
others inherit it. A row without SKU, price and option is an image of the product. A product with the option Title =
Default Title has no variants. Drafts, archived and unpublished products are not sellable. The export has no addresses
of pages: declare a template for link. Both generations of headers are known ("Variant Price" and "Price").
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar

import polars as pl
from typing_extensions import override

from controller.products.assembly import Again, Frames, Left, conform
from controller.products.presets.parts import (
    Export,
    additional_images,
    first,
    has,
    must_have,
    named,
    options,
    plain_text,
    rich_text,
    value,
)
from controller.products.rules import NAMED_MAX

_RUN, _START, _IMAGES = "_run", "_start", "_images"
_SKU = ("Variant SKU", "SKU")
_PRICE = ("Variant Price", "Price")
_BEFORE = ("Variant Compare At Price", "Compare-at price")
_STOCK = ("Variant Inventory Qty", "Inventory quantity")
_TRACKER = ("Variant Inventory Tracker", "Inventory tracker")
_POLICY = ("Variant Inventory Policy", "Continue selling when out of stock")
_IMAGE = ("Image Src", "Image Src ", "Product image URL")
_OPTIONS = range(1, 4)
_OF_A_ROW = ("variant ", "image ", "cost ", "price", "compare", "inventory", "sku", "barcode", "product image")
"""How names of columns begin whose values belong to a row and not to the product."""


class Shopify(Export):
    ROW_LOCAL: ClassVar = False

    def __init__(self, available: Sequence[str]) -> None:
        self._handle = "URL handle" if "URL handle" in available else "Handle"
        must_have(available, (self._handle, "Title"), "Shopify")
        left = Left("not-sellable", "drafts, archived and unpublished products are left out", NAMED_MAX)
        super().__init__(available, _fields(available, self._handle), left)

    @override
    def frames(self, blocks: Frames, again: Again) -> Iterator[pl.DataFrame]:
        """Shape product by product: the last one of a block waits for the next block, which may continue it."""
        carried: pl.DataFrame | None = None
        for block in blocks:
            whole = conform(block, self._available)
            whole = whole if carried is None else pl.concat([carried, whole], how="diagonal")
            start = _start_of_last(whole.get_column(self._handle))
            yield self._shaped(whole.head(start))
            carried = whole.slice(start)
        if carried is not None:
            yield self._shaped(carried)

    def _shaped(self, rows: pl.DataFrame) -> pl.DataFrame:
        handle = value(self._handle).forward_fill()
        product = [name for name in self._available if not _is_of_a_row(name) and name != self._handle]
        told = rows.with_columns(handle.alias(self._handle)).with_columns(pl.col(self._handle).rle_id().alias(_RUN))
        numbered = told.with_row_index(_START)
        filled = (
            numbered.with_columns(pl.col(_START).first().over(_RUN))
            .with_columns(value(name).fill_null(value(name).gather(pl.col(_START))) for name in product)
            .filter(pl.any_horizontal(self._is_variant()))
            .join(self._images(told), on=_RUN, how="left", maintain_order="left")
        )
        sellable = filled.select(_sellable(self._available)).to_series()
        self._leave_out(filled.get_column(self._handle).filter(~sellable))
        return filled.filter(sellable).with_columns(named(self._fields)).drop(_RUN, _START, _IMAGES)

    def _images(self, rows: pl.DataFrame) -> pl.DataFrame:
        """All images of each product, in order."""
        image = first(self._available, *_IMAGE).alias(_IMAGES)
        return rows.select(_RUN, image).drop_nulls().group_by(_RUN, maintain_order=True).agg(_IMAGES)

    def _is_variant(self) -> list[pl.Expr]:
        """A row is more than an image as soon as it has a SKU, a price or an option of its own."""
        present = [first(self._available, *names).is_not_null() for names in (_SKU, _PRICE)]
        return [*present, first(self._available, "Option1 Value", "Option1 value").is_not_null()]


def _start_of_last(handles: pl.Series) -> int:
    """Row with which the last product of a block begins."""
    runs = pl.DataFrame({"handle": handles}).select(value("handle").forward_fill().rle_id()).to_series()
    return int((runs != runs[-1]).sum()) if len(runs) else 0


def _is_of_a_row(name: str) -> bool:
    lowered = name.lower()
    return lowered.startswith(_OF_A_ROW) or (lowered.startswith("option") and lowered.strip().endswith("value"))


def _sellable(available: Sequence[str]) -> pl.Expr:
    status = first(available, "Status").str.to_lowercase().fill_null("active")
    published = first(available, "Published", "Published on online store").str.to_lowercase().fill_null("true")
    return (status == "active") & ~published.is_in(["false", "no"])


def _fields(available: Sequence[str], handle: str) -> dict[str, pl.Expr]:
    def google(name: str) -> pl.Expr:
        return first(available, f"Google Shopping / {name}", f"Google Shopping / {name.lower()}")

    price, before = first(available, *_PRICE), first(available, *_BEFORE)
    reduced = before.cast(pl.Float64, strict=False) > price.cast(pl.Float64, strict=False)
    html = first(available, "Body (HTML)", "Description")
    pairs = [
        (
            first(available, f"Option{number} Name", f"Option{number} name"),
            first(available, f"Option{number} Value", f"Option{number} value"),
        )
        for number in _OPTIONS
    ]
    single = (pairs[0][1] == "Default Title").fill_null(value=True)
    own_image = first(available, "Variant Image", "Variant image URL")
    fields = {
        "id": first(available, *_SKU).str.strip_prefix("'"),
        "title": first(available, "Title"),
        "description": plain_text(html),
        "rich_text_description": rich_text(html),
        "brand": first(available, "Vendor"),
        "gtin": first(available, "Variant Barcode", "Barcode").str.strip_prefix("'"),
        "price": pl.when(reduced).then(before).otherwise(price),
        "sale_price": pl.when(reduced).then(price),
        "condition": google("Condition").fill_null("new"),
        "image_link": pl.coalesce(own_image, pl.col(_IMAGES).list.first()),
        "additional_image_link": additional_images(pl.col(_IMAGES)),
        "product_type": first(available, "Type", "Product Category", "Product category"),
        "google_product_category": google("Google Product Category"),
        "gender": google("Gender"),
        "age_group": google("Age Group"),
        "mpn": google("MPN"),
        "item_group_id": pl.when(~single).then(value(handle)),
        **{name: pl.when(~single).then(text) for name, text in options(pairs).items()},
        **{f"custom_label_{number}": google(f"Custom Label {number}") for number in range(5)},
    }
    return {**fields, **_stock(available)}


def _stock(available: Sequence[str]) -> dict[str, pl.Expr]:
    """A variant that is not tracked, or may be oversold, is in stock."""
    if not has(available, *_STOCK):
        return {"availability": pl.lit("in stock")}
    count = first(available, *_STOCK).cast(pl.Int64, strict=False)
    tracked = first(available, *_TRACKER).is_not_null() if has(available, *_TRACKER) else pl.lit(value=True)
    endless = first(available, *_POLICY).str.to_lowercase().is_in(["continue", "true"]).fill_null(value=False)
    sold_out = tracked & ~endless & (count <= 0).fill_null(value=False)
    return {
        "availability": pl.when(sold_out).then(pl.lit("out of stock")).otherwise(pl.lit("in stock")),
        "quantity_to_sell_on_facebook": pl.when(tracked & (count >= 0)).then(count.cast(pl.String)),
    }
