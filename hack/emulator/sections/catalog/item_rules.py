"""Ingestion checks of one product row.

A fatal issue means the row is not ingested; a warning means the field is dropped, or only advised about, and the rest
of the row is applied (Product Feed Upload Errors). One function decides for files and batches; the fast path for large
files (`feed_columns`) may only ever call a row clean that this function calls clean.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from hack.emulator import jsons
from hack.emulator.documented import Provenance, behaviour
from hack.emulator.sections.catalog import item_fields
from hack.emulator.sections.catalog.item_fields import FieldRule, Kind

FATAL = "fatal"
WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Issue:
    severity: str
    type: str
    field: str
    summary: str
    description: str

    @property
    def message(self) -> str:
        return f"{self.summary}: {self.description}"


@dataclass(frozen=True, slots=True)
class Checked:
    """The values that are left, and what was found; a fatal issue means that none of them is used."""

    values: dict[str, str]
    issues: tuple[Issue, ...]

    @property
    def fatal(self) -> bool:
        return any(issue.severity == FATAL for issue in self.issues)


PAGE = "Product Feed Upload Errors"
behaviour(
    "item.required",
    page="Catalog Reference",
    section="Required fields",
    provenance=Provenance.DOCUMENTED,
    says=(
        "a new item needs id, title, description, availability, condition, price, link, an image, and one of brand, "
        "gtin and mpn"
    ),
)
behaviour(
    "item.format",
    page="Catalog Reference",
    section="Supported fields",
    provenance=Provenance.DOCUMENTED,
    says="a required field in a wrong format refuses the row; an optional one is dropped with a warning",
)
behaviour(
    "item.lengths",
    page="Catalog Reference / Product Catalog Items Batch",
    section="Supported fields",
    provenance=Provenance.DOCUMENTED,
    says=(
        "title above 200 and description above 9,999 characters refuse the row; above 100 and 5,000 they are warned "
        "about"
    ),
)
behaviour(
    "item.price",
    page="Catalog Reference",
    section="price",
    provenance=Provenance.DOCUMENTED,
    says=(
        "a price is a number with a decimal point, a space and an ISO 4217 code; a feed's default_currency stands in "
        "for a missing code"
    ),
)
behaviour(
    "item.sale_price",
    page="Catalog Reference",
    section="sale_price",
    provenance=Provenance.DOCUMENTED,
    says="a sale price that is not below the price is dropped with a warning; an empty or zero one clears",
)

URL = re.compile(r"^(?:https?|ftp|sftp)://(?P<host>[^\s/?#@]+)(?:[/?#][^\s]*)?$", re.IGNORECASE)
PRICE = re.compile(r"^(?P<amount>\d{1,15}(?:\.\d{1,6})?)(?:\s+(?P<currency>[A-Z]{3}))?$")
DATE = re.compile(r"^\d{4}-\d{2}-\d{2}$")
MOMENT = r"\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2})?(?:Z|[+-]\d{2}:?\d{2})?)?"
DATE_RANGE = re.compile(rf"^{MOMENT}/{MOMENT}$")
URL_SPLIT = re.compile(r"[,;| ]+")

REQUIRED_WORDS = {
    "availability": (
        "Products need to have availability listed to run in ads. Include the current availability for each product "
        'in your data feed file and upload it again. You can only add the supported values "in stock", "out of stock", '
        '"preorder", "available for order", "discontinued", "pending" in US English under the "availability" column.'
    ),
    "image_link": (
        "Products need to have an image to run in ads. Include an image link for each product and upload it again."
    ),
    "brand": (
        "Products need at least one of brand, GTIN or MPN. Include one of them for each product and upload it again."
    ),
}
URL_WORDS = (
    "The provided URL is formatted incorrectly. If multiple links are included in one field, "
    "separate them using a comma. Specifying username and password in the URL is not supported."
)


def missing(field: str) -> Issue:
    words = REQUIRED_WORDS.get(
        field,
        f"Products need to have {field} listed to run in ads. Include {field} for each product and upload it again.",
    )
    return Issue(FATAL, f"EMPTY_{field.upper()}", field, "A required field is missing", words)


def _wrong(rule: FieldRule, type_: str, summary: str, description: str) -> Issue:
    return Issue(FATAL if rule.required else WARNING, type_, rule.name, summary, description)


def _text(rule: FieldRule, value: str) -> tuple[str | None, Issue | None]:
    if rule.refused_above and len(value) > rule.refused_above:
        words = f"{rule.name} must not be longer than {rule.refused_above} characters; this one has {len(value)}."
        return None, _wrong(rule, "PROPERTY_VALUE_STRING_EXCEEDS_LENGTH", "Field is too long", words)
    if rule.warned_above and len(value) > rule.warned_above:
        words = f"{rule.name} should not be longer than {rule.warned_above} characters; this one has {len(value)}."
        return value, Issue(WARNING, "PROPERTY_VALUE_STRING_EXCEEDS_LENGTH", rule.name, "Field is too long", words)
    return value, None


def _enum(rule: FieldRule, value: str) -> tuple[str | None, Issue | None]:
    if value.strip() in rule.values:
        return value.strip(), None
    allowed = ", ".join(f'"{word}"' for word in rule.values)
    words = f'"{value[:100]}" is not supported for {rule.name}. Supported values: {allowed}.'
    return None, _wrong(rule, "PROPERTY_VALUE_FORMAT", "Unsupported value", words)


def is_url(value: str) -> bool:
    return URL.match(value) is not None


def _url(rule: FieldRule, value: str) -> tuple[str | None, Issue | None]:
    if is_url(value.strip()):
        return value.strip(), None
    return None, _wrong(rule, "INVALID_URL", "URL Incorrectly Formatted", URL_WORDS)


def _urls(rule: FieldRule, value: str) -> tuple[str | None, Issue | None]:
    found = (
        [str(one) for one in jsons.as_list(_json_or_none(value))]
        if value.startswith("[")
        else URL_SPLIT.split(value.strip())
    )
    if not all(is_url(one.strip()) for one in found):
        return None, _wrong(rule, "INVALID_URL", "URL Incorrectly Formatted", URL_WORDS)
    if len(found) > rule.most:
        return None, _wrong(
            rule, "PROPERTY_VALUE_FORMAT", "Too many images", f"{rule.name} takes up to {rule.most} URLs."
        )
    return value, None


def price_of(value: str, default_currency: str = "") -> tuple[Decimal, str] | None:
    """Amount and currency of a well-formed price."""
    match = PRICE.match(value.strip())
    currency = (match["currency"] or default_currency) if match else ""
    return (Decimal(match["amount"]), currency) if match and currency else None


def _json_or_none(value: str) -> jsons.Json:
    try:
        return jsons.parse(value)
    except ValueError:
        return None


def _number(rule: FieldRule, value: str) -> tuple[str | None, Issue | None]:
    try:
        number = Decimal(value.strip())
    except InvalidOperation:
        number = Decimal("NaN")
    whole = rule.kind is Kind.NUMBER or number == number.to_integral_value() if number.is_finite() else False
    if whole and rule.least <= number <= rule.most:
        return value.strip(), None
    words = f'"{value[:100]}" is not a number from {rule.least} to {rule.most}.'
    return None, _wrong(rule, "PROPERTY_VALUE_FORMAT", "Unsupported value", words)


def _pattern(pattern: re.Pattern[str], shape: str) -> Callable[[FieldRule, str], tuple[str | None, Issue | None]]:
    def check(rule: FieldRule, value: str) -> tuple[str | None, Issue | None]:
        if pattern.match(value.strip()):
            return value.strip(), None
        words = f'"{value[:100]}" is not in the form {shape}.'
        return None, _wrong(rule, "PROPERTY_VALUE_FORMAT", "Unsupported value", words)

    return check


def _boolean(rule: FieldRule, value: str) -> tuple[str | None, Issue | None]:
    if value.strip().lower() in ("true", "false"):
        return value.strip().lower(), None
    return None, _wrong(
        rule, "PROPERTY_VALUE_FORMAT", "Unsupported value", f'"{value[:100]}" is neither true nor false.'
    )


def _as_is(_rule: FieldRule, value: str) -> tuple[str | None, Issue | None]:
    return value, None


CHECKS: dict[Kind, Callable[[FieldRule, str], tuple[str | None, Issue | None]]] = {
    Kind.TEXT: _text,
    Kind.ENUM: _enum,
    Kind.URL: _url,
    Kind.URLS: _urls,
    Kind.INTEGER: _number,
    Kind.NUMBER: _number,
    Kind.DATE: _pattern(DATE, "YYYY-MM-DD"),
    Kind.DATE_RANGE: _pattern(DATE_RANGE, "YYYY-MM-DDThh:mm+hh:mm/YYYY-MM-DDThh:mm+hh:mm"),
    Kind.JSON: _as_is,
    Kind.BOOLEAN: _boolean,
}


def _price(rule: FieldRule, value: str, default_currency: str) -> tuple[str | None, Issue | None]:
    found = price_of(value, default_currency)
    if found is None:
        words = (
            f'"{value[:100]}" is not a price. Write the number with a decimal point, a space and the ISO 4217 currency '
            'code, for example "9.99 USD".'
        )
        return None, _wrong(rule, "PROPERTY_VALUE_FORMAT", f"Invalid {rule.name}", words)
    if rule.name == "sale_price" and found[0] == 0:
        return "", None
    amount = value.strip().split()[0]
    return f"{amount} {found[1]}", None


def _one(name: str, value: str, default_currency: str) -> tuple[str | None, Issue | None]:
    rule = item_fields.RULES.get(name)
    if rule is None:
        return value, None
    if rule.kind is Kind.PRICE:
        return _price(rule, value, default_currency)
    return CHECKS[rule.kind](rule, value)


def check_row(
    values: Mapping[str, str], *, complete: bool, default_currency: str = "", recommend: bool = False
) -> Checked:
    """`complete`: the row makes an item, so nothing required may be missing. Empty values clear, so they are kept."""
    kept: dict[str, str] = {}
    issues: list[Issue] = []
    for name, value in values.items():
        if not value.strip():
            rule = item_fields.RULES.get(name)
            if rule is not None and rule.required:
                issues.append(missing(name))
            kept[name] = ""
            continue
        good, issue = _one(name, value, default_currency)
        if issue is not None:
            issues.append(issue)
        if good is not None:
            kept[name] = good
    if complete:
        issues += _missing(kept, issues)
        if recommend and not (kept.get("google_product_category") or kept.get("fb_product_category")):
            issues.append(NO_CATEGORY)
    relation = relate(kept)
    if relation is not None:
        issues.append(relation)
        kept.pop(relation.field, None)
    return Checked(values=kept, issues=tuple(issues))


NO_CATEGORY = Issue(
    WARNING,
    "PROPERTY_VALUE_MISSING_WARNING",
    "google_product_category",
    "These fields have missing information",
    "Make items easier to discover by providing google_product_category information.",
)


def _missing(kept: Mapping[str, str], found: list[Issue]) -> list[Issue]:
    named = {issue.field for issue in found}
    issues = [missing(name) for name in item_fields.REQUIRED if not kept.get(name) and name not in named]
    has_image = any(
        value for name, value in kept.items() if name in ("image_link", "image") or name.startswith("image[")
    )
    if not has_image:
        issues.append(missing("image_link"))
    if not (kept.get("brand") or kept.get("gtin") or kept.get("mpn")):
        issues.append(missing("brand"))
    return issues


def relate(values: Mapping[str, str]) -> Issue | None:
    """What one field forbids another."""
    price, sale = price_of(values.get("price", "")), price_of(values.get("sale_price", ""))
    if price is None or sale is None or (sale[0] < price[0] and sale[1] == price[1]):
        return None
    words = f"sale_price {values['sale_price']} must be lower than price {values['price']} and in the same currency."
    return Issue(WARNING, "INVALID_SALE_PRICE", "sale_price", "Invalid sale_price", words)
