"""Named checks of a row, as expressions over whole columns.

`normalise` writes values the one way they are compared and sent: ids trimmed and in NFC, prices as "9.90 EUR", enums
in lower case. Each `Rule` then says which rows break it; Error rejects the row, Warning and Advice only count. Where
Meta drops a wrong optional value and takes the rest of the row, so do we: that is a Warning. What Meta alone can judge
is left to Meta. The order of the rules is fixed for given columns: one bit of a mask each, at most `RULES_MAX`.
"""

import functools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import polars as pl

from controller.products import advice, gtin, prices
from controller.products.advice import Level, Rule
from controller.products.fields import (
    AGE_GROUPS,
    AVAILABILITIES,
    AVAILABILITY,
    CONDITIONS,
    GENDERS,
    GROUP,
    ID,
    IDENTIFIERS,
    LENGTHS_MAX,
    OPTIONAL_LENGTHS_MAX,
    OUT_OF_STOCK,
    QUANTITY,
    REQUIRED,
    STATUSES,
    WA_COMPLIANCE,
)

NAMED_MAX = 1_000
"""Items that a finding names: what fits into one report of the API server, at 100 characters an id."""
REJECTED = "_rejected"
ROW_SIZE = "row-size"
RULES_MAX = 126
_PLANS_MAX = 8
"""Lists of columns whose rules are remembered."""
ROW_CURRENCY = "_currency"
"""Column with the currency of a row's prices, where the source has one; ends with `normalise`."""
PRICES = ("price", "sale_price")
_WEB = r"^(?i)https?://[^\s/?#@]+([/?#]\S*)?$"
_MOMENT = r"\d{4}-\d{2}-\d{2}(T\S+)?"
_SALE_DATES = rf"^{_MOMENT}/{_MOMENT}$"
_DATE = r"^\d{4}-\d{2}-\d{2}(T\S*)?$"
_WHOLE_NUMBER = r"^[0-9]{1,12}$"
_SIGNED_NUMBER = r"^[+-]?[0-9]{1,9}(\.0+)?$"
_ZERO = r"^0+(\.0+)?( |$)"
_WEIGHT = r"^(?i)[0-9]+(\.[0-9]+)?\s*(lb|oz|g|kg)$"
_COST = r"[A-Za-z]{2}:[^:,]*:[^:,]*:[0-9]+(\.[0-9]+)? [A-Z]{3}"
_SHIPPING = rf"^(\s*{_COST}\s*(,|$))+$|^\s*[\[{{]"
_OTHER_ATTRIBUTE = "additional_variant_attribute"
_LABELS = r"^[^:,]+:[^:,]+(,[^:,]+:[^:,]+)*$|^\s*[\[{]"
_HTML = r"<[A-Za-z/!]"
_CAPITALS = r"^(?:\P{Ll}*\p{Lu}){5}\P{Ll}*$"
"""Five capital letters and not one small one; stops reading at the first small letter."""
_ADDRESS = r"(?i)https?://"
LINE_BYTES_MAX = 5 << 20
"""Meta: catalog integration guide, length of one line of a feed file."""
IMAGES_MAX = 20
"""Additional images that every published reading of Meta's limit allows."""
IMAGES_LENGTH_MAX = 2_000
"""Characters. Meta: catalog reference, additional_image_link."""
_BETTER_TITLE, _BETTER_DESCRIPTION = 100, 5_000
"""Characters. Meta: items_batch reference; the catalog reference allows more."""
SHORT_DESCRIPTION = 30
_CUSTOM_NUMBER_MAX = 4_294_967_295


@dataclass(frozen=True, slots=True)
class RuleFinding:
    """How often a rule spoke, and the first ids."""

    rule: str
    level: Level
    count: int
    message: str
    sample_ids: tuple[str, ...]


def normalise(frame: pl.DataFrame, currency: str | None, *, decimal_comma: bool = False) -> pl.DataFrame:
    """Write ids, prices and enums in their one form. A value that has none stays as it is, for the rules to name."""
    columns = frame.columns
    code = pl.lit(currency, dtype=pl.String)
    if ROW_CURRENCY in columns:
        code = pl.coalesce(pl.col(ROW_CURRENCY).str.to_uppercase(), code)
    changes = {
        name: prices.canonical(frame, name, code, currency, comma=decimal_comma) for name in PRICES if name in columns
    }
    ids = frame.get_column(ID)
    if (ids.str.len_bytes() != ids.str.len_chars()).any():
        changes[ID] = ids.str.normalize("NFC").str.strip_chars()  # of ASCII, NFC changes nothing
    if AVAILABILITY in columns:
        changes[AVAILABILITY] = _by_value(frame.get_column(AVAILABILITY), canonical_availability)
    for name in ("condition", "gender", "age_group", "status"):
        if name in columns:
            changes[name] = _by_value(frame.get_column(name), lambda text: text.str.to_lowercase())
    if QUANTITY in columns:
        changes[QUANTITY] = _by_value(frame.get_column(QUANTITY), canonical_quantity)
    return frame.with_columns(**changes).drop(ROW_CURRENCY, strict=False)


