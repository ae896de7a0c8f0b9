"""Which ids are on their way out, how far they got, and what the guard lets through.

An id that Meta holds and that a complete look at the source did not find is `Watching`. A second complete look, at
least one interval later, hands it to the guard: within the limits it is `Cleared` and starts its grace, beyond them
it is `Held` until an approval names it. An id that the source turns unsellable goes to the guard at once, because the
source itself says so. Each turn is counted once. Ids that come back to the source leave this table.

Prices are guarded by what Meta has: when more than a share of the items would change their price by more than a
percentage, those changes are held, and go when the share falls again or when an approval names them.

A set of held ids is named by its generation, which grows whenever the set changes, and each held row remembers the
generation in which it was held first. A row that is still held is therefore in every set from its own generation on,
and an approval of a digest needs no stored list to know what it releases.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from controller.products.fields import AVAILABILITY, ID, UNSELLABLE
from controller.products.partition import PARTITION
from controller.products.rules import PRICES
from controller.products.tables import DEPARTURES, Leaving, Stage, conform, known

GENERATIONS_MAX = 1_024
"""Digests that are remembered: at one changed set per 5 minutes, three and a half days."""
GUARD = "Guard"
TURNS = (("turns", Leaving.UNSELLABLE), ("moves", Leaving.PRICE))


@dataclass(frozen=True, slots=True)
class PriceChange:
    """A price that changes by more than `percent` counts; `of_items_percent` of the items may."""

    percent: float
    of_items_percent: float


@dataclass(frozen=True, slots=True)
class Guard:
    """Effective limits, and what they are measured against."""

    max_delete_percent: float
    always_allow: int
    max_deletes: int | None
    max_unsellable_percent: float
    price_change: PriceChange | None
    counted_leaving: int
    counted_unsellable: int
    items: int
    """Largest number of items lately, or the current one."""
    approved: frozenset[str]


@dataclass(frozen=True, slots=True)
class Look:
    """One complete or incomplete look at the source."""

    at: datetime
    complete: bool
    interval: timedelta


@dataclass(frozen=True, slots=True)
class Generations:
    """Digests of the sets of held ids, oldest first: (generation, digest)."""

    digests: tuple[tuple[int, str], ...] = ()

    @property
    def newest(self) -> int:
        return self.digests[-1][0] if self.digests else 0

    def with_set(self, digest: str) -> "Generations":
        if self.digests and self.digests[-1][1] == digest:
            return self
        return Generations((*self.digests, (self.newest + 1, digest))[-GENERATIONS_MAX:])


@dataclass(frozen=True, slots=True)
class Departures:
    """The next table, and what changed."""

    table: pl.DataFrame
    generations: Generations
    newly_leaving: int
    newly_unsellable: int
    released: tuple[str, ...]
    held_ids: tuple[str, ...]
    held_digest: str | None

    @property
    def watching(self) -> int:
        return int((self.table.get_column("stage") == Stage.WATCHING).sum())


def exceeded(
    count: int, counted: int, items: int, percent_max: float, always_allow: int, count_max: int | None
) -> bool:
    """Tell whether `count` more ids are too many, given those of the last 24 hours."""
    total = count + counted
    if count == 0:
        return False
    if count_max is not None and total > count_max:
        return True
    return total > always_allow and total * 100 > percent_max * items


def digest_of(catalog_id: str, ids: Sequence[str]) -> str:
    return "sha256:" + hashlib.sha256("\n".join([catalog_id, *sorted(ids)]).encode()).hexdigest()


def advance(
    previous: pl.DataFrame,
    generations: Generations,
    at_meta: pl.DataFrame,
    source: pl.DataFrame,
    stays: pl.DataFrame,
    guard: Guard,
    look: Look,
    catalog_id: str,
) -> Departures:
    """Take one look further.

    `at_meta`: ids that Meta holds, with `_partition` and `availability`. `source`: accepted ids with `availability`.
    `stays`: ids that are in the source but were rejected, and therefore stay as they are.
    """
    return advance_all(previous, generations, [(at_meta, source)], stays, guard, look, catalog_id)


def advance_all(
    previous: pl.DataFrame,
    generations: Generations,
    pieces: Iterable[tuple[pl.DataFrame, pl.DataFrame]],
    stays: pl.DataFrame,
    guard: Guard,
    look: Look,
    catalog_id: str,
) -> Departures:
    """Do as `advance` does, with `at_meta` and `source` in pieces of which each has all rows of its ids."""
    table, released = _release(previous, generations, guard.approved, look.at)
    current = pl.concat([_current(table, *piece, stays, guard.price_change) for piece in pieces])
    begun = [_watch(current, look), *(_turned(current, flag, kind, look) for flag, kind in TURNS)]
    table = conform(pl.concat([current.filter(pl.col("kind").is_not_null()), *begun], how="diagonal"), DEPARTURES)
    table = table.sort(ID)
    table, newly_leaving, newly_unsellable, held_now = _decide(table, guard, look)
    held_ids = tuple(table.filter(pl.col("stage") == Stage.HELD).get_column(ID).to_list())
    digest = digest_of(catalog_id, held_ids) if held_ids else None
    generations = generations.with_set(digest) if digest else generations
    newest = pl.lit(generations.newest, dtype=pl.UInt32)
    generation = pl.when(pl.col(ID).is_in(held_now.implode())).then(newest).otherwise(pl.col("held_generation"))
    table = table.with_columns(held_generation=generation)
    return Departures(table, generations, newly_leaving, newly_unsellable, released, held_ids, digest)


def next_look_at(table: pl.DataFrame, interval: timedelta, grace: timedelta, now: datetime) -> datetime | None:
    """When the departures need another look although the source stands still."""
    in_grace = (pl.col("stage") == Stage.CLEARED) & (pl.col("kind") == Leaving.LEAVING)
    due = (
        pl.when(pl.col("stage") == Stage.WATCHING)
        .then(pl.col("first_seen_at") + interval)
        .when(in_grace)
        .then(pl.col("cleared_at") + grace)
    )
    coming = table.select(due=due).filter(pl.col("due") > now).get_column("due").min()
    return coming if isinstance(coming, datetime) else None


def _release(
    table: pl.DataFrame, generations: Generations, approved: frozenset[str], now: datetime
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Clear what approvals name and what is still held; return the approvals that released something."""
    released: list[str] = []
    for generation, digest in generations.digests:
        if digest not in approved:
            continue
        named = (pl.col("stage") == Stage.HELD) & (pl.col("held_generation") <= generation)
        if not table.select(named.any()).item():
            continue
        released.append(digest)
        table = table.with_columns(
            stage=pl.when(named).then(pl.lit(Stage.CLEARED.value)).otherwise(pl.col("stage")),
            cleared_at=pl.when(named).then(pl.lit(now, dtype=pl.Datetime("us", "UTC"))).otherwise(pl.col("cleared_at")),
            cleared_by=pl.when(named).then(pl.lit(digest)).otherwise(pl.col("cleared_by")),
            held_generation=pl.when(named).then(None).otherwise(pl.col("held_generation")),
        )
    return table, tuple(released)


