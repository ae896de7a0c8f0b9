"""Named checks of a row, as expressions over whole columns.

`normalise` writes values the one way they are compared and sent: ids trimmed and in NFC, prices as "9.90 EUR", enums
in lower case. Each `Rule` then says which rows break it; Error rejects the row, Warning and Advice only count.
What Meta alone can judge is left to Meta.
"""

from dataclasses import dataclass
from typing import Literal

import polars as pl

from controller.products.fields import (
    AVAILABILITIES,
    AVAILABILITY,
    CONDITIONS,
    GROUP,
    ID,
    IDENTIFIERS,
    LENGTHS_MAX,
    QUANTITY,
    REQUIRED,
)

SAMPLES_MAX = 10
REJECTED = "_rejected"
PRICES = ("price", "sale_price")
_PRICE = r"^([0-9]{1,12})(?:\.([0-9]{1,6}))?(?:\s*([A-Za-z]{3}))?$"
_CANONICAL_PRICE = r"^[0-9]+(\.[0-9]+)? [A-Z]{3}$"
_NO_DECIMALS = ("CLP", "ISK", "JPY", "KRW", "PYG", "VND", "XAF", "XOF", "XPF", "UGX", "RWF", "KMF", "GNF", "DJF", "BIF")
_THREE_DECIMALS = ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")
"""ISO 4217: currencies without and with three decimals; the others have two."""
_WEB = r"^(?i)https?://[^\s/?#@]+([/?#]\S*)?$"
_SALE_DATES = r"^\d{4}-\d{2}-\d{2}(T\S+)?/\d{4}-\d{2}-\d{2}(T\S+)?$"
_WHOLE_NUMBER = r"^[0-9]{1,12}$"

Level = Literal["Error", "Warning", "Advice"]


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    level: Level
    broken: pl.Expr
    message: str


@dataclass(frozen=True, slots=True)
class RuleFinding:
    """How often a rule spoke, with sample ids."""

    rule: str
    level: Level
    count: int
    message: str
    sample_ids: tuple[str, ...]


def normalise(frame: pl.DataFrame, currency: str | None) -> pl.DataFrame:
    """Write ids, prices and enums in their one form. A value that has none stays as it is, for the rules to name."""
    columns = frame.columns
    changes = {name: canonical_price(pl.col(name), currency) for name in PRICES if name in columns}
    if frame.select((pl.col(ID).str.len_bytes() != pl.col(ID).str.len_chars()).any()).item():
        changes[ID] = pl.col(ID).str.normalize("NFC").str.strip_chars()  # of ASCII, NFC changes nothing
    if AVAILABILITY in columns:
        changes[AVAILABILITY] = pl.col(AVAILABILITY).str.to_lowercase().str.replace_all("[ _]+", " ")
    if "condition" in columns:
        changes["condition"] = pl.col("condition").str.to_lowercase()
    if QUANTITY in columns:
        changes[QUANTITY] = canonical_quantity(pl.col(QUANTITY))
    return frame.with_columns(**changes)


def canonical_quantity(text: pl.Expr) -> pl.Expr:
    digits = text.str.strip_suffix(".0")
    plain = digits.str.strip_chars_start("0")
    whole = pl.when(plain == "").then(pl.lit("0")).otherwise(plain)
    return pl.when(digits.str.contains(_WHOLE_NUMBER)).then(whole).otherwise(text)


def canonical_price(text: pl.Expr, currency: str | None) -> pl.Expr:
    """Write a price so that equal decimals are equal texts: "9.9 eur" and "09.900 EUR" become "9.90 EUR"."""
    parts = text.str.extract_groups(_PRICE)
    code = parts.struct.field("3").str.to_uppercase().fill_null(pl.lit(currency, dtype=pl.String))
    whole = parts.struct.field("1").str.strip_chars_start("0")
    whole = pl.when(whole == "").then(pl.lit("0")).otherwise(whole)
    digits = parts.struct.field("2").fill_null("").str.strip_chars_end("0")
    padded = (
        pl.when(code.is_in(_NO_DECIMALS))
        .then(digits)
        .when(code.is_in(_THREE_DECIMALS))
        .then(digits.str.pad_end(3, "0"))
        .otherwise(digits.str.pad_end(2, "0"))
    )
    fraction = pl.when(padded == "").then(pl.lit("")).otherwise(pl.concat_str(pl.lit("."), padded))
    canonical = pl.concat_str(whole, fraction, pl.lit(" "), code)
    return pl.when(canonical.is_not_null()).then(canonical).otherwise(text)