def _by_value(values: pl.Series, change: Callable[[pl.Expr], pl.Expr]) -> pl.Series:
    """Change each distinct value once: in these columns few occur, and most are as they should be."""
    found = values.unique().drop_nulls()
    changed = found.to_frame("value").select(change(pl.col("value"))).to_series()
    differs = changed.ne_missing(found)
    return values.replace(found.filter(differs), changed.filter(differs)) if differs.any() else values


def canonical_availability(text: pl.Expr) -> pl.Expr:
    """Write an availability with blanks and small letters. A whole number is a stock: 0 and less is out of stock."""
    plain = text.str.to_lowercase().str.replace_all("[ _]+", " ")
    sold_out = text.str.starts_with("-") | text.str.contains(_ZERO)
    by_stock = pl.when(sold_out).then(pl.lit(OUT_OF_STOCK)).otherwise(pl.lit("in stock"))
    return (
        pl.when(text.str.contains(_SIGNED_NUMBER))
        .then(by_stock)
        .when(plain == "backorder")
        .then(pl.lit("available for order"))
        .otherwise(plain)
    )


def canonical_quantity(text: pl.Expr) -> pl.Expr:
    digits = text.str.strip_suffix(".0")
    plain = digits.str.strip_chars_start("0")
    whole = pl.when(plain == "").then(pl.lit("0")).otherwise(plain)
    return pl.when(digits.str.contains(_WHOLE_NUMBER)).then(whole).otherwise(text)


def canonical_price(text: pl.Expr, currency: str | None) -> pl.Expr:
    return prices.canonical_price(text, currency)


def rules_for(columns: list[str], hints: Mapping[str, str] | None = None, currency: str | None = None) -> list[Rule]:
    """Every rule that these columns can be judged by: errors as people fix them, then warnings, then advice.

    `hints` has words to add to the message of a rule, by its name; `currency` is the one that prices should have.
    """
    found = _rules_for(tuple(columns), currency)
    return [replace(rule, message=rule.message + hints.get(rule.name, "")) for rule in found] if hints else [*found]


@functools.lru_cache(_PLANS_MAX)
def _rules_for(columns: tuple[str, ...], currency: str | None) -> tuple[Rule, ...]:
    """Without hints. One step asks for the same rules several times, and hundreds of expressions take a while."""
    found = [*_errors(columns), *_warnings(columns), *_of_currency(columns, currency)]
    found += [*advice.variant_attributes(columns), *advice.rules(columns)]
    assert len(found) <= RULES_MAX, "one bit each"
    return tuple(found)


def flags_of(frame: pl.DataFrame, rules: list[Rule]) -> pl.DataFrame:
    """Return one column per rule: true where it is broken."""
    broken = [rule.broken.fill_null(value=False).alias(rule.name) for rule in rules]
    return frame.lazy().select(broken).collect()  # lazily: what several rules ask is asked once


def check(
    frame: pl.DataFrame, rules: list[Rule], flags: pl.DataFrame | None = None
) -> tuple[pl.DataFrame, list[RuleFinding]]:
    """Add `_rejected` (names of broken Error rules joined by a comma, or null) and count what each rule found."""
    flags = flags_of(frame, rules) if flags is None else flags
    counts = dict(zip(flags.columns, flags.sum().row(0), strict=True)) if flags.width else {}
    findings = [
        RuleFinding(rule.name, rule.level, counts[rule.name], rule.message, _samples(frame, flags[rule.name]))
        for rule in rules
        if counts[rule.name]
    ]
    errors = [found.rule for found in findings if found.level == "Error"]
    if not errors:
        return frame.with_columns(pl.lit(None, dtype=pl.String).alias(REJECTED)), findings
    names = [pl.when(pl.col(name)).then(pl.lit(name)) for name in errors]
    joined = flags.select(pl.concat_str(names, separator=",", ignore_nulls=True).alias(REJECTED)).to_series()
    rejected = joined.set(joined == "", None)
    return frame.with_columns(rejected), findings


