"""The shards and schedules that a Catalog should have: pure, from its spec, its layout and hand-written schedules."""

from dataclasses import dataclass
from datetime import timedelta

from controller.api import names
from controller.api.resource import ObjectMeta, OwnerReference
from controller.api.v1alpha1.catalog import Catalog, DerivedSchedule
from controller.api.v1alpha1.catalog_ledger import LedgerContent
from controller.api.v1alpha1.catalog_shard import CatalogShard, CatalogShardSpec, ShardPartition, SlotRange
from controller.api.v1alpha1.common import Method
from controller.api.v1alpha1.feed_schedule import FeedSchedule, FeedScheduleSpec
from controller.api.v1alpha1.policies import IngestionProfile
from controller.api.values import ObjectRef

STAGGER_SHARE = 6
"""Shards of one schedule start within a sixth of its interval, so that uploads do not come all at once."""


@dataclass(frozen=True, slots=True)
class Schedules:
    """Derived schedules that should exist, what was derived, and why."""

    wanted: tuple[FeedSchedule, ...]
    derived: tuple[DerivedSchedule, ...]
    reason: str


def shard_name(catalog: str, layout: int, index: int) -> str:
    return f"{catalog}-{layout}-{index}"


def shards(catalog: Catalog, ledger: LedgerContent) -> tuple[CatalogShard, ...]:
    """One shard per partition of the layout; none before the layout is decided."""
    if ledger.layout is None:
        return ()
    return tuple(
        CatalogShard(
            metadata=child_metadata(catalog, record.shard),
            spec=CatalogShardSpec(
                catalog_ref=ObjectRef(name=catalog.name),
                items_name=catalog.spec.items[0].name,
                partition=ShardPartition(slots=SlotRange(from_=record.slot_from, to=record.slot_to)),
            ),
        )
        for record in ledger.partitions
    )


def schedules(catalog: Catalog, existing: tuple[FeedSchedule, ...], items: int) -> Schedules:
    """Replace every hour and batches every 15 minutes (or what freshness says), less what people wrote themselves."""
    if catalog.spec.ingestion.profile is IngestionProfile.NONE:
        return Schedules((), (), "spec.ingestion.profile is None: only hand-written schedules are used")
    freshness = catalog.spec.freshness
    plans = ((Method.REPLACE_FEED, freshness.items), (Method.ITEMS_BATCH, freshness.volatile))
    wanted, derived = [], []
    for method, interval in plans:
        name = f"{catalog.name}-{'replace' if method is Method.REPLACE_FEED else 'batch'}"
        override = _override(catalog, method, existing)
        derived.append(DerivedSchedule(name=name, method=method, overridden_by=override))
        if override is None:
            wanted.append(_schedule(catalog, name, method, interval))
    size = "small: at most 1,000,000 items" if items <= 1_000_000 else "large: more than 1,000,000 items"
    often = f"every {_text(freshness.items)} and batches every {_text(freshness.volatile)}"
    reason = f"{size}: one replace feed per shard {often}"
    return Schedules(tuple(wanted), tuple(derived), reason)


def _override(catalog: Catalog, method: Method, existing: tuple[FeedSchedule, ...]) -> str | None:
    """A hand-written schedule of the same catalog and method that covers all shards."""
    for schedule in existing:
        mine = schedule.metadata.controller is not None and schedule.metadata.controller.uid == catalog.uid
        same = schedule.spec.catalog_ref.name == catalog.name and schedule.spec.method == method
        if same and not mine and schedule.spec.shards is None and not schedule.metadata.deleting:
            return schedule.name
    return None


def _schedule(catalog: Catalog, name: str, method: Method, interval: timedelta) -> FeedSchedule:
    spec = FeedScheduleSpec.model_validate(
        {
            "catalog_ref": ObjectRef(name=catalog.name),
            "method": method,
            "interval": interval,
            "stagger": interval / STAGGER_SHARE if method is Method.REPLACE_FEED else timedelta(),
        }
    )
    return FeedSchedule(metadata=child_metadata(catalog, name), spec=spec)


def child_metadata(catalog: Catalog, name: str) -> ObjectMeta:
    """Owned by the Catalog; our labels only, because GitOps tools prune by the parent's."""
    owner = OwnerReference(
        api_version=Catalog.api_version(),
        kind=Catalog.KIND,
        name=catalog.name,
        uid=catalog.uid,
        controller=True,
        block_owner_deletion=False,
    )
    return ObjectMeta(
        name=name,
        namespace=catalog.namespace,
        labels={names.LABEL_CATALOG: catalog.name},
        owner_references=(owner,),
    )


def _text(duration: timedelta) -> str:
    minutes = int(duration.total_seconds() // 60)
    return f"{minutes // 60} h" if minutes % 60 == 0 and minutes >= 60 else f"{minutes} min"
