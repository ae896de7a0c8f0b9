"""What people ask for in the middle of things: suspend, cancel, plan, sync now, rename, only observe."""

from datetime import timedelta

import pytest

from controller.api import names
from controller.api.conditions import ConditionStatus, ConditionType
from controller.api.v1alpha1 import Catalog, CatalogShard, FeedSchedule, MetaConnection, SyncOperation
from controller.api.v1alpha1.common import Method
from controller.api.v1alpha1.sync_operation import Phase
from controller.kube import paths
from controller.kube.transport import ContentType, Request
from tests.simulation.behaviours.stage import CONNECTION, Stage, usual_spec
from tests.simulation.world import CATALOG, NAMESPACE

SOON = timedelta(minutes=3)
SENT = timedelta(minutes=20)
FULL = timedelta(minutes=70)


def sent(stage: Stage, edge: str) -> int:
    return len([one for one in stage.writes() if one.path.endswith(edge)])


# Suspend


async def test_a_suspended_catalog_starts_nothing_and_catches_up(stage: Stage) -> None:
    await stage.begin()
    await stage.change(suspend=True)
    synced = await stage.until(stage.says(ConditionType.SYNCED, ConditionStatus.UNKNOWN, "Suspended"), SOON)
    assert "suspended" in synced.message
    before = stage.items_at_meta()
    stage.change_prices()
    writes = len(stage.writes())
    await stage.rest(hours=3)
    assert stage.items_at_meta() == before
    assert len(stage.writes()) == writes
    assert stage.ready(), "Ready stays as it was"
    await stage.change(suspend=False)
    await stage.until(stage.in_step, SENT)
    await stage.until(stage.says(ConditionType.SYNCED, ConditionStatus.TRUE, "InSync"), SOON)
    await stage.safe()


async def test_what_is_in_flight_when_it_is_suspended_is_followed_to_its_end(stage: Stage) -> None:
    stage.plan.switches.upload_base_seconds = 900
    await stage.populate()
    stage.launch()
    await stage.until(lambda: sent(stage, "/uploads"), SOON)
    await stage.change(suspend=True)
    await stage.until(lambda: not stage.in_flight(), timedelta(minutes=40))
    assert stage.all(SyncOperation)[0].status.phase is Phase.SUCCEEDED
    await stage.change(suspend=False)
    await stage.until(stage.in_step, FULL)
    assert sent(stage, "/uploads") == 1


async def test_a_suspended_connection_starts_nothing_for_any_catalog(stage: Stage) -> None:
    await stage.begin()
    await stage.patch(MetaConnection, CONNECTION, {"spec": {"suspend": True}})
    await stage.rest(minutes=2)
    before = stage.items_at_meta()
    stage.change_prices()
    writes = len(stage.writes())
    await stage.rest(hours=2)
    assert stage.items_at_meta() == before
    assert len(stage.writes()) == writes
    await stage.patch(MetaConnection, CONNECTION, {"spec": {"suspend": False}})
    await stage.until(stage.in_step, SENT)
    await stage.safe()


async def test_nothing_is_created_while_it_is_suspended(stage: Stage) -> None:
    await stage.populate(suspend=True)
    stage.launch()
    said = await stage.until(stage.says(ConditionType.READY, ConditionStatus.FALSE, "Suspended"), SOON)
    assert "not created" in said.message
    await stage.rest(hours=1)
    assert stage.writes() == []
    await stage.change(suspend=False)
    await stage.until(stage.ready, SENT)