def merge(findings: list[RuleFinding]) -> list[RuleFinding]:
    """Add up the findings of several frames, in order of first appearance."""
    merged: dict[str, RuleFinding] = {}
    for each in findings:
        known = merged.get(each.rule)
        if known is None:
            merged[each.rule] = each
            continue
        samples = (*known.sample_ids, *each.sample_ids)[:NAMED_MAX]
        merged[each.rule] = RuleFinding(each.rule, each.level, known.count + each.count, each.message, samples)
    return list(merged.values())


def duplicates(ids: pl.DataFrame) -> pl.DataFrame:
    """Find the rows (id, _line, _rejected, _order) that repeat an id: all but the first accepted one, or the first."""
    repeated = ids.filter(pl.col(ID).is_not_null() & pl.col(ID).is_duplicated())
    ranked = repeated.sort(pl.col(REJECTED).is_not_null(), pl.col("_order"), maintain_order=True)
    first = ranked.group_by(ID, maintain_order=True).agg(
        pl.first("_order").alias("_kept"), pl.first("_line").alias("_kept_line")
    )
    return (
        ranked.join(first, on=ID, how="left", maintain_order="left")
        .filter(pl.col("_order") != pl.col("_kept"))
        .sort("_order")
    )


def _samples(frame: pl.DataFrame, flag: pl.Series) -> tuple[str, ...]:
    shown = frame.get_column(ID).filter(flag).drop_nulls().head(NAMED_MAX)
    return tuple(each[:100] for each in shown.to_list())


def _errors(columns: Collection[str]) -> list[Rule]:
    nested_image = "image[0].url" in columns
    found = [_required(name) for name in REQUIRED if name in columns and not (name == "image_link" and nested_image)]
    found += _one_identifier(columns)
    for name in PRICES:
        if name in columns:
            found += _price(name)
    found += [
        _one_of(name, allowed, "Error")
        for name, allowed in ((AVAILABILITY, AVAILABILITIES), ("condition", CONDITIONS))
        if name in columns
    ]
    found += [_web(name) for name in ("link", "image_link", "mobile_link") if name in columns]
    found += [_length(name, limit, "Error") for name, limit in LENGTHS_MAX.items() if name in columns]
    if QUANTITY in columns:
        broken = ~pl.col(QUANTITY).str.contains(_WHOLE_NUMBER)
        found.append(Rule("quantity-number", "Error", broken, f"{QUANTITY} must be a whole number, e.g. 12"))
    if "sale_price_effective_date" in columns:
        broken = ~pl.col("sale_price_effective_date").str.contains(_SALE_DATES)
        message = "sale_price_effective_date must be START/END in ISO 8601, e.g. 2026-01-31T00:00Z/2026-02-28T23:59Z"
        found.append(Rule("sale-dates-format", "Error", broken, message))
    fields = [name for name in columns if not name.startswith("_")]
    length = pl.sum_horizontal(pl.col(name).str.len_bytes().fill_null(0) for name in fields)
    found.append(Rule(ROW_SIZE, "Error", length > LINE_BYTES_MAX, "a row must have at most 5 MB: Meta's line length"))
    return found


def _warnings(columns: Collection[str]) -> list[Rule]:
    found = [
        *_of_texts(columns),
        *_of_prices(columns),
        *_of_images(columns),
        *(
            _one_of(name, allowed, "Warning")
            for name, allowed in (
                ("gender", GENDERS),
                ("age_group", AGE_GROUPS),
                ("status", STATUSES),
                ("wa_compliance_category", WA_COMPLIANCE),
            )
            if name in columns
        ),
        *(_length(name, limit, "Warning") for name, limit in OPTIONAL_LENGTHS_MAX.items() if name in columns),
        *_of_numbers(columns),
    ]
    if "gtin" in columns:
        message = "gtin must have 8, 12, 13 or 14 digits and the right check digit; leave it empty where there is none"
        found.append(Rule("gtin-check-digit", "Warning", gtin.wrong(pl.col("gtin")), message))
    return found + [
        Rule(name, "Warning", ~pl.col(field).str.contains(pattern), message)
        for name, field, pattern, message in (
            ("expiration-date-format", "expiration_date", _DATE, "expiration_date must be a date, e.g. 2026-12-31"),
            (
                "shipping-weight-format",
                "shipping_weight",
                _WEIGHT,
                "shipping_weight must be e.g. 10 kg (lb, oz, g, kg)",
            ),
            ("tax-category-value", "commerce_tax_category", "^FB_[A-Z0-9_]+$", "commerce_tax_category begins with FB_"),
            ("origin-country-value", "origin_country", "^[A-Z]{2}$", "origin_country must be two letters, e.g. IN"),
            ("shipping-format", "shipping", _SHIPPING, "shipping must be e.g. US:CA:Ground:9.99 USD, or JSON"),
            (
                "variant-attribute-format",
                _OTHER_ATTRIBUTE,
                _LABELS,
                f"{_OTHER_ATTRIBUTE} must be e.g. Lining:Silk,Fit:Slim",
            ),
            ("unit-price-format", "unit_price", r"^\{", "unit_price must be JSON: value, currency and unit"),
            ("return-policy-format", "return_policy_info", r"^\{", "return_policy_info must be JSON"),
            ("importer-address-format", "importer_address", r"^\{", "importer_address must be JSON"),
        )
        if field in columns
    ]


