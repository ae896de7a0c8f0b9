"""A shard that loses its last item: Meta takes no empty file, so its feed goes, and a new one is made for new rows."""

from datetime import timedelta

import pytest
import xxhash

from controller.api.conditions import ConditionStatus, ConditionType
from controller.api.v1alpha1 import CatalogShard, SyncOperation
from controller.api.v1alpha1.catalog_ledger import PartitionRecord
from tests.simulation.behaviours.stage import Stage
from tests.simulation.process import Process
from tests.simulation.shop import Product

FULL = timedelta(minutes=70)
"""Deletions wait for the next full send."""
LONG = timedelta(hours=3)
SPEC = {
    "sharding": {"shards": 2},
    "guards": {"gracePeriod": "0s", "maxDeletePercent": 100, "alwaysAllow": 100, "maxOutOfStockPercent": 100},
}


def smaller(stage: Stage) -> PartitionRecord:
    """The partition that is going to lose everything."""
    records = [record for record in stage.ledger().partitions if record.desired_rows]
    assert len(records) == 2
    return min(records, key=lambda record: record.desired_rows)


def home(product: Product) -> int:
    """Slot of a product: the top 12 of 64 bits, by its group where it has one."""
    return xxhash.xxh3_64_intdigest((product.group or product.id).encode()) >> 52


async def empty(stage: Stage) -> tuple[PartitionRecord, list[Product]]:
    """All items of one of two shards leave the shop."""
    await stage.begin(**SPEC)
    record = smaller(stage)
    gone = [each for each in stage.shop.products.values() if record.slot_from <= home(each) <= record.slot_to]
    assert len(gone) == record.desired_rows
    for product in gone:
        del stage.shop.products[product.id]
    stage.shop_changes(removed=[product.id for product in gone])
    return record, gone


def feed_is_gone(stage: Stage, record: PartitionRecord) -> bool:
    return int(record.feed_id or 0) not in stage.feeds_at_meta()


async def test_its_feed_goes_and_comes_back_with_new_rows(stage: Stage) -> None:
    record, gone = await empty(stage)
    await stage.until(lambda: feed_is_gone(stage, record), FULL)
    await stage.until(stage.in_step, FULL)
    shard = record.shard
    await stage.until(
        stage.says(ConditionType.READY, ConditionStatus.TRUE, "NoItems", kind=CatalogShard, of=shard), FULL
    )
    assert stage.require(CatalogShard, shard).status.feed_id is None
    assert stage.ready()
    fresh = stage.condition(ConditionType.FRESH)
    assert fresh is not None
    assert fresh.status is ConditionStatus.TRUE
    before = stage.request_count()
    await stage.rest(hours=2)
    assert not [one for one in stage.writes(before) if "product_feeds" in one.path], "no feed is made for nothing"
    for product in gone:
        stage.shop.products[product.id] = product
    stage.shop_changes()
    await stage.until(stage.in_step, FULL, "the items are back")
    assert stage.require(CatalogShard, shard).status.feed_id not in (None, record.feed_id)
    await stage.safe()


async def test_the_operation_says_what_it_deleted(stage: Stage) -> None:
    record, gone = await empty(stage)
    await stage.until(lambda: feed_is_gone(stage, record), FULL)
    await stage.until(stage.in_step, FULL)
    told = [one for one in stage.all(SyncOperation) if record.shard in one.spec.shards and one.status.plan]
    last = max(told, key=lambda one: one.status.completed_at or stage.now())
    assert last.status.plan is not None
    assert last.status.plan.delete == len(gone)
    assert last.status.plan.bytes == 0


@pytest.mark.parametrize("kind", ["drop_after", "drop_before", "connect_refused", "half_answer"])
async def test_an_answer_that_never_came_is_looked_for(stage: Stage, kind: str) -> None:
    record, _ = await empty(stage)
    stage.arm(kind, method="DELETE", count=1)
    await stage.until(lambda: feed_is_gone(stage, record), LONG)
    await stage.until(stage.in_step, LONG)
    assert stage.ready()
    await stage.safe()


async def test_killed_right_after_it_asked(stage: Stage) -> None:
    record, _ = await empty(stage)
    await stage.until(lambda: feed_is_gone(stage, record), FULL)
    process: Process = stage.world.processes[-1]
    process.kill()
    stage.launch()
    await stage.until(stage.in_step, LONG)
    await stage.rest(hours=1)
    assert stage.ready()
    await stage.safe()
