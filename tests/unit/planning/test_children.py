"""Shards and schedules that a Catalog should have."""

from datetime import timedelta

import pytest

from controller.api.v1alpha1.common import Method
from controller.planning import children
from controller.planning.layout import partitions_of, recommended_shards
from tests.unit.planning.examples import catalog, ledger, partition, schedule


def test_there_are_no_shards_before_the_layout_is_decided() -> None:
    assert children.shards(catalog(), ledger(layout=None)) == ()


def test_one_shard_per_partition_owned_by_the_catalog() -> None:
    found = children.shards(catalog(), ledger(partition(0), partition(1)))
    assert [shard.name for shard in found] == ["germany-1-0", "germany-1-1"]
    for shard in found:
        owner = shard.metadata.controller
        assert owner is not None
        assert (owner.kind, owner.uid) == ("Catalog", "u-1")
        assert set(shard.metadata.labels) == {"metacatalog.dev/catalog"}, "Argo would prune with the parent's labels"


def test_auto_derives_replaces_and_batches_from_freshness() -> None:
    found = children.schedules(catalog(freshness={"items": "2h", "volatile": "10m"}), (), 12)
    assert [(one.name, one.spec.method, one.spec.interval) for one in found.wanted] == [
        ("germany-replace", Method.REPLACE_FEED, timedelta(hours=2)),
        ("germany-batch", Method.ITEMS_BATCH, timedelta(minutes=10)),
    ]
    assert [one.overridden_by for one in found.derived] == [None, None]
    assert "small" in found.reason
    assert "every 2 h" in found.reason
    assert "every 10 min" in found.reason


def test_a_large_catalog_is_called_so() -> None:
    assert "large" in children.schedules(catalog(), (), 1_000_001).reason


def test_none_leaves_only_hand_written_ones() -> None:
    found = children.schedules(catalog(ingestion={"profile": "None"}), (), 12)
    assert found.wanted == ()
    assert "hand-written" in found.reason


@pytest.mark.parametrize(
    ("existing", "overridden"),
    [
        (schedule("mine"), True),
        (schedule("mine", method="ItemsBatch"), False),
        (schedule("mine", shards=["germany-1-0"]), False),
        (schedule("mine", catalogRef={"name": "austria"}), False),
        (schedule("mine", deleting=True), False),
        (schedule("germany-replace", owner="u-1"), False),
    ],
    ids=["same method, all shards", "another method", "one shard", "another catalog", "being deleted", "derived"],
)
def test_a_hand_written_schedule_replaces_the_derived_one(existing: object, *, overridden: bool) -> None:
    found = children.schedules(catalog(), (existing,), 12)  # type: ignore[arg-type]  # a FeedSchedule
    assert ("germany-replace" not in [one.name for one in found.wanted]) == overridden
    replace = next(one for one in found.derived if one.name == "germany-replace")
    assert replace.overridden_by == ("mine" if overridden else None)


@pytest.mark.parametrize(("items", "shards"), [(0, 1), (1, 1), (1_000_000, 1), (1_000_001, 2), (10**9, 256)], ids=str)
def test_recommended_shards(items: int, shards: int) -> None:
    assert recommended_shards(items) == shards


@pytest.mark.parametrize("shards", [1, 2, 3, 7, 255, 256])
def test_partitions_cover_every_slot_once_and_evenly(shards: int) -> None:
    ranges = partitions_of(shards)
    covered = [slot for first, last in ranges for slot in range(first, last + 1)]
    assert covered == list(range(4_096))
    sizes = [last - first + 1 for first, last in ranges]
    assert max(sizes) - min(sizes) <= 1