def _of_texts(columns: Collection[str]) -> list[Rule]:
    found: list[Rule] = []
    if "title" in columns:
        title = pl.col("title")
        message = f"title has more than {_BETTER_TITLE} characters: files take it, batches may not"
        found.append(Rule("title-long", "Warning", title.str.len_chars() > _BETTER_TITLE, message))
        message = "title must not be all capitals: Meta rejects or lowers them"
        found.append(Rule("title-capitals", "Warning", title.str.contains(_CAPITALS), message))
    if "description" in columns:
        text = pl.col("description")
        length = text.str.len_chars()
        wrong = (
            ("long", length > _BETTER_DESCRIPTION, "has more than 5,000 characters: files take it, batches may not"),
            ("short", length < SHORT_DESCRIPTION, f"should have at least {SHORT_DESCRIPTION} characters"),
            ("html", text.str.contains(_HTML), "must be plain text: put HTML into rich_text_description"),
            ("capitals", text.str.contains(_CAPITALS), "must not be all capitals"),
            ("link", text.str.contains(_ADDRESS), "must not contain links"),
        )
        found += [Rule(f"description-{word}", "Warning", broken, f"description {why}") for word, broken, why in wrong]
    return found


def _of_prices(columns: Collection[str]) -> list[Rule]:
    found: list[Rule] = []
    if "price" in columns:
        message = "price is zero: Meta shows items for nothing nowhere"
        found.append(Rule("price-zero", "Warning", pl.col("price").str.contains(_ZERO), message))
    if {"price", "sale_price"} <= set(columns):
        price, sale = pl.col("price"), pl.col("sale_price")
        amounts = [each.str.head(-4).cast(pl.Float64, strict=False) for each in (price, sale)]
        not_below = (amounts[1] >= amounts[0]) & (amounts[1] > 0)
        other = price.str.tail(3) != sale.str.tail(3)
        canonical = price.str.contains(prices.CANONICAL) & sale.str.contains(prices.CANONICAL)
        found.append(Rule("sale-price-not-below", "Warning", canonical & not_below, "sale_price must be below price"))
        message = "sale_price and price must have one currency"
        found.append(Rule("sale-price-other-currency", "Warning", canonical & other, message))
    if "sale_price_effective_date" in columns:
        ends = pl.col("sale_price_effective_date").str.split_exact("/", 1)
        days = [ends.struct.field(f"field_{number}").str.head(10) for number in range(2)]
        found.append(Rule("sale-dates-order", "Warning", days[1] < days[0], "a sale must not end before it begins"))
    if AVAILABILITY in columns:
        value = pl.col(AVAILABILITY)
        unusual = value.is_in(AVAILABILITIES) & ~value.is_in(["in stock", OUT_OF_STOCK])
        message = "availability other than in stock and out of stock is not understood on every surface"
        found.append(Rule("availability-unusual", "Warning", unusual, message))
    return found


def _of_currency(columns: Collection[str], currency: str | None) -> list[Rule]:
    """Meta: one currency per file. Which one it should be is known where it is declared."""
    if currency is None or "price" not in columns:
        return []
    price = pl.col("price")
    other = price.str.contains(prices.CANONICAL) & (price.str.tail(3) != currency)
    message = f"price is not in {currency}, the currency of the items entry: Meta takes one currency per file"
    return [Rule("price-other-currency", "Warning", other, message)]


