"""Feeds that are nearly Meta's own: Google Merchant's, and the template that Meta offers for download. Row-local.

Google's names are recognised as "image link", image_link or g:image_link; only where Google means the same by another
name or word is there something to do. Meta's template has lines that describe the columns ("# Required | …").
"""

import re
from collections.abc import Iterator, Sequence
from typing import ClassVar

import polars as pl
from typing_extensions import override

from controller.products.assembly import Again, Frames, Left, conform
from controller.products.presets.parts import Export, first, must_have, named
from controller.products.rules import NAMED_MAX

_COMMENT = r"^#\s*(Required|Optional)?\s*\|?"
_COST = re.compile(r"^(g:)?shipping(\.\d+)?\.price$")
"""Shipping in XML has parts, and may come several times."""
_TAGS = re.compile(r"^(product_tags|internal_label)\[\d+\]$")


class GoogleMerchant(Export):
    """Names and words of Google's product data specification."""

    ROW_LOCAL: ClassVar = True

    def __init__(self, available: Sequence[str]) -> None:
        by_plain = {re.sub(r"[\s-]+", "_", name.strip().lower()).removeprefix("g:"): name for name in available}
        must_have(available if "id" not in by_plain else by_plain, ("id",), "GoogleMerchant")
        fields = {
            field: first(available, *(by_plain[name] for name in names if name in by_plain))
            for field, names in (
                ("quantity_to_sell_on_facebook", ("sell_on_google_quantity", "quantity")),
                ("video[0].url", ("video_link",)),
                ("additional_image_link", ("additional_image_link", "lifestyle_image_link")),
                ("link", ("link", "canonical_link")),
                ("title", ("title", "structured_title")),
                ("description", ("description", "structured_description")),
            )
            if any(name in by_plain for name in names)
        }
        costs = [name for name in available if _COST.match(name)]
        if costs:
            fields["shipping"] = _shipping(available, costs)
        super().__init__(available, fields)

    @override
    def frames(self, blocks: Frames, again: Again) -> Iterator[pl.DataFrame]:
        for block in blocks:
            yield conform(block, self._available).with_columns(named(self._fields))


class MetaTemplate(Export):
    """The file that Meta offers for download, with its lines of description."""

    ROW_LOCAL: ClassVar = True

    def __init__(self, available: Sequence[str]) -> None:
        must_have(available, ("id",), "MetaTemplate")
        tags = [name for name in available if _TAGS.match(name)]
        left = Left("template-lines", "lines that describe the columns are no items", NAMED_MAX)
        super().__init__(available, {"internal_label": _as_list(tags)} if tags else {}, left)

    @override
    def frames(self, blocks: Frames, again: Again) -> Iterator[pl.DataFrame]:
        for block in blocks:
            whole = conform(block, self._available)
            comments = whole.get_column("id").str.contains(_COMMENT).fill_null(value=False)
            self._leave_out(whole.get_column("id").filter(comments))
            yield whole.filter(~comments).with_columns(named(self._fields))


def _shipping(available: Sequence[str], costs: Sequence[str]) -> pl.Expr:
    """Write nested shipping as Meta has it in one cell: COUNTRY:REGION:SERVICE:PRICE, separated by commas."""
    numbered = [_one_shipping(available, cost) for cost in costs if any(part.isdigit() for part in cost.split("."))]
    alone = [_one_shipping(available, cost) for cost in costs if not any(part.isdigit() for part in cost.split("."))]
    joined = pl.concat_str(numbered, separator=",", ignore_nulls=True) if numbered else pl.lit("")
    return pl.coalesce(pl.when(joined != "").then(joined), *alone)


def _one_shipping(available: Sequence[str], cost: str) -> pl.Expr:
    prefix = cost.removesuffix("price")
    parts = [first(available, prefix + part).fill_null("") for part in ("country", "region", "service")]
    return pl.when(first(available, cost).is_not_null()).then(pl.concat_str(*parts, cost, separator=":"))


def _as_list(names: Sequence[str]) -> pl.Expr:
    """Tags of a row as Meta writes a list in one cell."""
    quoted = [
        pl.when(pl.col(name) != "").then(pl.format("'{}'", pl.col(name).str.replace_all("'", ""))) for name in names
    ]
    joined = pl.concat_str(quoted, separator=",", ignore_nulls=True)
    return pl.when(joined != "").then(pl.format("[{}]", joined))
