"""Meta does not answer, throttles, or refuses: said with the next try, waited out, and made good by itself."""

from datetime import timedelta
from typing import Any

import pytest

from controller.api.conditions import ConditionStatus, ConditionType
from controller.api.v1alpha1 import SyncOperation
from hack.emulator.journal import RequestRecord
from tests.simulation.behaviours.stage import Stage

HEALED = timedelta(minutes=45)
OF_THE_CATALOG = r"/v26\.0/[0-9]{10,}"
DOWN: dict[str, dict[str, Any]] = {
    "refuses connections": {"kind": "connect_refused"},
    "answers 502": {"kind": "http_error", "status": 502},
    "answers code 2": {"kind": "graph_error", "code": 2},
    "answers 200 with an error": {"kind": "error_200"},
    "drops requests": {"kind": "drop_before"},
}


def batches(stage: Stage) -> list[RequestRecord]:
    return [one for one in stage.requests() if one.path.endswith("/items_batch")]


@pytest.mark.parametrize("case", DOWN)
async def test_down_from_the_start(stage: Stage, case: str) -> None:
    stage.arm(**DOWN[case], probability=1.0)
    await stage.populate()
    stage.launch()
    await stage.rest(minutes=15)
    said = stage.require_catalog().status
    ready = stage.condition(ConditionType.READY)
    assert ready is not None
    assert ready.status is ConditionStatus.FALSE, said
    assert ready.reason == "DependencyNotReady"
    assert "Meta" in ready.message
    assert stage.condition(ConditionType.STALLED) is None, "Meta being down needs no person"
    stage.disarm()
    await stage.until(stage.ready, HEALED)
    await stage.until(stage.in_step, HEALED)
    assert len(stage.catalogs_at_meta()) == 1
    assert len(stage.feeds_at_meta()) == 1
    await stage.safe()


@pytest.mark.parametrize("case", DOWN)
async def test_down_while_prices_change(stage: Stage, case: str) -> None:
    await stage.begin()
    before = stage.items_at_meta()
    stage.arm(**DOWN[case], probability=1.0)
    stage.change_prices()
    await stage.rest(minutes=80)
    assert stage.items_at_meta() == before
    assert stage.ready(), "it exists, and it was loaded"
    fresh = stage.condition(ConditionType.FRESH)
    assert fresh is not None
    assert (fresh.status, fresh.reason) == (ConditionStatus.FALSE, "BehindTarget")
    assert "price or stock of 12 items waits" in fresh.message
    tried = [op for op in stage.all(SyncOperation) if op.status.phase == "Failed"]
    assert len(tried) < 10, "failed attempts come ever later"
    stage.disarm()
    await stage.until(stage.in_step, HEALED)
    await stage.safe()


async def test_down_in_the_middle_of_the_first_load(stage: Stage) -> None:
    """The handle is known: the operation says that it waits, and is followed to its end when Meta is back."""
    await stage.populate()
    stage.launch()
    await stage.until(
        lambda: any(one.path.endswith("/uploads") and one.method == "POST" for one in stage.requests()),
        timedelta(minutes=5),
    )
    stage.arm("http_error", status=503, probability=1.0)
    await stage.rest(minutes=30)
    operation = stage.all(SyncOperation)[0]
    waiting = stage.condition(ConditionType.RECONCILING, kind=SyncOperation, of=operation.name)
    assert waiting is not None
    assert waiting.reason == "MetaUnavailable"
    assert operation.status.next_attempt_at is not None
    stage.disarm()
    await stage.until(stage.ready, HEALED)
    await stage.until(stage.in_step, HEALED)
    uploads = [one for one in stage.writes() if one.path.endswith("/uploads")]
    assert len(uploads) == 1
    await stage.safe()


async def test_a_lost_answer_to_an_upload_is_looked_for_and_not_repeated(stage: Stage) -> None:
    stage.arm("drop_after", method="POST", path="uploads")
    await stage.populate()
    stage.launch()
    await stage.until(stage.ready, HEALED)
    await stage.until(stage.in_step, HEALED)
    uploads = [one for one in stage.writes() if one.path.endswith("/uploads")]
    assert len(uploads) == 1, "what Meta had taken was found again"
    await stage.safe()


async def test_a_lost_answer_to_a_batch_is_read_back(stage: Stage) -> None:
    await stage.begin()
    stage.arm("drop_after", method="POST", path="items_batch")
    stage.change_prices()
    await stage.until(stage.in_step, timedelta(hours=1))
    assert len(batches(stage)) == 1, "all values were read back: the batch had been applied"
    await stage.safe()


async def test_an_answer_that_is_lost_with_the_request_is_planned_anew(stage: Stage) -> None:
    await stage.begin()
    stage.arm("drop_before", method="POST", path="items_batch")
    stage.change_prices()
    await stage.until(stage.in_step, timedelta(hours=2))
    await stage.safe()


async def test_throttled_batches_wait_for_as_long_as_told(stage: Stage) -> None:
    """80014 closes one bucket: nothing is sent in it until then, and the other one goes on."""
    await stage.begin()
    stage.arm("throttle", path="items_batch", code=80014, minutes=25)
    stage.change_prices()
    refused = (await stage.until(lambda: batches(stage), timedelta(minutes=20)))[0]
    assert refused.told_minutes
    failed = await stage.until(lambda: [op for op in stage.all(SyncOperation) if op.status.phase == "Failed"], HEALED)
    said = stage.condition(ConditionType.FAILED, kind=SyncOperation, of=failed[0].name)
    assert said is not None
    assert said.reason == "RateLimited"
    await stage.rest(minutes=10)
    assert not stage.in_flight(), "who waits for the quota keeps the shards from nobody"
    await stage.until(stage.in_step, timedelta(hours=1))
    accepted = batches(stage)[1]
    assert accepted.first_byte > refused.answered + refused.told_minutes * 60
    await stage.safe()


async def test_a_throttled_management_bucket_is_left_alone(stage: Stage) -> None:
    """80009: no call in the bucket, polls included, until the told time; then everything goes on by itself."""
    await stage.begin()
    stage.arm("throttle", method="GET", path=OF_THE_CATALOG, code=80009, minutes=30)
    stage.change_prices()
    told = await stage.until(
        lambda: [one for one in stage.requests() if one.told_minutes], timedelta(minutes=30), "a throttling answer"
    )
    await stage.until(stage.in_step, timedelta(hours=2))
    quiet_until = told[0].answered + told[0].told_minutes * 60
    calls = [
        one
        for one in stage.requests()
        if one.bucket == told[0].bucket and told[0].answered < one.first_byte <= quiet_until
    ]
    assert calls == []
    await stage.safe()


async def test_throttling_outlives_the_process_that_heard_of_it(stage: Stage) -> None:
    first = await stage.begin()
    stage.arm("throttle", path="items_batch", code=80014, minutes=25)
    stage.change_prices()
    await stage.until(lambda: [one for one in stage.requests() if one.told_minutes], timedelta(minutes=30))
    await stage.rest(seconds=5)
    first.kill()
    stage.launch()
    await stage.until(stage.in_step, timedelta(hours=2))
    await stage.safe()
