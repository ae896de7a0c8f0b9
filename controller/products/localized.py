"""Values for one language or country: which fields they may have, what differs from what Meta holds, what it answered.

An item's values for one localization are sent as a whole whenever any of them differs, with an empty text for every
field that Meta may hold and the overlay has no value for: so the result is the same whether Meta merges or replaces.
An item that has no values left is a DELETE of that localization. What nobody knows is sent again.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
import polars as pl

from controller.api.v1alpha1.overrides import COUNTRY_FIELDS, NOT_LOCALIZED
from controller.products import rules
from controller.products.acknowledge import Line
from controller.products.advice import Rule
from controller.products.compare import REPEAT_AFTER
from controller.products.fields import AVAILABILITY, ID, QUANTITY
from controller.products.fingerprints import xxh3
from controller.products.partition import PARTITION
from controller.products.rules import NAMED_MAX, RuleFinding
from controller.products.tables import LOCALE, LOCALE_SENT, LOCALIZED, State, conform

COUNTRY = "COUNTRY"
EVERY_FIELD = "*"
"""Of a row of which nobody knows which fields Meta holds."""
SAY_AGAIN_AFTER = timedelta(days=7)
"""Values that Meta took are sent again after this time: what others changed does not stay for ever."""
DELETED = 0
"""Stands for the hash of a row that is to be removed."""
_NAME_END = "\x1e"
_FIELD_END = "\x1f"
_BETWEEN = ","
_JSON_FIELDS = ("unit_price", "return_policy_info", "importer_address", "shipping", "disabled_capabilities")
"""Fields whose text may be JSON (Meta: catalog reference)."""


def may_carry(name: str, kind: str) -> bool:
    """Tell whether values of a type of localization (LANGUAGE, COUNTRY, LANGUAGE_AND_COUNTRY) may have this field.

    Meta: localized items batch names fields that only country overrides may have. Of both together it says nothing,
    so they may not.
    """
    return name not in NOT_LOCALIZED and (kind == COUNTRY or name not in COUNTRY_FIELDS)


@dataclass(frozen=True, slots=True)
class Judged:
    """Rows of an overlay as decisions need them, and what the checks say."""

    rows: pl.DataFrame
    findings: list[RuleFinding]


def judge(rows: pl.DataFrame, fields: Sequence[str]) -> Judged:
    """Check each value by the rules that speak of its field alone. One that breaks an error keeps its row from Meta."""
    values = rows.select(ID, *(_value(name).alias(name) for name in fields))
    named = _rules_of(fields)
    flags = rules.flags_of(values, named) if named else pl.DataFrame()
    unfit = pl.Series([False] * rows.height, dtype=pl.Boolean)
    found = []
    for rule in named:
        broken = flags.get_column(rule.name)
        if broken.any():
            unfit |= broken
            samples = tuple(each[:100] for each in values.get_column(ID).filter(broken).head(NAMED_MAX).to_list())
            found.append(RuleFinding(rule.name, rule.level, int(broken.sum()), rule.message, samples))
    narrow = values.select(ID, row_hash=row_hash(fields)).with_columns(unfit=unfit)
    return Judged(conform(narrow, LOCALIZED), found)


def row_hash(fields: Sequence[str]) -> pl.Expr:
    """Hash of the values of a row; null where it has none. A field without a value contributes nothing."""
    parts = [pl.lit(name + _NAME_END) + _value(name) for name in sorted(fields)]
    some = pl.any_horizontal(_value(name).is_not_null() for name in fields)
    return pl.when(some).then(xxh3(pl.concat_str(parts, separator=_FIELD_END, ignore_nulls=True)))


def _value(name: str) -> pl.Expr:
    """The text of a field; an empty one is none."""
    return pl.when(pl.col(name) != "").then(pl.col(name))


def _rules_of(fields: Sequence[str]) -> list[Rule]:
    """Errors about one field that has a value."""
    found = []
    for rule in rules.rules_for(list(fields)):
        roots = rule.broken.meta.root_names()
        if rule.level == "Error" and rule.name != rules.ROW_SIZE and len(set(roots)) == 1:
            found.append(Rule(rule.name, rule.level, rule.broken & pl.col(roots[0]).is_not_null(), rule.message))
    return found


def finding(overlay: str, found: Iterable[RuleFinding]) -> list[RuleFinding]:
    """Say that an overlay has values that are not sent; one finding for all rules."""
    merged = rules.merge(list(found))
    if not merged:
        return []
    names = ", ".join(sorted(each.rule for each in merged))
    why = "; ".join(each.message for each in merged[:3])
    message = f"overlay {overlay} has values that our checks reject ({names}): {why}. The values of these items stay"
    samples = tuple(dict.fromkeys(name for each in merged for name in each.sample_ids))[:NAMED_MAX]
    return [RuleFinding(f"overlay-{overlay}", "Error", sum(each.count for each in merged), message, samples)]


def compare(wanted: pl.LazyFrame, held: pl.LazyFrame, items: pl.LazyFrame, now: datetime) -> pl.LazyFrame:
    """Return one row per item at Meta that either side knows.

    `wanted` is LOCALIZED, `held` is LOCALE, `items` are the ids of one partition at Meta with `leaving`.

    `wants`, `has`     it should have values there, and has them
    `send`, `remove`   what is owed
    `answered`         Meta has refused exactly that, not long ago
    """
    joined = (
        wanted.select(ID, wanted_hash="row_hash", unfit="unfit")
        .join(held.with_columns(is_held=pl.lit(value=True)), on=ID, how="full", coalesce=True, maintain_order="none")
        .join(items, on=ID, how="inner", maintain_order="none")
        .with_columns(pl.col("unfit", "is_held").fill_null(value=False), pl.col("fields").fill_null(""))
    )
    stays = ~pl.col("leaving")
    wants = pl.col("wanted_hash").is_not_null() & ~pl.col("unfit") & stays
    differs = pl.col("row_hash").is_null() | (pl.col("row_hash") != pl.col("wanted_hash"))
    ends = stays & pl.col("wanted_hash").is_null() & ~pl.col("unfit")
    # An item that leaves is out of stock first; a country must not go on showing it.
    hides = pl.col("leaving") & _has(AVAILABILITY)
    old = (pl.col("sent_at") < now - SAY_AGAIN_AFTER).fill_null(value=False)
    owed = joined.with_columns(
        wants=wants,
        has=wants & ~differs,
        send=wants & (differs | old),
        remove=pl.col("is_held") & (pl.col("fields") != "") & (ends | hides),
    )
    target = pl.when("remove").then(pl.lit(DELETED, dtype=pl.UInt64)).otherwise(pl.col("wanted_hash"))
    recent = pl.col("answered_at") > now - REPEAT_AFTER
    answered = (pl.col("answered_hash") == target) & recent
    return owed.with_columns(answered=answered.fill_null(value=False))


def _has(name: str) -> pl.Expr:
    named = (pl.lit(_BETWEEN) + pl.col("fields") + pl.lit(_BETWEEN)).str.contains(
        f"{_BETWEEN}{name}{_BETWEEN}", literal=True
    )
    return named | (pl.col("fields") == EVERY_FIELD)


def counts(compared: pl.LazyFrame) -> dict[str, int]:
    """Count what is there and what is owed, by the names of `LocalePending`."""
    owed = pl.col("send") | pl.col("remove")
    open_ = owed & ~pl.col("answered")
    found = compared.select(
        ids=pl.col("wants").sum(),
        acknowledged=pl.col("has").sum(),
        changes=open_.sum(),
        refused=(owed & pl.col("answered")).sum(),
        unknown=(open_ & (pl.col("state") == State.UNKNOWN)).fill_null(value=False).sum(),
    )
    return {name: int(value) for name, value in found.collect(engine="streaming").row(0, named=True).items()}


def to_send(compared: pl.LazyFrame) -> pl.LazyFrame:
    """Rows that are owed now: id, `_delete`, `_row_hash`, `_held`."""
    return compared.filter((pl.col("send") | pl.col("remove")) & ~pl.col("answered")).select(
        ID,
        _delete="remove",
        _row_hash=pl.when("remove").then(pl.lit(DELETED, dtype=pl.UInt64)).otherwise(pl.col("wanted_hash")),
        _held="fields",
    )


# What goes over the wire


@dataclass(frozen=True, slots=True)
class Said:
    """One element of a batch, and what it says."""

    request: bytes
    row: dict[str, object]
    """LOCALE_SENT."""


def said_of(
    rows: pl.DataFrame, fields: Sequence[str], localization: Mapping[str, str], cleared: Collection[str]
) -> Iterable[Said]:
    """Write rows of `to_send` with their texts (and `_partition`) as elements of a batch.

    `cleared`: fields of the overlay that are said empty where nobody knows what Meta holds.
    """
    for row in rows.iter_rows(named=True):
        values: dict[str, str] = {}
        if not row["_delete"]:
            values = {name: row[name] for name in fields if row[name]}
            gone = cleared if row["_held"] == EVERY_FIELD else _names(row["_held"])
            gone = {*gone, *(name for name in fields if row[name] == "")}
            values |= dict.fromkeys(sorted(gone - values.keys()), "")
        data = {ID: row[ID], **nested(values)}
        method = "DELETE" if row["_delete"] else "UPDATE"
        request = orjson.dumps({"method": method, "data": data, "localization": dict(localization)})
        sent = {name: row[name] for name in (ID, PARTITION, "_delete", "_row_hash", "_held")}
        yield Said(request, {**sent, "_said": orjson.dumps(values).decode()})


def nested(values: Mapping[str, str]) -> dict[str, object]:
    """Write values as a batch takes them: `image[0].url` is a list of objects, `applink.ios_url` an object."""
    found: dict[str, object] = {}
    for name, text in values.items():
        head, _, rest = name.partition(".")
        if "[" in head:
            _in_list(found, head, rest, text)
        elif rest:
            inner = found.setdefault(head, {})
            assert isinstance(inner, dict)
            inner[rest] = text
        else:
            found[name] = _typed(name, text)
    return {name: _closed_up(value) for name, value in found.items()}


def _closed_up(value: object) -> object:
    return [each for each in value if each] if isinstance(value, list) else value


def _in_list(found: dict[str, object], head: str, rest: str, text: str) -> None:
    """Add one value of e.g. image[0].url or image[0].tag[1]. Places without a value close up."""
    name, _, place = head.rstrip("]").partition("[")
    elements = found.setdefault(name, [])
    assert isinstance(elements, list)
    if not text:
        return  # an empty list clears (Meta: items batch reference)
    number = int(place)
    while len(elements) <= number:
        elements.append({})
    inner, _, _ = rest.partition("[")
    if inner == rest:
        elements[number][inner] = text
    else:
        elements[number].setdefault(inner, []).append(text)


def _typed(name: str, text: str) -> object:
    if name == QUANTITY and text.isascii() and text.isdigit():
        return int(text)
    if name in _JSON_FIELDS and text[:1] in ("{", "["):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _names(joined: str) -> set[str]:
    return set(joined.split(_BETWEEN)) - {""}


# What Meta answered


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of one body."""

    lines: Sequence[Line]
    back: Mapping[str, Mapping[str, str]] | None
    """What items were read back to hold; None where nothing was read."""
    applied: bool
    unnamed: bool
    """Refusals were counted that no line names."""


