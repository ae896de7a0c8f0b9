"""Fields of a product item: what each may hold, in feeds and in batches.

Names are those of feeds and `items_batch`. Sources: Catalog Reference (feeds) and Product Catalog Items Batch; where
the two disagree on a length, the shorter one warns and the longer one refuses.
"""

import re
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    TEXT = "text"
    ENUM = "enum"
    URL = "url"
    URLS = "urls"
    PRICE = "price"
    INTEGER = "integer"
    NUMBER = "number"
    DATE = "date"
    DATE_RANGE = "date_range"
    JSON = "json"
    BOOLEAN = "boolean"


@dataclass(frozen=True, slots=True)
class FieldRule:
    name: str
    kind: Kind = Kind.TEXT
    refused_above: int = 0  # characters; 0: no limit
    warned_above: int = 0
    values: tuple[str, ...] = ()
    required: bool = False
    least: int = 0
    most: int = 0


AVAILABILITY = (
    "in stock", "out of stock", "available for order", "discontinued", "preorder", "pending", "mark_as_sold",
    "mark_as_expired",
)  # fmt: skip
SELLABLE = frozenset({"in stock", "available for order", "preorder"})
CONDITION = (
    "new", "refurbished", "used", "used_like_new", "used_good", "used_fair", "cpo", "open_box_new",
)  # fmt: skip
VOLATILE = ("availability", "price", "sale_price", "sale_price_effective_date", "quantity_to_sell_on_facebook")
ID_MAX = 100
FIELDS_MAX_LINE_BYTES = 5_242_880  # Catalog integration guide: length of one line of a feed file

RULES: dict[str, FieldRule] = {
    rule.name: rule
    for rule in (
        FieldRule("id", refused_above=ID_MAX, required=True),
        FieldRule("title", refused_above=200, warned_above=100, required=True),
        FieldRule("description", refused_above=9_999, warned_above=5_000, required=True),
        FieldRule("availability", Kind.ENUM, values=AVAILABILITY, required=True),
        FieldRule("condition", Kind.ENUM, values=CONDITION, required=True),
        FieldRule("price", Kind.PRICE, required=True),
        FieldRule("link", Kind.URL, required=True),
        FieldRule("image_link", Kind.URL),
        FieldRule("image", Kind.JSON),
        FieldRule("additional_image_link", Kind.URLS, refused_above=0, most=50),
        FieldRule("brand", refused_above=100),
        FieldRule("gtin", refused_above=70),
        FieldRule("mpn", refused_above=100),
        FieldRule("quantity_to_sell_on_facebook", Kind.INTEGER, most=4_294_967_295),
        FieldRule("inventory", Kind.INTEGER, most=4_294_967_295),
        FieldRule("sale_price", Kind.PRICE),
        FieldRule("sale_price_effective_date", Kind.DATE_RANGE),
        FieldRule("item_group_id", refused_above=100),
        FieldRule("previous_id", refused_above=ID_MAX),
        FieldRule("status", Kind.ENUM, values=("active", "archived")),
        FieldRule("visibility", Kind.ENUM, values=("published", "staging", "hidden")),
        FieldRule("google_product_category", refused_above=250),
        FieldRule("fb_product_category"),
        FieldRule("product_type", refused_above=750),
        FieldRule("video", Kind.JSON),
        FieldRule("rich_text_description", refused_above=9_999),
        FieldRule("short_description"),
        FieldRule("color", refused_above=200, warned_above=100),
        FieldRule("size", refused_above=200),
        FieldRule("gender", Kind.ENUM, values=("female", "male", "unisex")),
        FieldRule("age_group", Kind.ENUM, values=("adult", "all ages", "teen", "kids", "toddler", "infant", "newborn")),
        FieldRule("material", refused_above=200),
        FieldRule("pattern", refused_above=100),
        FieldRule("additional_variant_attribute"),
        *(FieldRule(f"custom_label_{n}", refused_above=100) for n in range(5)),
        *(FieldRule(f"custom_number_{n}", Kind.INTEGER, most=4_294_967_295) for n in range(5)),
        FieldRule("internal_label", Kind.JSON),
        FieldRule("product_tags", Kind.JSON),
        FieldRule("shipping", Kind.TEXT),
        FieldRule("shipping_weight"),
        FieldRule("expiration_date", Kind.DATE),
        FieldRule("mobile_link", Kind.URL),
        FieldRule("applink", Kind.JSON),
        FieldRule("unit_price", Kind.JSON),
        FieldRule("base_price", Kind.PRICE),
        FieldRule("commerce_tax_category"),
        FieldRule("disabled_capabilities", Kind.JSON),
        FieldRule("ordering_index", Kind.INTEGER, most=4_294_967_295),
        FieldRule("origin_country"),
        FieldRule("importer_name"),
        FieldRule("importer_address", Kind.JSON),
        FieldRule("manufacturer_info"),
        FieldRule("wa_compliance_category", Kind.ENUM, values=("DEFAULT", "COUNTRY_ORIGIN_EXEMPT")),
        FieldRule("return_policy_info", Kind.JSON),
        FieldRule("rating_count", Kind.INTEGER, least=1, most=4_294_967_295),
        FieldRule("user_rating", Kind.NUMBER, least=1, most=5),
        FieldRule("vendor_id", refused_above=100),
        FieldRule("native_commerce", Kind.BOOLEAN),
        FieldRule("product_disclosures", Kind.JSON),
    )
}
REQUIRED = tuple(rule.name for rule in RULES.values() if rule.required and rule.name != "id")
# A nested value written as columns of its own, e.g. image[0].url, image[0].tag[1], video[2].url, applink.ios_url.
NESTED_COLUMN = re.compile(
    r"^(image|video)\[\d{1,2}\]\.(url|tag\[\d{1,2}\])$|^applink\.\w+$|^shipping\[\d{1,2}\]\.\w+$"
)
DELETE_COLUMN = "delete"  # Business Help Center: deletes the row's item in an update file


def known(name: str) -> bool:
    return name in RULES or NESTED_COLUMN.match(name) is not None