async def test_a_suspended_schedule_makes_nothing_and_the_others_go_on(stage: Stage) -> None:
    await stage.begin()
    spec = {"catalogRef": {"name": CATALOG}, "method": "ItemsBatch", "interval": "15m", "suspend": True}
    await stage.create(FeedSchedule, "mine", spec)
    await stage.until(stage.gone(FeedSchedule, f"{CATALOG}-batch"), SOON)
    said = await stage.until(
        stage.says(ConditionType.READY, ConditionStatus.UNKNOWN, "Suspended", kind=FeedSchedule, of="mine"), SOON
    )
    assert "spec.suspend" in said.message
    batches = sent(stage, "/items_batch")
    stage.change_prices()
    next(iter(stage.shop.products.values())).title = "Another title"
    await stage.until(stage.in_step, FULL, "the full send carries everything")
    assert sent(stage, "/items_batch") == batches
    await stage.patch(FeedSchedule, "mine", {"spec": {"suspend": False}})
    stage.change_prices()
    await stage.until(stage.in_step, SENT)
    assert sent(stage, "/items_batch") == batches + 1
    await stage.safe()


async def test_a_run_that_could_not_start_for_too_long_is_dropped(stage: Stage) -> None:
    await stage.begin()
    spec = {"catalogRef": {"name": CATALOG}, "method": "ReplaceFeed", "interval": "4h", "startingDeadline": "30m"}
    await stage.create(FeedSchedule, "mine", spec)
    await stage.until(stage.gone(FeedSchedule, f"{CATALOG}-replace"), SOON)
    made_at = stage.now()
    await stage.rest(hours=3, minutes=50)
    await stage.change(suspend=True)
    next(iter(stage.shop.products.values())).title = "Another title"
    stage.shop_changes()
    await stage.rest(hours=1)
    await stage.change(suspend=False)
    await stage.rest(hours=2)
    assert stage.differences(), "the slot at the fourth hour was over"
    await stage.until(stage.in_step, timedelta(hours=2))
    assert stage.now() - made_at >= timedelta(hours=8)


# Operations by hand


async def test_a_dry_run_ends_at_planned_and_sends_nothing(stage: Stage) -> None:
    await stage.begin()
    stage.change_prices()
    writes = len(stage.writes())
    await stage.operation("plan", dryRun=True)
    await stage.until(lambda: stage.phase("plan") is Phase.PLANNED and not stage.in_flight(), SOON)
    operation = stage.require(SyncOperation, "plan")
    assert operation.status.plan is not None
    assert operation.status.plan.calls == 1
    assert operation.status.plan.bytes > 0
    assert stage.condition(ConditionType.COMPLETE, kind=SyncOperation, of="plan") is not None
    assert len(stage.writes()) == writes
    assert names.FINALIZER not in operation.metadata.finalizers
    await stage.rest(hours=1)
    assert stage.phase("plan") is Phase.PLANNED
    await stage.until(stage.in_step, SENT)
    await stage.safe()


async def test_a_full_send_by_hand(stage: Stage) -> None:
    await stage.begin(operations={"ttlAfterFinished": "1h"}, freshness={"full": "90m"})
    uploads = sent(stage, "/uploads")
    await stage.operation("now")
    await stage.until(lambda: stage.phase("now") is Phase.SUCCEEDED, SOON)
    operation = stage.require(SyncOperation, "now")
    assert sent(stage, "/uploads") == uploads + 1
    assert operation.status.outcome is not None
    assert operation.status.outcome.accepted == len(stage.shop.products)
    assert operation.status.trigger == "Request"
    others = {op.name for op in stage.all(SyncOperation)} - {"now"}
    await stage.rest(hours=4)
    assert stage.find(SyncOperation, "now") is not None, "a hand-made one is never collected"
    assert sent(stage, "/uploads") > uploads + 1
    assert others
    assert not others & {op.name for op in stage.all(SyncOperation)}, "the others are"
    await stage.safe()