def judge_sent(sent: pl.DataFrame, answer: Answer) -> pl.DataFrame:
    """Add to each sent row `outcome` (applied, confirmed, warned, refused, unknown).

    A warning about a field that was said takes back that the row stands as it was sent. A row of which nothing is said
    and whose fate is open is applied only where it was read back equal in every field.
    """
    fatal = {line.id for line in answer.lines if line.severity == "fatal"}
    warned: dict[str, set[str]] = {}
    for line in answer.lines:
        if line.severity != "fatal" and line.field is not None:
            warned.setdefault(line.id, set()).add(line.field)
    named = fatal | {line.id for line in answer.lines}
    outcomes = []
    for row in sent.select(ID, "_said", "_delete").iter_rows(named=True):
        item, said = row[ID], orjson.loads(row["_said"])
        doubtful = not answer.applied or (answer.unnamed and item not in named)
        if item in fatal:
            outcomes.append("refused")
        elif doubtful:
            equal = answer.back is not None and same_as_read(said, answer.back.get(item))
            outcomes.append("confirmed" if equal else "unknown")
        else:
            about = {_head(name) for name in warned.get(item, ())} & {_head(name) for name in said}
            outcomes.append("warned" if about else "applied")
    return sent.with_columns(outcome=pl.Series(outcomes, dtype=pl.String))


