"""What should stand at Meta, item by item, and what of that does not stand there yet.

`compare` joins what the source wants with what Meta acknowledged. Everything that sends, counts or deletes reads its
result, so that a count of zero and an empty send are the same statement.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

import polars as pl

from controller.products.fields import AVAILABILITY, ID, OUT_OF_STOCK, VOLATILE
from controller.products.fingerprints import row_hash
from controller.products.partition import PARTITION
from controller.products.tables import Leaving, Stage, State, known

BLOCKED = pl.col("blocked")
PRICED = ("price", "sale_price", "sale_price_effective_date")
"""Fields that stay together when a price is held."""
REPEAT_AFTER = timedelta(hours=24)
"""A row that Meta refused or warned about is sent again unchanged after this time."""


@dataclass(frozen=True, slots=True)
class DeparturePolicy:
    """How items leave."""

    grace: timedelta
    out_of_stock_first: bool


@dataclass(frozen=True, slots=True)
class Counts:
    """What a partition owes Meta, and what it has there."""

    creations: int
    volatile: int
    static: int
    deletions: int
    kept_missing: int
    items_at_meta: int
    acknowledged: int
    refused: int
    unknown: int


@dataclass(frozen=True, slots=True)
class FullSend:
    """How a full send of a partition has to go out."""

    update_only_reason: str | None
    substitute: bool
    """Rows that differ from what Meta accepted are sent as accepted, because this send also deletes."""


def pending(name: str) -> str:
    """Column that says whether a volatile field has to be sent."""
    return f"{name}_pending"


def acknowledged(name: str) -> str:
    """Column with Meta's newest value of a volatile field."""
    return f"{name}_at_meta"


def compare(
    desired: pl.DataFrame,
    snapshot: pl.DataFrame,
    departures: pl.DataFrame,
    payload_ids: pl.DataFrame,
    policy: DeparturePolicy,
    now: datetime,
) -> pl.LazyFrame:
    """Return one row per id of source or snapshot, in no order. Of every table, `_partition` says which.

    The volatile columns hold the values that Meta should have. Beside them:

    `in_source`, `at_meta`   where the item is
    `drop`                   it leaves for good with the next replace
    `uncleared`              it is absent, and may not leave yet
    `creation`, `static_pending`, `f_pending`   what has to be sent
    `has_payload`            a complete accepted row is kept
    `untested`               Meta has not accepted this row as it is
    """
    joined = _joined(desired, snapshot, departures, payload_ids)
    return (
        joined.with_columns(_departing(policy, now))
        .with_columns(_wanted(policy))
        .with_columns(_row_hash=row_hash(pl.col("wanted_static")))
        .with_columns(_answered(now))
        .with_columns(_differences())
        .with_columns(_pending())
    )


def at_rest() -> pl.Expr:
    """Rows of which nothing has to be known but that they are there: both sides say the same, and nothing waits."""
    same = pl.col("in_source") & pl.col("at_meta") & ~pl.col("untested") & (pl.col("state") == State.ACKNOWLEDGED)
    return (same & pl.col("answered_hash").is_null() & pl.col("kind").is_null()).fill_null(value=False)


def as_counts(found: pl.DataFrame) -> dict[int, Counts]:
    return {row.pop(PARTITION): Counts(**row) for row in found.iter_rows(named=True)}