async def test_a_batch_by_hand_sends_only_what_it_names(stage: Stage) -> None:
    await stage.begin()
    schedule = {"catalogRef": {"name": CATALOG}, "method": "ItemsBatch", "interval": "24h", "suspend": True}
    await stage.create(FeedSchedule, "mine", schedule)
    await stage.until(stage.gone(FeedSchedule, f"{CATALOG}-batch"), SOON)
    before = {item: row["price"] for item, row in stage.items_at_meta().items()}
    stage.change_prices()
    await stage.until(lambda: stage.ledger().partitions[0].pending.volatile, timedelta(minutes=8))
    chosen = min(before)
    await stage.operation("some", method="ItemsBatch", itemIDs=[chosen], fields=["price"])
    await stage.until(lambda: stage.phase("some") is Phase.SUCCEEDED, SENT)
    outcome = stage.require(SyncOperation, "some").status.outcome
    assert outcome is not None
    assert outcome.accepted == 1
    assert stage.items_at_meta()[chosen]["price"] != before[chosen]
    await stage.safe()


@pytest.mark.parametrize(
    ("spec", "reason", "words"),
    [
        ({"shards": ["germany-1-9"]}, "InvalidSpec", ("spec.shards", "germany-1-9", "germany-1-0")),
        ({"catalogRef": {"name": "nobody"}}, "CatalogNotFound", ("nobody",)),
    ],
    ids=["unknown shard", "unknown catalog"],
)
async def test_an_operation_that_can_not_be_carried_out_says_why(
    stage: Stage, spec: dict[str, object], reason: str, words: tuple[str, ...]
) -> None:
    await stage.begin()
    await stage.operation("wrong", **spec)
    said = await stage.until(
        stage.says(ConditionType.STALLED, ConditionStatus.TRUE, reason, kind=SyncOperation, of="wrong"), SOON
    )
    for word in words:
        assert word in said.message
    await stage.delete(SyncOperation, "wrong")
    await stage.until(stage.gone(SyncOperation, "wrong"), SOON)
    stage.change_prices()
    await stage.until(stage.in_step, SENT)


async def test_an_operation_that_is_never_admitted_fails_at_its_deadline(stage: Stage) -> None:
    await stage.begin()
    await stage.change(suspend=True)
    await stage.operation("late", deadline="30m")
    await stage.rest(minutes=20)
    assert stage.phase("late") is Phase.PENDING
    await stage.until(lambda: stage.phase("late") is Phase.FAILED, timedelta(minutes=15))
    said = stage.condition(ConditionType.FAILED, kind=SyncOperation, of="late")
    assert said is not None
    assert said.reason == "DeadlineExceeded"


async def test_a_status_that_was_copied_from_elsewhere_is_not_run_again(stage: Stage) -> None:
    """A backup that was restored, or a pipeline that applies what it once read: what ran is not run again."""
    await stage.begin()
    await stage.change(suspend=True)
    await stage.operation("old")
    await stage.until(lambda: stage.phase("old") is Phase.PENDING, SOON)
    status = {"status": {"ownerUID": "somebody", "phase": "Processing", "observedGeneration": 1}}
    path = paths.status(SyncOperation, NAMESPACE, "old")
    await stage.send(
        Request("PATCH", path, query=(("fieldManager", "people"),), body=status, content_type=ContentType.MERGE_PATCH)
    )
    uploads = sent(stage, "/uploads")
    await stage.change(suspend=False)
    await stage.until(lambda: stage.phase("old") is Phase.SUPERSEDED, SENT)
    assert sent(stage, "/uploads") == uploads


# Cancel


async def test_cancel_before_anything_was_sent(stage: Stage) -> None:
    await stage.begin()
    await stage.change(suspend=True)
    await stage.operation("now")
    await stage.until(lambda: stage.phase("now") is Phase.PENDING, SOON)
    await stage.patch(SyncOperation, "now", {"spec": {"cancel": True}})
    await stage.until(lambda: stage.phase("now") is Phase.CANCELLED, SOON)
    assert not stage.in_flight()


