"""Meta's item fields as far as this package treats them specially, and the order in which files carry them.

Every value is text. A value that is absent, empty or blank-only after trimming is null: the two are never told apart,
because a file cannot (Meta: catalog reference, an empty cell clears the field).
"""

import re
from collections.abc import Iterable

ID = "id"
GROUP = "item_group_id"
AVAILABILITY = "availability"
QUANTITY = "quantity_to_sell_on_facebook"
CURRENCY = "currency"
"""Column of a source, never sent: the code for prices that carry none."""

VOLATILE = ("price", "sale_price", "sale_price_effective_date", AVAILABILITY, QUANTITY)
"""Fields that must reach Meta within 15 minutes of a change (Meta: catalog integration guide, requirement 1)."""

REQUIRED = ("id", "title", "description", "availability", "condition", "price", "link", "image_link")
"""Meta: catalog reference, required fields; brand, gtin and mpn are required as one of three."""
IDENTIFIERS = ("brand", "gtin", "mpn")

KNOWN = (
    "id",
    "title",
    "description",
    *VOLATILE,
    "condition",
    "link",
    "image_link",
    "brand",
    "item_group_id",
    "additional_image_link",
    "google_product_category",
    "fb_product_category",
    "product_type",
    "color",
    "size",
    "gender",
    "age_group",
    "material",
    "pattern",
    "additional_variant_attribute",
    "gtin",
    "mpn",
    "rich_text_description",
    "short_description",
    "custom_label_0",
    "custom_label_1",
    "custom_label_2",
    "custom_label_3",
    "custom_label_4",
    "custom_number_0",
    "custom_number_1",
    "custom_number_2",
    "custom_number_3",
    "custom_number_4",
    "status",
    "shipping",
    "shipping_weight",
    "expiration_date",
    "mobile_link",
    "unit_price",
    "commerce_tax_category",
    "internal_label",
    "disabled_capabilities",
    "ordering_index",
    "origin_country",
    "importer_name",
    "importer_address",
    "manufacturer_info",
    "wa_compliance_category",
    "return_policy_info",
    "rating_count",
    "user_rating",
    "vendor_id",
    "previous_id",
)
"""Meta: field table of PRODUCT_ITEM. Columns of a source with these names need no mapping."""
_NESTED = re.compile(r"^(image|video)\[\d{1,2}\]\.(url|tag\[\d{1,2}\])$|^applink\.\w+$")
"""Nested values that files write as columns of their own (Meta: catalog reference)."""


def is_known(name: str) -> bool:
    return name in _PLACE or _NESTED.match(name) is not None


OUT_OF_STOCK = "out of stock"
AVAILABILITIES = ("in stock", "available for order", "preorder", OUT_OF_STOCK, "discontinued", "pending")
"""Meta: field table, items_batch reference and item node, which publish different subsets."""
UNSELLABLE = (OUT_OF_STOCK, "discontinued")
CONDITIONS = (
    "new",
    "refurbished",
    "used",
    "used_like_new",
    "used_good",
    "used_fair",
    "cpo",
    "open_box_new",
)

GENDERS = ("female", "male", "unisex")
AGE_GROUPS = ("adult", "all ages", "teen", "kids", "toddler", "infant", "newborn")
STATUSES = ("active", "archived")
WA_COMPLIANCE = ("DEFAULT", "COUNTRY_ORIGIN_EXEMPT")

LENGTHS_MAX = {"id": 100, "title": 200, "description": 9_999, "brand": 100, "item_group_id": 100}
"""Characters. Meta: catalog reference (files); the batch reference publishes smaller ones for some."""
OPTIONAL_LENGTHS_MAX = {
    "rich_text_description": 9_999,
    "product_type": 750,
    "google_product_category": 250,
    "color": 200,
    "size": 200,
    "material": 200,
    "pattern": 100,
    "mpn": 100,
    "vendor_id": 100,
    "previous_id": 100,
    "custom_label_0": 100,
    "custom_label_1": 100,
    "custom_label_2": 100,
    "custom_label_3": 100,
    "custom_label_4": 100,
}
"""Characters. Meta: catalog reference. A longer value is dropped by Meta, the row is not."""

_PLACE = {name: place for place, name in enumerate(KNOWN)}


def in_order(names: Iterable[str]) -> list[str]:
    """Fixed order of columns: Meta's known fields first, then the others by name; never a private column."""
    return sorted({name for name in names if not name.startswith("_")}, key=lambda n: (_PLACE.get(n, len(KNOWN)), n))