def summed(tallies: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Put tallies of pieces together. Deletions that the next full send could not carry out are not pending."""
    rows = pl.concat(tallies).group_by(PARTITION, maintain_order=True).agg(pl.exclude("blocked").sum(), BLOCKED.any())
    return rows.with_columns(deletions=pl.when(BLOCKED).then(0).otherwise(pl.col("deletions"))).drop("blocked")


def tallied(compared: pl.LazyFrame) -> pl.LazyFrame:
    """Count per partition, in this piece of it."""
    waiting = pl.col("untested") & ~pl.col("drop") & ~_substitutable() & pl.col("answered")
    return compared.group_by(PARTITION, maintain_order=True).agg(
        creations=pl.col("creation").sum(),
        volatile=any_pending(VOLATILE).sum(),
        static=pl.col("static_pending").sum(),
        deletions=pl.col("drop").sum(),
        kept_missing=_kept_missing().sum(),
        items_at_meta=pl.col("at_meta").sum(),
        blocked=(_kept_missing() | pl.col("uncleared") | waiting).any(),
        **{state.lower(): (pl.col("state") == state).sum() for state in State},
    )


def tallied_new(desired: pl.DataFrame) -> pl.DataFrame:
    """Do as `tallied` does where Meta has nothing, and nothing is known of anything."""
    nothing = {each.name: pl.lit(0, dtype=pl.UInt32) for each in fields(Counts)}
    return desired.group_by(PARTITION, maintain_order=True).agg(
        **{**nothing, "creations": pl.len(), "blocked": pl.lit(value=False)}
    )


def any_pending(fields: Iterable[str]) -> pl.Expr:
    return pl.any_horizontal(pl.col(pending(name)) for name in fields)


def full_send(compared: Iterable[pl.DataFrame]) -> FullSend:
    """Decide whether a full send may delete, from all rows in however many pieces.

    What a replace does to an existing item whose row Meta refuses is not published; it may be deleted. So a send that
    may delete carries only rows that Meta accepted before, and changed rows travel as updates first.
    """
    looks = [
        rows.select(
            kept_missing=_kept_missing().any(),
            uncleared=pl.col("uncleared").any(),
            untested=(pl.col("untested") & ~pl.col("drop")).any(),
            stuck=(pl.col("untested") & ~pl.col("drop") & ~_substitutable()).any(),
            drops=pl.col("drop").any(),
        )
        for rows in compared
    ]
    seen = pl.concat(looks).select(pl.all().any()).row(0, named=True)
    if seen["kept_missing"]:
        return FullSend("KeptRowMissing", substitute=False)
    if seen["uncleared"]:
        return FullSend("DeletionsHeld", substitute=False)
    if seen["stuck"] or (seen["untested"] and not seen["drops"]):
        return FullSend("UntestedRows", substitute=False)
    return FullSend(None, substitute=bool(seen["untested"]))


def _substitutable() -> pl.Expr:
    return pl.col("has_payload") & pl.all_horizontal(pl.col(known(name)) for name in VOLATILE)


def _kept_missing() -> pl.Expr:
    return pl.col("at_meta") & ~pl.col("in_source") & ~pl.col("drop") & ~pl.col("has_payload")


def _joined(
    desired: pl.DataFrame, snapshot: pl.DataFrame, departures: pl.DataFrame, payload_ids: pl.DataFrame
) -> pl.LazyFrame:
    source = desired.lazy().select(
        ID, PARTITION, *VOLATILE, "_group_hash", source_static="_static_hash", in_source=pl.lit(value=True)
    )
    held = (
        snapshot.lazy()
        .rename({name: acknowledged(name) for name in VOLATILE})
        .with_columns(in_snapshot=pl.lit(value=True))
    )
    leaving = departures.lazy().select(ID, "kind", "stage", "cleared_at")
    payload = payload_ids.lazy().select(ID, PARTITION, has_payload=pl.lit(value=True))
    flags = ("in_source", "in_snapshot", "at_meta", "has_payload", *(known(name) for name in VOLATILE))
    return (
        source.join(held, on=[ID, PARTITION], how="full", coalesce=True, maintain_order="none")
        .join(leaving, on=ID, how="left", maintain_order="none")
        .join(payload, on=[ID, PARTITION], how="left", maintain_order="none")
        .with_columns(pl.col(flags).fill_null(value=False))
    )


def _departing(policy: DeparturePolicy, now: datetime) -> list[pl.Expr]:
    absent = pl.col("at_meta") & ~pl.col("in_source") & (pl.col("kind") == Leaving.LEAVING).fill_null(value=False)
    cleared = absent & (pl.col("stage") == Stage.CLEARED)
    ripe = cleared & (pl.col("cleared_at") <= now - policy.grace)
    if policy.out_of_stock_first:
        ripe &= pl.col(known(AVAILABILITY)) & (pl.col(acknowledged(AVAILABILITY)) == OUT_OF_STOCK).fill_null(
            value=False
        )
    return [
        cleared.fill_null(value=False).alias("cleared"),
        ripe.fill_null(value=False).alias("drop"),
        (absent & ~cleared).fill_null(value=False).alias("uncleared"),
        (pl.col("in_source") & (pl.col("kind") == Leaving.UNSELLABLE) & (pl.col("stage") == Stage.HELD))
        .fill_null(value=False)
        .alias("held_sellable"),
        (pl.col("in_source") & (pl.col("kind") == Leaving.PRICE) & (pl.col("stage") == Stage.HELD))
        .fill_null(value=False)
        .alias("held_price"),
    ]


def _wanted(policy: DeparturePolicy) -> list[pl.Expr]:
    """Overwrite the volatile columns with what should stand at Meta."""
    from_source = pl.col("in_source")
    expressions = [
        pl.when(from_source & ~pl.col("held_price") if name in PRICED else from_source)
        .then(pl.col(name))
        .otherwise(pl.col(acknowledged(name)))
        .alias(name)
        for name in VOLATILE
        if name != AVAILABILITY
    ]
    leaver = pl.col("cleared") if policy.out_of_stock_first else pl.lit(value=False)
    availability = (
        pl.when(leaver)
        .then(pl.lit(OUT_OF_STOCK))
        .when(from_source & ~pl.col("held_sellable"))
        .then(pl.col(AVAILABILITY))
        .otherwise(pl.col(acknowledged(AVAILABILITY)))
        .alias(AVAILABILITY)
    )
    static = pl.when(from_source).then(pl.col("source_static")).otherwise(pl.col("static_hash")).alias("wanted_static")
    return [*expressions, availability, static]


def _answered(now: datetime) -> pl.Expr:
    same = pl.col("answered_hash") == pl.col("_row_hash")
    return (same & (pl.col("answered_at") > now - REPEAT_AFTER)).fill_null(value=False).alias("answered")


def _differences() -> list[pl.Expr]:
    found = []
    for name in VOLATILE:
        differs = pl.col(name).ne_missing(pl.col(acknowledged(name)))
        unknown = ~pl.col(known(name)) & (pl.col("in_source") | pl.col(name).is_not_null())
        found.append((pl.col("at_meta") & ~pl.col("drop") & (differs | unknown)).alias(pending(name)))
    unknown_static = pl.col("static_hash").is_null()
    from_source = pl.col("in_source") & (unknown_static | (pl.col("static_hash") != pl.col("source_static")))
    kept = ~pl.col("in_source") & unknown_static & pl.col("has_payload")
    static = pl.col("at_meta") & ~pl.col("drop") & (from_source | kept).fill_null(value=False)
    return [*found, static.alias("static_pending")]


def _pending() -> list[pl.Expr]:
    open_ = ~pl.col("answered")
    return [
        (pl.col("at_meta") & (any_pending(VOLATILE) | pl.col("static_pending"))).alias("untested"),
        (pl.col("in_source") & ~pl.col("at_meta") & open_).alias("creation"),
        (pl.col("static_pending") & open_).alias("static_pending"),
        *((pl.col(pending(name)) & open_).alias(pending(name)) for name in VOLATILE),
    ]
