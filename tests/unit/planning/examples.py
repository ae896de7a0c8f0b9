"""Catalogs, ledgers and operations as the decisions see them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from controller.api.v1alpha1 import Catalog, FeedSchedule, SyncOperation
from controller.api.v1alpha1.catalog_ledger import (
    ItemsRecord,
    LayoutRecord,
    LedgerContent,
    PartitionRecord,
    PendingCounts,
    RefreshRecord,
)

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def catalog(*, status: dict[str, Any] | None = None, name: str = "germany", **spec: Any) -> Catalog:
    entry = {"name": "products", "interval": "5m", "source": {"http": {"url": "https://shop.example/a.csv"}}}
    return Catalog.from_wire(
        {
            "apiVersion": Catalog.api_version(),
            "kind": Catalog.KIND,
            "metadata": {"name": name, "namespace": "shop", "uid": "u-1", "generation": 1},
            "spec": {"connectionRef": {"name": "acme"}, "name": "ACME", "items": [entry], **spec},
            "status": {"ownerUID": "u-1", **(status or {})},
        }
    )


def schedule(name: str, *, owner: str = "", deleting: bool = False, **spec: Any) -> FeedSchedule:
    metadata: dict[str, Any] = {"name": name, "namespace": "shop", "uid": f"uid-{name}"}
    if owner:
        metadata["ownerReferences"] = [
            {
                "apiVersion": Catalog.api_version(),
                "kind": "Catalog",
                "name": "germany",
                "uid": owner,
                "controller": True,
            }
        ]
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-05T11:00:00Z"
    wanted = {"catalogRef": {"name": "germany"}, "method": "ReplaceFeed", "interval": "2h", **spec}
    return FeedSchedule.from_wire(
        {"apiVersion": FeedSchedule.api_version(), "kind": "FeedSchedule", "metadata": metadata, "spec": wanted}
    )


def operation(
    name: str, phase: str = "Succeeded", *, ended: timedelta | None = timedelta(), ours: bool = True, **spec: Any
) -> SyncOperation:
    """An operation that ended so long ago; `ours`: made by the Catalog."""
    metadata: dict[str, Any] = {"name": name, "namespace": "shop", "uid": f"uid-{name}"}
    if ours:
        metadata["ownerReferences"] = [
            {
                "apiVersion": Catalog.api_version(),
                "kind": "Catalog",
                "name": "germany",
                "uid": "u-1",
                "controller": True,
            }
        ]
    status: dict[str, Any] = {"ownerUID": f"uid-{name}", "phase": phase}
    if ended is not None:
        status["completedAt"] = (NOW - ended).isoformat()
    wanted = {"catalogRef": {"name": "germany"}, "shards": ["germany-1-0"], "method": "ReplaceFeed", **spec}
    return SyncOperation.from_wire(
        {
            "apiVersion": SyncOperation.api_version(),
            "kind": "SyncOperation",
            "metadata": metadata,
            "spec": wanted,
            "status": status,
        }
    )


def refresh(**fields: Any) -> RefreshRecord:
    return RefreshRecord(
        **{
            "sequence": 3,
            "read_at": NOW,
            "digest": "d",
            "configuration_digest": "c",
            "rows": 12,
            "valid": 12,
            **fields,
        }
    )


def partition(index: int = 0, **fields: Any) -> PartitionRecord:
    """A partition that was loaded an hour ago and owes nothing."""
    known = {
        "index": index,
        "shard": f"germany-1-{index}",
        "slot_from": index,
        "slot_to": index,
        "feed_id": f"55{index}",
        "desired_rows": 12,
        "last_full_at": NOW - HOUR,
        "pending": PendingCounts(items_at_meta=12, acknowledged=12),
    }
    return PartitionRecord(**{**known, **fields})


def ledger(*partitions: PartitionRecord, items: ItemsRecord | None = None, **fields: Any) -> LedgerContent:
    entry = items or ItemsRecord(name="products", sequence=3, refresh=refresh(), looked_at=NOW)
    content = {
        "epoch": 1,
        "layout": LayoutRecord(shards=len(partitions) or 1),
        "partitions": partitions or (partition(),),
        "items": (entry,),
        **fields,
    }
    return LedgerContent(**content)