def _current(
    table: pl.DataFrame,
    at_meta: pl.DataFrame,
    source: pl.DataFrame,
    stays: pl.DataFrame,
    price_change: PriceChange | None,
) -> pl.DataFrame:
    """Join what Meta holds with what the source says now; forget departures whose reason is gone."""
    guarded = PRICES if price_change is not None else ()
    prices = [pl.col(name).alias(f"wanted_{name}") for name in guarded]
    wanted = source.lazy().select(ID, *prices, wanted=AVAILABILITY, there=pl.lit(value=True))
    rejected = stays.lazy().select(ID, rejected=pl.lit(value=True)).unique(ID, maintain_order=True)
    joined = (
        at_meta.lazy()
        .select(ID, *guarded, *(known(name) for name in guarded), partition=PARTITION, at_meta=pl.col(AVAILABILITY))
        .join(wanted, on=ID, how="left", maintain_order="left")
        .join(rejected, on=ID, how="left", maintain_order="left")
        .with_columns(pl.col("there", "rejected").fill_null(value=False))
        .with_columns(
            absent=~pl.col("there") & ~pl.col("rejected"),
            turns=pl.col("there")
            & pl.col("wanted").is_in(UNSELLABLE).fill_null(value=False)
            & ~pl.col("at_meta").is_in(UNSELLABLE).fill_null(value=True),
        )
        .with_columns(moves=pl.col("there") & ~pl.col("turns") & _moved(price_change))
        .filter(pl.col("absent") | pl.col("turns") | pl.col("moves"))
    )
    reasons = {Leaving.LEAVING: "absent", Leaving.UNSELLABLE: "turns", Leaving.PRICE: "moves"}
    holds = pl.any_horizontal((pl.col("kind") == kind) & pl.col(flag) for kind, flag in reasons.items())
    earlier = table.drop("partition")
    return (
        joined.join(earlier.lazy(), on=ID, how="left", maintain_order="left")
        .with_columns(_holds=holds.fill_null(value=False))
        .with_columns(pl.when("_holds").then(pl.col(name)).alias(name) for name in earlier.columns if name != ID)
        .collect()
    )


