"""Which partition an item lives in.

An item stays where Meta holds it, whatever the data says; an item that the last refresh placed stays there too, so
that a creation in flight is never sent to a second feed. A new member of a group goes where the group's other members
are (lowest index). Only what has no home goes by its slot.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from controller.products.fields import ID
from controller.products.fingerprints import SLOTS, xxh3
from controller.products.raw import Hashes, Index, Places, among

PARTITION = "_partition"
LOOKED_UP_ROWS = 1 << 20
"""Looking up takes about 50 bytes for each of the rows that are looked up together."""
NO_GROUP = 0
"""Stands for the hash of a group where a row has none."""


@dataclass(frozen=True, slots=True)
class SlotRange:
    """Slots of one partition, inclusive."""

    index: int
    first: int
    last: int


def homes(table: pl.DataFrame) -> pl.DataFrame:
    """Reduce ids with `group_hash` and `_partition` to one home per id: the lowest index where there are several."""
    return table.select(ID, "group_hash", PARTITION).sort(PARTITION).unique(ID, keep="first", maintain_order=True)


def no_homes() -> pl.DataFrame:
    return pl.DataFrame(schema={"key": pl.UInt64, "group_hash": pl.UInt64, PARTITION: pl.UInt16})


def hashed(table: pl.LazyFrame) -> pl.DataFrame:
    """Reduce ids with `group_hash` and `_partition` to what `Homes` needs of them."""
    return table.select("group_hash", PARTITION, key=xxh3(pl.col(ID))).select(no_homes().columns).collect()


def assign(rows: pl.DataFrame, held: pl.DataFrame, placed: pl.DataFrame, ranges: Sequence[SlotRange]) -> pl.Series:
    """Return the partition of each row (id, `_group_hash`, `_slot`). `held` and `placed` are as `homes` makes them."""
    by_slot = _by_slot(ranges)
    found = (
        rows.lazy()
        .select(ID, "_group_hash", "_slot")
        .join(held.lazy().select(ID, held_at=PARTITION), on=ID, how="left", maintain_order="left")
        .join(placed.lazy().select(ID, placed_at=PARTITION), on=ID, how="left", maintain_order="left")
        .collect()
    )
    in_source = found.lazy().filter(pl.col("held_at").is_not_null()).select("_group_hash", group_home="held_at")
    elsewhere = held.lazy().select(_group_hash="group_hash", group_home=PARTITION)
    groups = (
        pl.concat([in_source, elsewhere])
        .drop_nulls()
        .group_by("_group_hash", maintain_order=True)
        .agg(pl.min("group_home"))
    )
    return (
        found.lazy()
        .join(groups, on="_group_hash", how="left", maintain_order="left")
        .join(by_slot.lazy(), on="_slot", how="left", maintain_order="left")
        .select(pl.coalesce("held_at", "placed_at", "group_home", "by_slot").cast(pl.UInt16).alias(PARTITION))
        .collect()
        .to_series()
    )


class Homes:
    """Where rows seem to belong, block by block, before all of them are known.

    `assign` says it for certain. The two differ where the group of an item that Meta holds has changed in this read and
    has new members, or where two ids have one hash.
    """

    def __init__(self, held: pl.DataFrame, placed: pl.DataFrame, ranges: Sequence[SlotRange]) -> None:
        """`held` and `placed` as `hashed` makes them, partitions ascending."""
        self._only = ranges[0].index if len(ranges) == 1 else None
        if self._only is not None:
            return
        slots = _by_slot(ranges).sort("_slot")
        self._by_slot = slots.get_column("by_slot").to_numpy()
        self._held = _first_of(held, "key")
        self._placed = _first_of(placed, "key")
        self._by_group = _first_of(held.drop_nulls("group_hash"), "group_hash")

    def place(self, rows: pl.DataFrame) -> npt.NDArray[np.uint16]:
        """Return the partition of each row (id, `_group_hash`, `_slot`)."""
        if self._only is not None:
            return np.full(rows.height, self._only, np.uint16)
        keys = rows.select(id=xxh3(pl.col(ID)).fill_null(0), group=pl.col("_group_hash").fill_null(NO_GROUP))
        found = self._known(keys.get_column("id").to_numpy())
        groups = keys.get_column("group").to_numpy()
        found = np.where((found < 0) & (groups != NO_GROUP), self._by_group.find(groups), found)
        return np.where(found < 0, self._by_slot[rows.get_column("_slot").fill_null(0).to_numpy()], found).astype(
            np.uint16
        )

    def settle(self, ids: Hashes, groups: Hashes, homes: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
        """Return the homes of all rows, now that it is known which groups the items at Meta belong to."""
        if self._only is not None or not self._held.keys.size:
            return homes
        new = (self._known(ids) < 0) & (groups != NO_GROUP)
        members = np.flatnonzero(among(groups, groups[new]))
        lives = self._held.find(ids[members])
        members, lives = members[lives >= 0], lives[lives >= 0]
        if not members.size:
            return homes
        order = np.argsort(lives, kind="stable")
        now = _lowest(groups[members[order]], lives[order])
        found = np.stack((now.find(groups[new]), self._by_group.find(groups[new])))
        best = np.where(found < 0, np.iinfo(np.int32).max, found).min(axis=0)
        settled = homes.copy()
        settled[new] = np.where((found < 0).all(axis=0), homes[new], best)
        return settled

    def _known(self, ids: Hashes) -> Places:
        """Where Meta has an item, or else where the last refresh placed it, or else -1."""
        found = np.empty(ids.size, np.int32)
        for at in range(0, ids.size, LOOKED_UP_ROWS):
            some = ids[at : at + LOOKED_UP_ROWS]
            held = self._held.find(some)
            found[at : at + LOOKED_UP_ROWS] = np.where(held < 0, self._placed.find(some), held)
        return found


def _first_of(table: pl.DataFrame, name: str) -> Index:
    return _lowest(table.get_column(name).to_numpy(), table.get_column(PARTITION).to_numpy())


def _lowest(keys: Hashes, homes: npt.NDArray[np.signedinteger] | npt.NDArray[np.uint16]) -> Index:
    """Find the home that stands first for each key."""
    found, first = np.unique(keys, return_index=True)
    return Index.of(found, homes[first].astype(np.int32))


def _by_slot(ranges: Sequence[SlotRange]) -> pl.DataFrame:
    slots = [pl.int_range(each.first, each.last + 1, dtype=pl.UInt16, eager=True) for each in ranges]
    owners = [
        pl.Series([each.index], dtype=pl.UInt16).new_from_index(0, len(own))
        for each, own in zip(ranges, slots, strict=True)
    ]
    found = pl.DataFrame({"_slot": pl.concat(slots), "by_slot": pl.concat(owners)})
    assert found.height == SLOTS, "every slot belongs to exactly one partition"
    return found
