"""Rows that are not at rest: all that a comparison needs of them, so that the others need not be read.

A row is at rest when source and Meta say the same and nothing waits. What such a row looks like in the snapshot follows
from the source's row, so it can come back into a comparison when it changes.
"""

from dataclasses import dataclass

import polars as pl

from controller.products.fields import ID, VOLATILE
from controller.products.partition import PARTITION
from controller.products.tables import NARROW, SNAPSHOT, State, conform, known

IDS = pl.Schema({ID: pl.String})
_AT = "at "
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