async def test_cancel_when_bytes_are_on_their_way_follows_them(stage: Stage) -> None:
    await stage.begin()
    stage.world.emulator.switches.upload_base_seconds = 600
    uploads = sent(stage, "/uploads")
    await stage.operation("now")
    await stage.until(lambda: sent(stage, "/uploads") > uploads, SOON)
    await stage.patch(SyncOperation, "now", {"spec": {"cancel": True}})
    await stage.rest(minutes=5)
    assert stage.in_flight(), "Meta works on it: nobody else may"
    await stage.until(lambda: stage.phase("now") is Phase.SUCCEEDED, timedelta(minutes=20))
    assert not stage.in_flight()
    await stage.safe()


# Sync now


async def test_a_sync_request_is_acknowledged_and_sends_everything_once(stage: Stage) -> None:
    await stage.begin()
    uploads = sent(stage, "/uploads")
    await stage.annotate(names.ANNOTATION_SYNC_REQUESTED_AT, "2026-01-05T09:00:00Z")
    await stage.until(
        lambda: stage.require_catalog().status.last_handled_sync_at == "2026-01-05T09:00:00Z", timedelta(minutes=1)
    )
    await stage.until(lambda: sent(stage, "/uploads") == uploads + 1, SOON)
    made = [op for op in stage.all(SyncOperation) if op.status.trigger == "Request"]
    assert len(made) == 1
    await stage.rest(minutes=50)
    assert sent(stage, "/uploads") == uploads + 1
    await stage.safe()


async def test_a_sync_request_survives_a_restart(stage: Stage) -> None:
    first = await stage.begin()
    uploads = sent(stage, "/uploads")
    first.kill()
    await stage.annotate(names.ANNOTATION_SYNC_REQUESTED_AT, "now")
    stage.launch()
    await stage.until(lambda: stage.require_catalog().status.last_handled_sync_at == "now", SOON)
    await stage.until(lambda: sent(stage, "/uploads") == uploads + 1, SOON)
    await stage.safe()


# Settings


async def _name_at_meta(stage: Stage) -> str:
    catalog_id = stage.require_catalog().status.catalog_id
    assert catalog_id is not None
    return str((await stage.ask_meta("GET", catalog_id, fields="name"))["name"])


async def test_rename(stage: Stage) -> None:
    await stage.begin()
    await stage.change(name="ACME Deutschland")
    await stage.rest(minutes=1)
    assert await _name_at_meta(stage) == "ACME Deutschland"
    assert stage.condition(ConditionType.SYNCED) is not None
    assert len(stage.catalogs_at_meta()) == 1


async def test_drift_is_corrected(stage: Stage) -> None:
    await stage.begin()
    catalog_id = str(stage.catalogs_at_meta()[0])
    await stage.ask_meta("POST", catalog_id, name="Renamed by somebody")
    await stage.rest(minutes=65)
    assert await _name_at_meta(stage) == "ACME Germany"
    assert stage.require_catalog().status.drift == ()


async def test_drift_is_reported_where_the_policy_says_so(stage: Stage) -> None:
    await stage.begin(driftPolicy="Report")
    catalog_id = str(stage.catalogs_at_meta()[0])
    await stage.ask_meta("POST", catalog_id, name="Renamed by somebody")
    said = await stage.until(
        stage.says(ConditionType.SYNCED, ConditionStatus.FALSE, "DriftDetected"), timedelta(minutes=65)
    )
    assert "name" in said.message
    drift = stage.require_catalog().status.drift
    assert [(one.field, one.declared, one.at_meta) for one in drift] == [
        ("name", "ACME Germany", "Renamed by somebody")
    ]
    assert stage.ready()
    assert await _name_at_meta(stage) == "Renamed by somebody"
    await stage.change(name="ACME Deutschland")
    await stage.until(stage.says(ConditionType.SYNCED, ConditionStatus.TRUE, "InSync"), SOON)
    assert await _name_at_meta(stage) == "ACME Deutschland", "a change that is asked for is made"


