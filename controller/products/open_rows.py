"""Rows that are not at rest: all that a comparison needs of them, so that the others need not be read.

A row is at rest when source and Meta say the same and nothing waits. What such a row looks like in the snapshot follows
from the source's row, so it can come back into a comparison when it changes.
"""

from dataclasses import dataclass

import polars as pl

from controller.products.fields import ID, VOLATILE
from controller.products.fingerprints import xxh3
from controller.products.partition import PARTITION
from controller.products.tables import NARROW, SNAPSHOT, State, conform, known

IDS = pl.Schema({ID: pl.String})
_AT = "at "
_HERE, _THERE = "here", "there"
_BETWEEN, _NOTHING = "\x1f", "\x1e"
_KEY = (ID, PARTITION)


@dataclass(frozen=True, slots=True)
class Sides:
    """Both sides of a comparison, and what is kept. `_partition` says where a row belongs."""

    desired: pl.DataFrame
    snapshot: pl.DataFrame
    payload_ids: pl.DataFrame


@dataclass(frozen=True, slots=True)
class AtRest:
    """Rows of one partition that are at rest. `kept` as in the manifest."""

    rows: int = 0
    kept: bool | None = None


def apart(sides: Sides, departures: pl.DataFrame) -> tuple[Sides, pl.DataFrame]:
    """Take those rows out of both sides of which `compare` would say `at_rest`, for a fraction of its price.

    Returns what is left and, of each row that is at rest, `_partition` and `has_payload`. An id that is held in
    several partitions is left to `compare`, whatever its rows say.
    """
    if not sides.snapshot.height:
        return sides, pl.DataFrame(schema={PARTITION: pl.UInt16, "has_payload": pl.Boolean})
    found = _same(sides, departures).collect()
    rest = found.select(PARTITION, "has_payload")
    if not rest.height:
        return sides, rest
    left = Sides(
        _others(sides.desired, found.get_column(_HERE)),
        _others(sides.snapshot, found.get_column(_THERE)),
        sides.payload_ids,
    )
    keys = pl.concat([left.desired.select(_KEY), left.snapshot.select(_KEY)])
    payload_ids = sides.payload_ids.join(keys, on=_KEY, how="semi", maintain_order="left")
    return Sides(left.desired, left.snapshot, payload_ids), rest


def _same(sides: Sides, departures: pl.DataFrame) -> pl.LazyFrame:
    """Where the rows at rest stand on both sides, and whether each has a kept row.

    What both sides say is compared by one hash, and the ids by their text: joining numbers takes half the time.
    """
    certain = [pl.col(known(name)) for name in VOLATILE]
    settled = sides.snapshot.lazy().with_row_index(_THERE)
    if sides.snapshot.get_column(PARTITION).n_unique() > 1:
        settled = settled.filter(~pl.col(ID).is_duplicated())
    settled = settled.filter(
        "at_meta",
        *certain,
        pl.col("state") == State.ACKNOWLEDGED,
        pl.col("answered_hash").is_null(),
        pl.col("static_hash").is_not_null(),
    ).select(_THERE, pl.col(ID).alias(_AT + ID), said=_said("static_hash"))
    if departures.height:
        settled = settled.join(departures.lazy().select(ID), left_on=_AT + ID, right_on=ID, how="anti")
    rest = (
        sides.desired.lazy()
        .with_row_index(_HERE)
        .select(_HERE, *_KEY, said=_said("_static_hash"))
        .join(settled, on="said", how="inner", maintain_order="none")
        .filter(pl.col(ID) == pl.col(_AT + ID))
    )
    if sides.payload_ids.select(_KEY).equals(sides.snapshot.select(_KEY)):  # so it is after a full send
        return rest.select(_HERE, _THERE, PARTITION, has_payload=pl.lit(value=True))
    kept = sides.payload_ids.lazy().select(*_KEY, has_payload=pl.lit(value=True))
    return rest.join(kept, on=_KEY, how="left", maintain_order="none").select(
        _HERE, _THERE, PARTITION, pl.col("has_payload").fill_null(value=False)
    )


def _said(static: str) -> pl.Expr:
    """Hash of a row: where it is, and all its values."""
    named = [pl.col(ID), pl.col(PARTITION).cast(pl.String), pl.col(static).cast(pl.String)]
    values = [pl.col(name).fill_null(_NOTHING) for name in VOLATILE]
    return xxh3(pl.concat_str([*named, *values], separator=_BETWEEN))


def _others(rows: pl.DataFrame, places: pl.Series) -> pl.DataFrame:
    """The rows that stand elsewhere, in their order."""
    chosen = pl.repeat(value=True, n=rows.height, eager=True).scatter(places, values=False)
    return rows.filter(chosen)


def to_table(sides: Sides, keys: pl.DataFrame) -> pl.DataFrame:
    """Put the rows of some keys (id, `_partition`) into one table."""
    snapshot = sides.snapshot.select(
        *_KEY, *(pl.col(name).alias(_AT + name) for name in SNAPSHOT if name != ID), in_snapshot=pl.lit(value=True)
    )
    desired = sides.desired.select(*NARROW, PARTITION, in_source=pl.lit(value=True))
    payload = sides.payload_ids.select(*_KEY, has_payload=pl.lit(value=True))
    chosen = keys.select(_KEY)
    return (
        desired.join(chosen, on=_KEY, how="semi", maintain_order="left")
        .join(
            snapshot.join(chosen, on=_KEY, how="semi", maintain_order="left"),
            on=_KEY,
            how="full",
            coalesce=True,
            maintain_order="left_right",
        )
        .join(payload, on=_KEY, how="left", maintain_order="left")
        .with_columns(pl.col("in_source", "in_snapshot", "has_payload").fill_null(value=False))
        .sort(PARTITION, ID)
    )


def from_table(table: pl.DataFrame) -> Sides:
    held = table.filter("in_snapshot")
    return Sides(
        desired=table.filter("in_source").select(*NARROW, PARTITION),
        snapshot=held.select(ID, *(pl.col(_AT + name).alias(name) for name in SNAPSHOT if name != ID), PARTITION),
        payload_ids=table.filter("has_payload").select(_KEY),
    )


def snapshot_at_rest(narrow: pl.DataFrame, sequence: int) -> pl.DataFrame:
    """What the snapshot says of rows at rest, from the source's rows (NARROW, `_partition`)."""
    rows = narrow.with_columns(
        at_meta=pl.lit(value=True),
        state=pl.lit(State.ACKNOWLEDGED.value),
        group_hash=pl.col("_group_hash"),
        static_hash=pl.col("_static_hash"),
        sequence=pl.lit(sequence),
        **{known(name): pl.lit(value=True) for name in VOLATILE},
    )
    return conform(rows, SNAPSHOT).with_columns(rows.get_column(PARTITION))


def without(frame: pl.DataFrame, ids: pl.DataFrame) -> pl.DataFrame:
    return frame.join(ids.select(ID), on=ID, how="anti", maintain_order="left")


def at_rest_after(before: AtRest, more: int, kept: int) -> AtRest:
    """Add rows that came to rest, of which so many have a kept row."""
    if not more:
        return before
    own = True if kept == more else (False if kept == 0 else None)
    return AtRest(before.rows + more, own if before.rows == 0 or before.kept == own else None)
