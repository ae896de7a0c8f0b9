"""The state that the ledger names, as frames: what steps read first and write last."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from controller.ports.preparing import GuardPolicy, Partition, Pending, RefreshHead
from controller.preparing.objects import read_metadata, read_or_empty, read_table, table_key, write_table
from controller.products.compare import DeparturePolicy, compare, counts
from controller.products.departures import Generations
from controller.products.fields import ID
from controller.products.tables import DEPARTURES, SNAPSHOT, Kind
from controller.stores.local import LocalStore

MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Head:
    """One partition with what Meta acknowledged."""

    index: int
    document: Partition
    snapshot: pl.DataFrame
    payload_ids: pl.DataFrame

    @classmethod
    def load(cls, store: LocalStore, document: Partition) -> "Head":
        snapshot = read_or_empty(store, document.snapshot, SNAPSHOT)
        ids = pl.Schema({ID: pl.String})
        return cls(document.index, document, snapshot, read_or_empty(store, document.payload, ids))

    def payload(self, store: LocalStore, columns: Sequence[str] | None = None) -> pl.DataFrame:
        if self.document.payload is None:
            return pl.DataFrame(schema={ID: pl.String, "_group_hash": pl.UInt64, "_static_hash": pl.UInt64})
        return read_table(store, self.document.payload, columns)


def policy_of(guard: GuardPolicy) -> DeparturePolicy:
    return DeparturePolicy(guard.grace, guard.out_of_stock_first)


@dataclass(frozen=True, slots=True)
class Memory:
    """What a refresh leaves for the next look at the same rows. It stands in the metadata of the departures."""

    generations: Generations = field(default_factory=Generations)
    rejected: str | None = None
    """Table of the rows that failed our checks."""
    complete: bool = True
    """False: the read met rows without a readable id, or had to skip some; then nothing counts as gone."""


def departures_of(store: LocalStore, refresh: RefreshHead | None) -> pl.DataFrame:
    return read_or_empty(store, refresh.departures if refresh is not None else None, DEPARTURES)


def memory_of(store: LocalStore, refresh: RefreshHead | None) -> Memory:
    if refresh is None or refresh.departures is None:
        return Memory()
    stored = json.loads(read_metadata(store, refresh.departures)[MEMORY])
    generations = Generations(tuple((int(number), str(digest)) for number, digest in stored["generations"]))
    return Memory(generations, stored["rejected"], bool(stored["complete"]))


def write_departures(store: LocalStore, prefix: str, table: pl.DataFrame, memory: Memory) -> str:
    document = {
        "generations": memory.generations.digests,
        "rejected": memory.rejected,
        "complete": memory.complete,
    }
    return write_table(store, table_key(prefix, Kind.DEPARTURES, "all"), table, {MEMORY: json.dumps(document)})


def pending_of(
    head: Head, desired: pl.DataFrame, departures: pl.DataFrame, policy: DeparturePolicy, now: datetime
) -> Pending:
    found = counts(compare(desired, head.snapshot, departures, head.payload_ids, policy, now))
    return Pending(
        index=head.index,
        creations=found.creations,
        volatile=found.volatile,
        static=found.static,
        deletions=found.deletions,
        kept_missing=found.kept_missing,
        items_at_meta=found.items_at_meta,
        acknowledged=found.acknowledged,
        refused=found.refused,
        unknown=found.unknown,
    )