def rules_for(columns: list[str]) -> list[Rule]:
    """Every rule that these columns can be judged by. Order: as people fix them."""
    found = [_required(name) for name in REQUIRED if name in columns]
    found += _one_identifier(columns)
    for name in PRICES:
        if name in columns:
            found += _price(name)
    found += _enums(columns)
    found += [_web(name) for name in ("link", "image_link", "mobile_link") if name in columns]
    found += [_length(name, limit) for name, limit in LENGTHS_MAX.items() if name in columns]
    if QUANTITY in columns:
        broken = ~pl.col(QUANTITY).str.contains(_WHOLE_NUMBER)
        found.append(Rule("quantity-number", "Error", broken, f"{QUANTITY} must be a whole number, e.g. 12"))
    if "sale_price_effective_date" in columns:
        broken = ~pl.col("sale_price_effective_date").str.contains(_SALE_DATES)
        message = "sale_price_effective_date must be START/END in ISO 8601, e.g. 2026-01-31T00:00Z/2026-02-28T23:59Z"
        found.append(Rule("sale-dates-format", "Error", broken, message))
    return found


def check(frame: pl.DataFrame, rules: list[Rule]) -> tuple[pl.DataFrame, list[RuleFinding]]:
    """Add `_rejected` (names of broken Error rules joined by a comma, or null) and count what each rule found."""
    flags = frame.select(rule.broken.fill_null(value=False).alias(rule.name) for rule in rules)
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
        samples = (*known.sample_ids, *each.sample_ids)[:SAMPLES_MAX]
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
    shown = frame.filter(flag).get_column(ID).drop_nulls().head(SAMPLES_MAX)
    return tuple(each[:100] for each in shown.to_list())


def _required(name: str) -> Rule:
    return Rule(f"{name}-required".replace("_", "-"), "Error", pl.col(name).is_null(), f"{name} must not be empty")


def _one_identifier(columns: list[str]) -> list[Rule]:
    present = [name for name in IDENTIFIERS if name in columns]
    if not present:
        return []
    broken = pl.all_horizontal(pl.col(name).is_null() for name in present)
    return [Rule("identifier-required", "Error", broken, "one of brand, gtin and mpn must not be empty")]


def _price(name: str) -> list[Rule]:
    value = pl.col(name)
    fits = value.str.contains(_CANONICAL_PRICE)
    bare = value.str.contains(r"^[0-9]+(\.[0-9]+)?$")
    word = name.replace("_", "-")
    without = f"{name} has no currency: write 9.99 EUR, or set currency on the items entry"
    wrong = f"{name} must be a number, a space and an ISO 4217 code, e.g. 9.99 EUR"
    return [Rule(f"{word}-currency", "Error", bare, without), Rule(f"{word}-format", "Error", ~fits & ~bare, wrong)]


def _enums(columns: list[str]) -> list[Rule]:
    return [
        Rule(f"{name}-value", "Error", ~pl.col(name).is_in(allowed), f"{name} must be one of: {', '.join(allowed)}")
        for name, allowed in ((AVAILABILITY, AVAILABILITIES), ("condition", CONDITIONS))
        if name in columns
    ]


def _web(name: str) -> Rule:
    message = f"{name} must be an address that starts with http:// or https:// and has no blanks"
    return Rule(f"{name}-url".replace("_", "-"), "Error", ~pl.col(name).str.contains(_WEB), message)


def _length(name: str, limit: int) -> Rule:
    message = f"{name} must have at most {limit:,} characters"
    word = "group" if name == GROUP else name
    return Rule(f"{word}-length", "Error", pl.col(name).str.len_chars() > limit, message)
