"""The fast path for large files: whole columns at a time.

It answers one question: which rows are clean beyond doubt, so that they may be kept as they are? Every other row takes
the path of `item_rules.check_row`, which alone decides. So this module may be too strict, and must never be too lax; a
property test compares the two.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from hack.emulator.items import SEPARATOR
from hack.emulator.sections.catalog import item_fields
from hack.emulator.sections.catalog.feed_files import Table
from hack.emulator.sections.catalog.item_fields import FieldRule, Kind

CLEAN_URL = r"^https?://[a-zA-Z0-9.\-]+(?::\d+)?(?:[/?#][!-~]*)?$"
CLEAN_URLS = r"^https?://[a-zA-Z0-9.\-]+(?::\d+)?(?:[/?#][!-+\--:<-{}~]*)?(?:,https?://[a-zA-Z0-9.\-]+(?::\d+)?(?:[/?#][!-+\--:<-{}~]*)?){0,19}$"
CLEAN_MOMENT = r"\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?:[+-]\d{2}:?\d{2})?)?"
CLEAN_RANGE = rf"^{CLEAN_MOMENT}/{CLEAN_MOMENT}$"
CLEAN_PRICE = r"^\d{1,15}(?:\.\d{1,6})? [A-Z]{3}$"
# A field of nothing but white space, or a character that separates packed rows.
UNCLEAN = f"[\x1c-\x1e]|(?:^|{SEPARATOR})\\s+(?:{SEPARATOR}|$)"
CLEAN_INTEGER = r"^\d{1,9}$"


@dataclass(frozen=True, slots=True)
class Frame:
    data: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Clean:
    ids: list[str]
    values: list[str | None]  # the row as it is kept; None where the other path must look
    data: pl.DataFrame

    def fields(self, place: int) -> list[str]:
        return [str(value) for value in self.data.row(place)]


def well_quoted(block: bytes, delimiter: str) -> bool:
    """Every quote opens or closes a whole field, or is doubled inside one. Readers differ where that is not so."""
    outside = block.split(b'"')[::2]
    after, before = {one[:1] for one in outside[1:]}, {one[-1:] for one in outside[:-1]}
    mark = delimiter.encode()
    return after <= {b"", mark, b"\n", b"\r"} and before <= {b"", mark, b"\n"}


def read(table: Table, block: bytes) -> Frame | None:
    """None where the columns reader can't make sense of the block: then rows are read one by one."""
    if not well_quoted(block, table.delimiter):
        return None
    try:
        data = pl.read_csv(
            block,
            has_header=False,
            new_columns=[str(place) for place in range(len(table.columns))],
            schema={str(place): pl.String for place in range(len(table.columns))},
            separator=table.delimiter,
            infer_schema=False,
            raise_if_empty=False,
        )
    except (pl.exceptions.PolarsError, ValueError):
        return None
    data = data.with_columns(pl.all().fill_null(""))
    if (data[str(table.columns.index("id"))] == "").any():  # what is empty from end to end is no row
        data = data.filter(pl.any_horizontal(pl.all() != ""))
    return Frame(data)


def _clean(column: pl.Expr, rule: FieldRule) -> pl.Expr:
    empty = column == ""
    if rule.kind is Kind.TEXT:
        length = rule.warned_above or rule.refused_above
        good = (
            column.str.len_bytes() <= length if length else pl.lit(value=True)
        )  # bytes are never fewer than characters
    elif rule.kind is Kind.ENUM:
        good = column.is_in(rule.values)
    elif rule.kind is Kind.URL:
        good = column.str.contains(CLEAN_URL)
    elif rule.kind is Kind.PRICE and rule.name != "sale_price":
        good = column.str.contains(CLEAN_PRICE)
    elif rule.kind is Kind.INTEGER and rule.least == 0:
        good = column.str.contains(CLEAN_INTEGER)
    elif rule.kind is Kind.URLS:
        good = column.str.contains(CLEAN_URLS)
    elif rule.kind is Kind.DATE_RANGE:
        good = column.str.contains(CLEAN_RANGE)
    elif rule.kind is Kind.JSON:
        good = pl.lit(value=True)
    else:
        good = pl.lit(value=False)  # rare fields: the other path
    return good & ~empty if rule.required else empty | good


def _sale_price(price: pl.Expr, sale: pl.Expr) -> pl.Expr:
    """A sale price in the currency of the price and, as a number, below it and above zero."""
    amounts = [column.str.split(" ").list.first().cast(pl.Float64, strict=False) for column in (price, sale)]
    same = price.str.slice(-3) == sale.str.slice(-3)
    return sale.str.contains(CLEAN_PRICE) & same & (amounts[1] < amounts[0]) & (amounts[1] > 0)


def _present(columns: dict[str, pl.Expr], *names: str) -> pl.Expr:
    found = [columns[name] != "" for name in names if name in columns]
    return pl.any_horizontal(found) if found else pl.lit(value=False)


def clean_rows(frame: Frame, columns: Sequence[str], *, complete: bool, recommend: bool) -> Clean:
    """`columns`: names in the order of the file, empty for those that are ignored."""
    places = {name: pl.col(str(place)) for place, name in enumerate(columns) if name}
    data = frame.data
    rid = places["id"]
    conditions = [rid.str.contains(r"^[!-~]{1,100}$")]  # printable ASCII without spaces: canonical as it is
    for name, column in places.items():
        rule = item_fields.RULES.get(name)
        if rule is not None and name not in ("id", "sale_price"):
            conditions.append(_clean(column, rule))
    if "sale_price" in places:
        sale = places["sale_price"]
        price = places.get("price", pl.lit(""))
        conditions.append((sale == "") | _sale_price(price, sale))
    if complete:
        conditions += [_present(places, name) for name in item_fields.REQUIRED]
        images = [name for name in places if name in ("image_link", "image") or name.startswith("image[")]
        conditions += [_present(places, *images), _present(places, "brand", "gtin", "mpn")]
        if recommend:
            conditions.append(_present(places, "google_product_category", "fb_product_category"))
    if item_fields.DELETE_COLUMN in places:
        conditions.append(places[item_fields.DELETE_COLUMN] == "")
    joined = pl.concat_str(list(places.values()), separator=SEPARATOR)
    conditions.append(joined.str.count_matches(SEPARATOR, literal=True) == len(places) - 1)
    conditions.append(~joined.str.contains(UNCLEAN))
    found = data.select(rid.alias("rid"), pl.when(pl.all_horizontal(conditions)).then(joined).alias("row"))
    return Clean(ids=found["rid"].to_list(), values=found["row"].to_list(), data=data)
