"""The record of what Meta has was lost, or is older than what happened: it is made anew, and nothing is deleted."""

import shutil
from datetime import timedelta
from typing import Any

import pytest

from controller.api import names
from controller.api.conditions import ConditionStatus, ConditionType
from controller.api.v1alpha1 import Catalog, CatalogLedger, SyncOperation
from controller.kube import paths
from controller.kube.transport import Json, Request
from tests.simulation.behaviours.stage import Stage
from tests.simulation.world import CATALOG

SOON = timedelta(minutes=5)
SENT = timedelta(minutes=30)
FULL = timedelta(minutes=80)
LISTED = timedelta(minutes=35)
"""A batch that no record shows has its effects within 30 minutes; then Meta is listed."""


def restricted(stage: Stage, reason: str) -> Any:
    return stage.says(ConditionType.SENDING_RESTRICTED, ConditionStatus.TRUE, reason)


def free(stage: Stage) -> bool:
    return stage.condition(ConditionType.SENDING_RESTRICTED) is None


async def put_back(stage: Stage, old: Json) -> None:
    """Restore a ledger from a backup."""
    name = old["metadata"]["name"]
    await stage.delete(CatalogLedger, name, namespace=names.OPERATOR_NAMESPACE)
    metadata = {"name": name, "namespace": names.OPERATOR_NAMESPACE}
    await stage.send(
        Request("POST", paths.collection(CatalogLedger, names.OPERATOR_NAMESPACE), body={**old, "metadata": metadata})
    )


async def test_a_store_that_was_lost_is_made_anew_from_what_meta_lists(stage: Stage) -> None:
    """An id that the source lost meanwhile starts its grace anew; until then only updates are sent."""
    for product in stage.shop.products.values():
        product.quantity = 5
    first = await stage.begin()
    before = set(stage.items_at_meta())
    first.kill()
    shutil.rmtree(stage.directory)
    gone = stage.remove_products(1)
    stage.change_prices()
    stage.launch()
    said = await stage.until(restricted(stage, "SnapshotLost"), SOON)
    assert "nothing is deleted" in said.message
    lost_at = stage.now()
    await stage.until(lambda: not [one for one in stage.differences() if "price" in one], SENT, "prices")
    assert stage.ready()
    await stage.rest(hours=5)
    assert set(stage.items_at_meta()) == before
    assert not free(stage)
    await stage.until(lambda: free(stage), timedelta(hours=2))
    assert stage.now() - lost_at >= timedelta(hours=6)
    await stage.until(lambda: gone[0] not in stage.items_at_meta(), FULL + FULL)
    await stage.until(stage.in_step, FULL)
    await stage.safe()


async def test_a_store_of_somebody_else_is_not_believed(stage: Stage) -> None:
    first = await stage.begin()
    first.kill()
    shutil.rmtree(stage.directory)
    stage.world.store.claim_identity("somebody-elses")
    stage.change_prices()
    stage.launch()
    await stage.until(restricted(stage, "SnapshotLost"), SOON)
    await stage.until(lambda: not [one for one in stage.differences() if "price is" in one], SENT, "prices")
    assert len(stage.items_at_meta()) == len(stage.shop.products)
    await stage.safe()


async def test_a_store_that_is_lost_with_something_in_flight(stage: Stage) -> None:
    """What was sent can't be told any more: its rows are unknown, and nothing waits for ever."""
    stage.plan.switches.upload_base_seconds = 600
    await stage.populate()
    first = stage.launch()
    await stage.until(lambda: any(one.path.endswith("/uploads") for one in stage.writes()), SOON)
    first.kill()
    shutil.rmtree(stage.directory)
    stage.launch()
    await stage.until(lambda: not stage.in_flight(), timedelta(minutes=40))
    await stage.until(stage.ready, LISTED + FULL)
    await stage.until(stage.in_step, FULL)
    await stage.safe()


async def test_a_volume_that_was_not_mounted_for_a_while(stage: Stage) -> None:
    """The operator runs on: nothing is changed meanwhile, and all is well when the volume is back."""
    await stage.begin()
    before = stage.items_at_meta()
    away = stage.directory.with_name("away")
    stage.directory.rename(away)
    stage.change_prices()
    await stage.rest(hours=1)
    assert stage.items_at_meta() == before
    assert stage.ready()
    shutil.rmtree(stage.directory, ignore_errors=True)
    away.rename(stage.directory)
    await stage.until(stage.in_step, FULL)
    await stage.safe()


@pytest.mark.parametrize("lives", [1, 2], ids=["of the same life", "of an earlier life"])
async def test_a_ledger_that_is_older_than_the_store(stage: Stage, lives: int) -> None:
    """Prices went up and came back after the backup: the old record says that nothing differs, and Meta does."""
    process = await stage.begin()
    old = stage.world.server.all(CatalogLedger)[0]
    first = {item: product.price_cents for item, product in stage.shop.products.items()}
    for _ in range(lives - 1):
        process.kill()
        process = stage.launch()
        await stage.rest(minutes=1)
    stage.change_prices()
    await stage.until(stage.in_step, SENT)
    process.kill()
    await put_back(stage, old)
    for item, price in first.items():
        stage.shop.products[item].price_cents = price
    stage.shop_changes()
    stage.launch()
    said = await stage.until(restricted(stage, "RolledBack"), SOON)
    assert "delete nothing" in said.message
    assert stage.ready(), "data never makes Ready False"
    await stage.until(lambda: free(stage), LISTED + FULL)
    await stage.until(stage.in_step, FULL)
    await stage.safe()


async def test_a_restart_of_a_healthy_world_restricts_nothing(stage: Stage) -> None:
    for _ in range(3):
        process = await stage.begin() if not stage.world.processes else stage.launch()
        stage.change_prices()
        await stage.until(stage.in_step, SENT)
        await stage.rest(minutes=2)
        assert free(stage)
        process.kill()
        await stage.rest(seconds=20)
    stage.launch()
    await stage.rest(minutes=5)
    assert free(stage)
    assert not stage.ledger().rolled_back


async def test_a_cluster_that_is_rebuilt_from_git_finds_its_feeds_and_deletes_nothing(stage: Stage) -> None:
    """No ledger, no store: what the feeds hold is listed before anything could leave."""
    await stage.begin()
    catalog_id = str(stage.catalogs_at_meta()[0])
    feeds = stage.feeds_at_meta()
    stage.world.processes[0].kill()
    await stage.delete(Catalog, CATALOG)
    await stage.patch(Catalog, CATALOG, {"metadata": {"finalizers": None}})
    for operation in stage.all(SyncOperation):
        await stage.patch(SyncOperation, operation.name, {"metadata": {"finalizers": None}})
    for ledger in stage.all(CatalogLedger):
        await stage.delete(CatalogLedger, ledger.name, namespace=names.OPERATOR_NAMESPACE)
    shutil.rmtree(stage.directory)
    gone = stage.remove_products(4)
    await stage.catalog(catalogID=catalog_id)
    stage.launch()
    await stage.until(stage.ready, LISTED + FULL)
    assert stage.feeds_at_meta() == feeds
    await stage.rest(hours=4)
    assert set(gone) <= set(stage.items_at_meta()), "a third of the rows is gone: that is for a person to decide"
    said = stage.condition(ConditionType.DELETIONS_HELD)
    assert said is not None
    assert "4 of 12 items" in said.message
    await stage.safe()
