"""The state that the ledger names, as frames: what steps read first and write last."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

import polars as pl

from controller.ports.preparing import GuardPolicy, Partition, RefreshHead
from controller.preparing.manifests import is_manifest, read_snapshot_manifest, verified
from controller.preparing.objects import read_metadata, read_or_empty, read_table, table_key, write_table
from controller.products.compare import DeparturePolicy
from controller.products.departures import Generations
from controller.products.fields import ID
from controller.products.partition import PARTITION
from controller.products.tables import DEPARTURES, SNAPSHOT, Kind
from controller.stores.local import LocalStore

MEMORY = "memory"
IDS = pl.Schema({ID: pl.String})


@dataclass(frozen=True, slots=True)
class Heads:
    """What Meta acknowledged, for some partitions together; `_partition` says which a row belongs to."""

    snapshot: pl.DataFrame
    payload_ids: pl.DataFrame

    @classmethod
    def load(cls, store: LocalStore, documents: Iterable[Partition]) -> "Heads":
        ordered = sorted(documents, key=lambda each: each.index)
        snapshots = [in_partition(snapshot_rows(store, each.snapshot), each.index) for each in ordered]
        payloads = [in_partition(read_or_empty(store, each.payload, IDS), each.index) for each in ordered]
        return cls(pl.concat(snapshots), pl.concat(payloads))


def snapshot_rows(store: LocalStore, key: str | None) -> pl.DataFrame:
    """What Meta acknowledged, however it is kept."""
    if key is None or not is_manifest(key):
        return read_or_empty(store, key, SNAPSHOT)
    manifest = read_snapshot_manifest(store, key)
    base = read_or_empty(store, verified(store, manifest.base).key, SNAPSHOT)
    if manifest.later is None:
        return base
    later = read_or_empty(store, verified(store, manifest.later).key, SNAPSHOT)
    return pl.concat([base.join(later.select(ID), on=ID, how="anti", maintain_order="left"), later])


def in_partition(table: pl.DataFrame, index: int) -> pl.DataFrame:
    return table.with_columns(pl.lit(index, dtype=pl.UInt16).alias(PARTITION))


def payload_of(store: LocalStore, document: Partition) -> pl.DataFrame:
    """Rows of the last accepted full send."""
    return no_payload() if document.payload is None else read_table(store, document.payload)


def no_payload() -> pl.DataFrame:
    return pl.DataFrame(schema={ID: pl.String, "_group_hash": pl.UInt64, "_static_hash": pl.UInt64})


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