def same_as_read(said: Mapping[str, str], held: Mapping[str, str] | None) -> bool:
    """Tell whether an item holds what was said of it. A removal says nothing, and then nothing may be there."""
    if held is None:
        return False
    if not said:
        return not held
    return all(_plain(held.get(name, "")) == _plain(text) for name, text in said.items())


def _plain(text: str) -> str:
    return " ".join(text.split())


def _head(name: str) -> str:
    return name.partition("[")[0].partition(".")[0]


def read_back(content: bytes) -> dict[str, dict[str, str]]:
    """Read JSON Lines of items as Meta returned them for one localization."""
    rows = [json.loads(line, parse_int=str, parse_float=str) for line in content.splitlines() if line.strip()]
    return {
        str(row[ID]): {
            name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for name, value in row.items()
            if name != ID and value not in (None, "")
        }
        for row in rows
    }


def next_rows(before: pl.DataFrame, judged: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """What the next snapshot says of rows that were sent; those that it says nothing of are gone. Both by id."""
    known = {row[ID]: row for row in before.iter_rows(named=True)}
    rows = [_next(known.get(row[ID]), row, now) for row in judged.iter_rows(named=True)]
    found = [row for row in rows if row is not None]
    return pl.DataFrame(found, schema=LOCALE) if found else pl.DataFrame(schema=LOCALE)


def _next(before: Mapping[str, object] | None, row: Mapping[str, object], now: datetime) -> dict[str, object] | None:
    said = orjson.loads(str(row["_said"]))
    kept = _BETWEEN.join(sorted(name for name, text in said.items() if text))
    held = str(row["_held"])
    either = EVERY_FIELD if held == EVERY_FIELD else _BETWEEN.join(sorted(_names(held) | {n for n in said if said[n]}))
    one: dict[str, object] = dict.fromkeys(LOCALE) | {ID: row[ID]}
    answered = {"answered_hash": row["_row_hash"], "answered_at": now}
    match row["outcome"]:
        case "applied" | "confirmed" if row["_delete"]:
            return None
        case "applied" | "confirmed":
            taken = {"row_hash": row["_row_hash"], "fields": kept, "sent_at": now}
            return one | taken | {"state": State.ACKNOWLEDGED.value}
        case "warned":
            return one | {"fields": either, "state": State.REFUSED.value} | answered
        case "refused":
            if row["_delete"] and held == EVERY_FIELD:
                return None  # nobody ever knew it to be there, and Meta says that it is not
            if before is None:
                return one | {"fields": "", "state": State.REFUSED.value} | answered
            return dict(before) | {"state": State.REFUSED.value} | answered
        case _:
            return one | {"fields": either, "state": State.UNKNOWN.value}


def unknown_rows(ids: pl.Series) -> pl.DataFrame:
    """A snapshot of items of which nobody knows what they hold."""
    rows = ids.to_frame(ID).with_columns(fields=pl.lit(EVERY_FIELD), state=pl.lit(State.UNKNOWN.value))
    return conform(rows, LOCALE)


def sent_table(rows: Sequence[Mapping[str, object]]) -> pl.DataFrame:
    """A `localesent` table."""
    return pl.DataFrame(list(rows), schema=LOCALE_SENT)