def _of_images(columns: Collection[str]) -> list[Rule]:
    nested = [name for name in columns if name.startswith(("image[", "video[")) and name.endswith(".url")]
    found: list[Rule] = []
    if nested:
        broken = pl.any_horizontal(~pl.col(name).str.contains(_WEB) for name in nested)
        message = "image[0].url, video[0].url and their like must be addresses that start with http:// or https://"
        found.append(Rule("nested-url", "Warning", broken, message))
    if "additional_image_link" not in columns:
        return found
    value_name = "additional_image_link"
    value = pl.col(value_name)
    many = value.str.count_matches("://", literal=True) > IMAGES_MAX
    message = f"additional_image_link has more than {IMAGES_MAX} images: the rest is not shown"
    wrong = "additional_image_link must be addresses that start with http:// or https://, separated by commas"
    long = value.str.len_chars() > IMAGES_LENGTH_MAX
    return [
        *found,
        Rule("additional-images-many", "Warning", many, message),
        Rule("additional-images-length", "Warning", long, f"{value_name} has more than 2,000 characters"),
        Rule("additional-images-url", "Warning", ~value.str.contains(r'^(?i)\[?"?https?://'), wrong),
    ]


def _of_numbers(columns: Collection[str]) -> list[Rule]:
    labels = [name for name in columns if name.startswith("custom_number_")]
    found: list[Rule] = []
    if labels:
        fits = [pl.col(name).cast(pl.UInt32, strict=False).is_null() & pl.col(name).is_not_null() for name in labels]
        message = f"custom_number_0 to _4 must be whole numbers from 0 to {_CUSTOM_NUMBER_MAX}"
        found.append(Rule("custom-number-value", "Warning", pl.any_horizontal(fits), message))
    for name, least, most in (("user_rating", 1.0, 5.0), ("rating_count", 1.0, None), ("ordering_index", 0.0, None)):
        if name in columns:
            number = pl.col(name).cast(pl.Float64, strict=False)
            above = pl.lit(value=False) if most is None else number > most
            broken = pl.col(name).is_not_null() & (number.is_null() | (number < least) | above)
            limits = f"at least {least:g}" + (f" and at most {most:g}" if most else "")
            word = name.replace("_", "-")
            found.append(Rule(f"{word}-value", "Warning", broken, f"{name} must be a number, {limits}"))
    return found


def _required(name: str) -> Rule:
    return Rule(f"{name}-required".replace("_", "-"), "Error", pl.col(name).is_null(), f"{name} must not be empty")


def _one_identifier(columns: Collection[str]) -> list[Rule]:
    present = [name for name in IDENTIFIERS if name in columns]
    if not present:
        return []
    broken = pl.all_horizontal(pl.col(name).is_null() for name in present)
    return [Rule("identifier-required", "Error", broken, "one of brand, gtin and mpn must not be empty")]


def _price(name: str) -> list[Rule]:
    value = pl.col(name)
    fits = value.str.contains(prices.CANONICAL)
    bare = value.str.contains(prices.BARE)
    word = name.replace("_", "-")
    without = f"{name} has no currency: write 9.99 EUR, or set currency on the items entry"
    wrong = (
        f"{name} must be a number, a space and an ISO 4217 code, e.g. 9.99 EUR; for 9,99 € set currency on the items "
        "entry and mapping.decimal: Comma"
    )
    unknown = fits & ~value.str.tail(3).is_in(prices.CODES)
    no_code = f"{name} has a currency that ISO 4217 does not know"
    return [
        Rule(f"{word}-currency", "Error", bare, without),
        Rule(f"{word}-currency-code", "Error", unknown, no_code),
        Rule(f"{word}-format", "Error", ~fits & ~bare, wrong),
    ]


def _one_of(name: str, allowed: tuple[str, ...], level: Level) -> Rule:
    message = f"{name} must be one of: {', '.join(allowed)}; replace other words with mapping.values"
    return Rule(f"{name}-value".replace("_", "-"), level, ~pl.col(name).is_in(allowed), message)


def _web(name: str) -> Rule:
    message = f"{name} must be an address that starts with http:// or https:// and has no blanks"
    return Rule(f"{name}-url".replace("_", "-"), "Error", ~pl.col(name).str.contains(_WEB), message)


def _length(name: str, limit: int, level: Level) -> Rule:
    message = f"{name} must have at most {limit:,} characters"
    word = "group" if name == GROUP else name.replace("_", "-")
    return Rule(f"{word}-length", level, pl.col(name).str.len_chars() > limit, message)