def _watch(current: pl.DataFrame, look: Look) -> pl.DataFrame:
    """Ids that a complete look misses for the first time."""
    if not look.complete:
        return current.clear()
    return current.filter(pl.col("absent") & pl.col("kind").is_null()).with_columns(
        kind=pl.lit(Leaving.LEAVING.value),
        stage=pl.lit(Stage.WATCHING.value),
        first_seen_at=pl.lit(look.at, dtype=pl.Datetime("us", "UTC")),
    )


def _moved(limit: PriceChange | None) -> pl.Expr:
    """Whether a price differs from the known one at Meta, in the same currency, by more than the percentage."""
    if limit is None:
        return pl.lit(value=False)
    found = []
    for name in PRICES:
        old, new = (pl.col(column).str.split_exact(" ", 1) for column in (name, f"wanted_{name}"))
        before, after = (each.struct.field("field_0").cast(pl.Float64, strict=False) for each in (old, new))
        same_currency = old.struct.field("field_1") == new.struct.field("field_1")
        found.append(pl.col(known(name)) & same_currency & ((after - before).abs() * 100 > limit.percent * before))
    return pl.any_horizontal(each.fill_null(value=False) for each in found)


def _turned(current: pl.DataFrame, flag: str, kind: Leaving, look: Look) -> pl.DataFrame:
    """Ids that the source itself turns, before the guard has seen them."""
    return current.filter(pl.col(flag) & pl.col("kind").is_null()).with_columns(
        kind=pl.lit(kind.value),
        stage=pl.lit(Stage.WATCHING.value),
        first_seen_at=pl.lit(look.at, dtype=pl.Datetime("us", "UTC")),
    )


def _decide(table: pl.DataFrame, guard: Guard, look: Look) -> tuple[pl.DataFrame, int, int, pl.Series]:
    """Put what is ripe before the guard: all of a kind together."""
    watching = pl.col("stage") == Stage.WATCHING
    second_look = pl.lit(look.complete) & (pl.col("first_seen_at") <= look.at - look.interval)
    leaving = watching & (pl.col("kind") == Leaving.LEAVING) & second_look
    unsellable = watching & (pl.col("kind") == Leaving.UNSELLABLE)
    counts = table.select(leaving=leaving.sum(), unsellable=unsellable.sum()).row(0, named=True)
    too_many = exceeded(
        counts["leaving"],
        guard.counted_leaving,
        guard.items,
        guard.max_delete_percent,
        guard.always_allow,
        guard.max_deletes,
    )
    too_dark = exceeded(
        counts["unsellable"],
        guard.counted_unsellable,
        guard.items,
        guard.max_unsellable_percent,
        guard.always_allow,
        None,
    )
    moving = (pl.col("kind") == Leaving.PRICE) & (pl.col("stage") != Stage.CLEARED)
    table, too_wild = _decide_prices(table, guard, moving)
    held = (leaving & pl.lit(too_many)) | (unsellable & pl.lit(too_dark)) | (moving & watching & pl.lit(too_wild))
    cleared = (leaving & pl.lit(not too_many)) | (unsellable & pl.lit(not too_dark))
    held_now = table.filter(held).get_column(ID)
    stage = pl.when(held).then(pl.lit(Stage.HELD.value)).when(cleared).then(pl.lit(Stage.CLEARED.value))
    instant = pl.lit(look.at, dtype=pl.Datetime("us", "UTC"))
    table = table.with_columns(
        stage=stage.otherwise(pl.col("stage")),
        cleared_at=pl.when(cleared).then(instant).otherwise(pl.col("cleared_at")),
        cleared_by=pl.when(cleared).then(pl.lit(GUARD)).otherwise(pl.col("cleared_by")),
        last_look_at=pl.when(pl.lit(look.complete)).then(instant).otherwise(pl.col("last_look_at")),
    )
    return table, 0 if too_many else counts["leaving"], 0 if too_dark else counts["unsellable"], held_now


def _decide_prices(table: pl.DataFrame, guard: Guard, moving: pl.Expr) -> tuple[pl.DataFrame, bool]:
    """All that would change now are judged together, again at every look: a source that was mended frees them."""
    limit = guard.price_change
    count = int(table.select(moving.sum()).item())
    if limit is not None and count * 100 > limit.of_items_percent * guard.items:
        return table, True
    return table.filter(~moving), False