async def test_observe_writes_nothing(stage: Stage) -> None:
    catalog_id = await stage.make_catalog_at_meta("Made by people")
    await stage.populate(catalogID=catalog_id, managementPolicy="Observe")
    writes = len(stage.writes())
    stage.launch()
    said = await stage.until(
        stage.says(ConditionType.SYNCED, ConditionStatus.FALSE, "DriftDetected"), timedelta(minutes=5)
    )
    assert "name" in said.message
    await stage.rest(hours=3)
    assert len(stage.writes()) == writes
    assert stage.all(CatalogShard) == []
    await stage.delete(Catalog, CATALOG)
    await stage.until(stage.gone(Catalog, CATALOG), SOON)
    assert len(stage.writes()) == writes


async def test_observe_without_an_id_says_what_is_missing(stage: Stage) -> None:
    await stage.populate(managementPolicy="Observe")
    stage.launch()
    said = await stage.until(stage.says(ConditionType.READY, ConditionStatus.FALSE, "InvalidSpec"), SOON)
    assert "catalogID" in said.message
    assert stage.writes() == []


async def test_a_catalog_that_is_switched_to_observe_is_left_alone(stage: Stage) -> None:
    await stage.begin()
    await stage.change(managementPolicy="Observe")
    await stage.rest(minutes=2)
    before, writes = stage.items_at_meta(), len(stage.writes())
    stage.change_prices()
    await stage.rest(hours=2)
    assert (stage.items_at_meta(), len(stage.writes())) == (before, writes)
    await stage.change(managementPolicy="Full")
    await stage.until(stage.in_step, SENT)


# Promises


async def test_everything_is_sent_again_before_the_promise_ends(stage: Stage) -> None:
    await stage.begin(freshness={"full": "4h", "items": "1h", "volatile": "15m"})
    uploads = sent(stage, "/uploads")
    await stage.hold(
        lambda: (fresh := stage.condition(ConditionType.FRESH)) is not None and fresh.status is ConditionStatus.TRUE,
        timedelta(hours=9),
        "Fresh",
    )
    assert sent(stage, "/uploads") - uploads == 2
    assert sent(stage, "/items_batch") == 0, "nothing changed"
    await stage.safe()


async def test_another_source_is_read_at_once(stage: Stage) -> None:
    """A changed spec does not wait for the interval."""
    await stage.begin()
    mapping = {"constants": [{"field": "brand", "value": "Another"}]}
    await stage.change(items=[{**usual_spec()["items"][0], "mapping": mapping}])
    await stage.until(lambda: stage.ledger().partitions[0].pending.static, timedelta(minutes=1))
    await stage.until(
        lambda: {row["brand"] for row in stage.items_at_meta().values()} == {"Another"}, FULL, "the new brand"
    )


async def test_a_batch_whose_values_went_with_a_full_send_is_superseded(stage: Stage) -> None:
    """It waits for the quota of batches meanwhile; then nothing is left for it, and it says so."""
    await stage.begin()
    stage.arm("throttle", path="/items_batch$", method="POST", code=80014, minutes=90, count=1)
    stage.change_prices()
    waiting = await stage.until(lambda: _waiting_batch(stage), timedelta(minutes=40), "a batch waits for the quota")
    await stage.annotate(names.ANNOTATION_SYNC_REQUESTED_AT, "now")
    await stage.until(lambda: stage.phase(waiting) is Phase.SUPERSEDED, timedelta(hours=3))
    assert stage.in_step(), stage.differences()
    assert stage.condition(ConditionType.FAILED, kind=SyncOperation, of=waiting) is None
    complete = stage.condition(ConditionType.COMPLETE, kind=SyncOperation, of=waiting)
    assert complete is not None
    assert (complete.reason, complete.message) == ("Superseded", "another operation sent its values already")
    await stage.safe()


def _waiting_batch(stage: Stage) -> str | None:
    found = [one.name for one in stage.all(SyncOperation) if one.spec.method is Method.ITEMS_BATCH]
    return next((name for name in found if stage.phase(name) is Phase.PENDING), None)
