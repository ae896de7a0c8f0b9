"""The engine: who is woken by what, and when a run that failed comes again."""

import asyncio
import itertools
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from controller.api import names
from controller.api.resource import ObjectKey
from controller.api.v1alpha1 import Catalog
from controller.faults import Disposition, Fault
from controller.reconcile.engine import Engine
from controller.reconcile.outcome import Outcome
from tests.unit.reconcile.contexts import Surroundings
from tests.virtual_time import EPOCH

KEY = ObjectKey(Catalog.KIND, "shop", "germany")
CHILD = ObjectKey(Catalog.KIND, "shop", "child")


class Runs:
    """Reconcile runs with what they are told to answer."""

    def __init__(self) -> None:
        self.at: list[tuple[str, float]] = []
        self.answers: list[Outcome | Exception] = []

    async def __call__(self, key: ObjectKey) -> Outcome:
        self.at.append((key.name, asyncio.get_running_loop().time()))
        answer = self.answers.pop(0) if self.answers else Outcome()
        if isinstance(answer, Exception):
            raise answer
        return answer


async def started(tmp_path: Path) -> tuple[Engine, Runs, asyncio.Task[None]]:
    runs = Runs()
    context = Surroundings(tmp_path).life().context
    engine = Engine(context, runs, lambda key: (CHILD,) if key == KEY else ())
    return engine, runs, asyncio.ensure_future(engine.run())


def catalog(**fields: Any) -> Catalog:
    metadata = {"name": "germany", "namespace": "shop", "uid": "u", "generation": 1, "resourceVersion": "1"}
    entry = {"name": "products", "source": {"http": {"url": "https://shop.example/a.csv"}}}
    return Catalog.from_wire(
        {
            "apiVersion": Catalog.api_version(),
            "kind": "Catalog",
            "metadata": {**metadata, **fields},
            "spec": {"connectionRef": {"name": "acme"}, "name": "ACME", "items": [entry]},
        }
    )


def retry(reason: str = "MetaUnavailable", retry_at: datetime | None = None) -> Fault:
    return Fault(reason, Disposition.RETRY, "m", retry_at=retry_at)


async def test_failures_come_again_ever_later_up_to_a_limit(tmp_path: Path) -> None:
    engine, runs, task = await started(tmp_path)
    runs.answers = [retry() for _ in range(12)]
    engine.queue.mark(KEY)
    await asyncio.sleep(6 * 3600)
    task.cancel()
    times = [at for _, at in runs.at]
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(times) == 13
    for number, pause in enumerate(pauses):
        assert 5 <= pause <= min(5 * 2**number, 1_800) + 0.1


async def test_a_told_time_is_kept(tmp_path: Path) -> None:
    engine, runs, task = await started(tmp_path)
    runs.answers = [retry(retry_at=EPOCH + timedelta(minutes=42))]
    engine.queue.mark(KEY)
    await asyncio.sleep(3600)
    task.cancel()
    assert [at for _, at in runs.at] == pytest.approx([0, 42 * 60], abs=0.1)


async def test_a_told_time_that_is_over_does_not_spin(tmp_path: Path) -> None:
    engine, runs, task = await started(tmp_path)
    runs.answers = [retry(retry_at=EPOCH) for _ in range(5)]
    engine.queue.mark(KEY)
    await asyncio.sleep(100)
    task.cancel()
    assert [at for _, at in runs.at] == pytest.approx([0, 1, 2, 3, 4, 5], abs=0.1)


async def test_a_next_run_in_the_past_does_not_spin(tmp_path: Path) -> None:
    engine, runs, task = await started(tmp_path)
    runs.answers = [Outcome(EPOCH) for _ in range(50)]
    engine.queue.mark(KEY)
    await asyncio.sleep(1)
    task.cancel()
    assert 2 <= len(runs.at) <= 21


async def test_a_defect_of_one_object_does_not_end_the_work_on_others(tmp_path: Path) -> None:
    engine, runs, task = await started(tmp_path)
    runs.answers = [ValueError("a defect"), Outcome()]
    engine.queue.mark(KEY)
    engine.queue.mark(CHILD)
    await asyncio.sleep(1)
    assert [name for name, _ in runs.at] == ["germany", "child"]
    assert not task.done()
    await asyncio.sleep(10)
    assert [name for name, _ in runs.at] == ["germany", "child", "germany"]
    task.cancel()


async def test_a_wake_up_ends_the_back_off(tmp_path: Path) -> None:
    engine, runs, task = await started(tmp_path)
    runs.answers = [retry(retry_at=EPOCH + timedelta(hours=5)), Outcome()]
    engine.queue.mark(KEY)
    await asyncio.sleep(10)
    engine.wake(KEY)
    await asyncio.sleep(1)
    task.cancel()
    assert [name for name, _ in runs.at] == ["germany", "germany", "child"]


WAKES: dict[str, tuple[dict[str, Any], bool]] = {
    "the same again": ({}, False),
    "a status that was written": ({"resourceVersion": "2"}, False),
    "a label": ({"labels": {"a": "b"}}, False),
    "a finalizer": ({"finalizers": [names.FINALIZER]}, False),
    "a new spec": ({"generation": 2}, True),
    "a deletion": ({"deletionTimestamp": "2026-01-05T00:00:00Z"}, True),
    "a request": ({"annotations": {names.ANNOTATION_SYNC_REQUESTED_AT: "1"}}, True),
    "another annotation": ({"annotations": {"a": "b"}}, False),
    "another object of that name": ({"uid": "v"}, True),
}


@pytest.mark.parametrize("case", WAKES)
async def test_what_wakes(tmp_path: Path, case: str) -> None:
    """Our own writes come back as watch events: they must not wake what wrote them."""
    engine, runs, task = await started(tmp_path)
    engine.observed(catalog())
    await asyncio.sleep(1)
    runs.at.clear()
    fields, wakes = WAKES[case]
    engine.observed(catalog(**fields))
    await asyncio.sleep(1)
    task.cancel()
    assert [name for name, _ in runs.at] == (["germany", "child"] if wakes else [])


async def test_what_vanishes_wakes_once(tmp_path: Path) -> None:
    engine, runs, task = await started(tmp_path)
    engine.observed(catalog())
    await asyncio.sleep(1)
    runs.at.clear()
    engine.vanished(KEY)
    engine.vanished(KEY)
    await asyncio.sleep(1)
    task.cancel()
    assert [name for name, _ in runs.at] == ["germany", "child"]
