"""What Meta says about rows, and which field it means.

Meta's messages are prose. A field counts as named only when the message quotes exactly one that we know, in one of the
ways that documented messages use; a wrong guess would acknowledge a value that Meta dropped. No name means: any field
of the row may be meant.
"""

import re
from collections.abc import Iterable
from typing import Literal

from controller.meta import errors, wire
from controller.ports.meta import Problem

FEED_NAMES = {
    "name": "title",
    "url": "link",
    "image_url": "image_link",
    "additional_image_urls": "additional_image_link",
    "retailer_id": "id",
    "retailer_product_group_id": "item_group_id",
    "manufacturer_part_number": "mpn",
    "category": "google_product_category",
    "tags": "internal_label",
    "product_tags": "internal_label",
    "inventory": "quantity_to_sell_on_facebook",
    "visibility": "status",
    "sale_price_start_date": "sale_price_effective_date",
    "sale_price_end_date": "sale_price_effective_date",
    "shipping_weight_value": "shipping_weight",
    "shipping_weight_unit": "shipping_weight",
    "shipping_price_value": "shipping",
    "shipping_price_currency": "shipping",
    "additional_variant_attributes": "additional_variant_attribute",
    "currency": "price",
}
"""Names of the Graph node (Meta: product item) to names of feeds (Meta: catalog field reference)."""

_FIELDS = """
id title description availability condition price link image_link image brand quantity_to_sell_on_facebook
sale_price sale_price_effective_date item_group_id previous_id status google_product_category fb_product_category
product_type additional_image_link video rich_text_description short_description color size gender age_group
material pattern additional_variant_attribute gtin mpn custom_label_0 custom_label_1 custom_label_2 custom_label_3
custom_label_4 custom_number_0 custom_number_1 custom_number_2 custom_number_3 custom_number_4 internal_label
shipping shipping_weight expiration_date mobile_link applink unit_price commerce_tax_category disabled_capabilities
ordering_index origin_country importer_name importer_address manufacturer_info wa_compliance_category
return_policy_info rating_count user_rating vendor_id
"""
FIELDS = frozenset(_FIELDS.split())
"""Names of feeds (Meta: catalog field reference)."""

_NAMING = (
    re.compile(r"unrecogni[sz]ed field: '([^']+)'\s*$", re.IGNORECASE),
    re.compile(r"under the [\"']([A-Za-z0-9_ ]+)[\"'] column", re.IGNORECASE),
    re.compile(r"for propert(?:y|ies): ([A-Za-z0-9_, ]+)", re.IGNORECASE),
    re.compile(r"field is missing: ([A-Za-z0-9_]+)\s*(?:[.(]|$)", re.IGNORECASE),
    re.compile(r"attribute '([A-Za-z0-9_ ]+)'", re.IGNORECASE),
    re.compile(r"\bparam(?:eter)? '?([a-z][a-z0-9_]+)'? (?:is|must)\b", re.IGNORECASE),
    re.compile(r"\bproviding ([a-z][a-z0-9_]*) information", re.IGNORECASE),
    re.compile(r"products need to have (?:an? )?([a-z][a-z0-9_]*) listed", re.IGNORECASE),
    re.compile(r"\binvalid ([a-z][a-z0-9_]*)(?=:|$)", re.IGNORECASE),
    re.compile(r"\bnot supported for ([a-z][a-z0-9_]*)", re.IGNORECASE),
    re.compile(r"^(?:[^:]*: )?([a-z][a-z0-9_]*) (?:must|should) not be ", re.IGNORECASE),
    re.compile(r"\b(?:field|column|property) [\"']([A-Za-z0-9_ ]+)[\"']", re.IGNORECASE),
)
_UNDERSCORED = re.compile(r"\b[a-z]+(?:_[a-z0-9]+)+\b")


def feed_name(name: str) -> str:
    """Translate a name of the Graph node; other names, our own custom ones too, stay as they are."""
    plain = name.strip()
    folded = plain.casefold().replace(" ", "_")
    if folded in FEED_NAMES:
        return FEED_NAMES[folded]
    return folded if folded in FIELDS else plain


def named_field(*texts: str) -> str | None:
    """Return the one field that the texts name, or None where they name none or several."""
    for text in texts:
        for pattern in _NAMING:
            found = {feed_name(name) for match in pattern.finditer(text) for name in match.group(1).split(",")}
            found.discard("")
            if len(found) == 1:
                only = found.pop()
                if only in FIELDS or pattern is _NAMING[0]:
                    return only
    known = {feed_name(word) for text in texts for word in _UNDERSCORED.findall(text)} & FIELDS
    return known.pop() if len(known) == 1 else None


def single_field(names: str) -> str | None:
    """Read a cell that lists fields; only a single one is a name."""
    listed = (name.strip(" '\"") for name in re.split(r"[,;|]", names.strip("[]{} \t")))
    found = {feed_name(name) for name in listed if name}
    return found.pop() if len(found) == 1 else None


def severity_of(text: str) -> Literal["fatal", "warning"]:
    """A severity that we do not know counts as fatal: the row is then looked at, not taken as accepted."""
    return "warning" if text.strip().casefold().startswith("warn") else "fatal"


def remark_problems(
    remarks: Iterable[wire.Remark], severity: Literal["fatal", "warning"], item_id: str | None = None
) -> tuple[Problem, ...]:
    return tuple(
        Problem(severity, errors.clean(remark.message), remark.id or item_id, named_field(remark.message))
        for remark in remarks
    )


def upload_problems(error: wire.UploadError, samples: Iterable[wire.Sample]) -> tuple[Problem, ...]:
    """Spread one error of an upload over the rows that its samples name; one more stands for those that they do not."""
    severity = severity_of(error.severity)
    message = errors.clean(_join(error.summary, error.description))
    field = named_field(error.summary, error.description)
    ids = dict.fromkeys(sample.retailer_id for sample in samples if sample.retailer_id)
    named = tuple(Problem(severity, message, item_id, field) for item_id in ids)
    unnamed = max(error.total_count if error.total_count is not None else 1, 1) - len(named)
    if unnamed > 0:
        return (*named, Problem(severity, message, None, field, unnamed))
    return named


def _join(summary: str, description: str) -> str:
    return " ".join(part for part in (summary, description) if part)
