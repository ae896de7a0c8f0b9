"""The rules of deletion: nothing hangs, `Orphan` touches nothing at Meta, `Delete` removes what we created."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from controller.api import names
from controller.api.conditions import ConditionStatus, ConditionType
from controller.api.v1alpha1 import (
    Catalog,
    CatalogLedger,
    CatalogShard,
    DeletionApproval,
    FeedSchedule,
    MetaConnection,
    SyncOperation,
)
from tests.simulation.behaviours.stage import CONNECTION, Stage
from tests.simulation.world import CATALOG, NAMESPACE

SOON = timedelta(minutes=2)
SHARD = f"{CATALOG}-1-0"
SCHEDULE = f"{CATALOG}-replace"
OURS = (MetaConnection, Catalog, CatalogShard, FeedSchedule, SyncOperation, DeletionApproval)


def left(stage: Stage) -> list[str]:
    return [
        f"{kind.KIND} {wire['metadata']['name']}"
        for kind in OURS
        for wire in stage.world.server.all(kind)
        if wire["metadata"]["namespace"] == NAMESPACE
    ]


def children_gone(stage: Stage) -> bool:
    return not any(one.startswith(("CatalogShard", "FeedSchedule", "SyncOperation")) for one in left(stage))


async def _nothing(_stage: Stage) -> None:
    """Everything works."""


async def _meta_down(stage: Stage) -> None:
    stage.arm("connect_refused", probability=1.0)


async def _no_credentials(stage: Stage) -> None:
    await stage.delete_secret()
    await stage.until(
        stage.says(ConditionType.READY, ConditionStatus.FALSE, "SecretMissing", kind=MetaConnection, of=CONNECTION),
        timedelta(minutes=3),
    )


TROUBLE: dict[str, Callable[[Stage], Awaitable[None]]] = {
    "everything works": _nothing,
    "Meta is down": _meta_down,
    "no credentials": _no_credentials,
}


# Orphan


@pytest.mark.parametrize("trouble", TROUBLE)
async def test_orphan_leaves_meta_untouched_and_needs_nobody(stage: Stage, trouble: str) -> None:
    await stage.begin()
    before = (stage.catalogs_at_meta(), stage.feeds_at_meta(), stage.items_at_meta())
    await TROUBLE[trouble](stage)
    sent = len(stage.writes())
    await stage.delete(Catalog, CATALOG)
    await stage.until(stage.gone(Catalog, CATALOG), SOON)
    await stage.until(lambda: children_gone(stage), SOON)
    await stage.rest(hours=2)
    assert (stage.catalogs_at_meta(), stage.feeds_at_meta(), stage.items_at_meta()) == before
    assert len(stage.writes()) == sent
    assert stage.events("OrphanedAtMeta") == [], "that is what was asked for"
    await stage.safe()


async def test_a_new_catalog_takes_over_what_an_orphan_left(stage: Stage) -> None:
    await stage.begin()
    catalog_id = str(stage.catalogs_at_meta()[0])
    feeds = stage.feeds_at_meta()
    await stage.delete(Catalog, CATALOG)
    await stage.until(stage.gone(Catalog, CATALOG), SOON)
    stage.change_prices()
    await stage.catalog(catalogID=catalog_id)
    await stage.until(stage.ready, timedelta(minutes=20))
    await stage.until(stage.in_step, timedelta(hours=2))
    assert stage.feeds_at_meta() == feeds, "the feed was found by its marker"
    assert [str(one) for one in stage.catalogs_at_meta()] == [catalog_id]
    await stage.safe()


# Delete


async def test_delete_removes_what_we_created(stage: Stage) -> None:
    await stage.begin(deletionPolicy="Delete")
    assert len(stage.catalogs_at_meta()) == 1
    await stage.delete(Catalog, CATALOG)
    await stage.until(stage.gone(Catalog, CATALOG), SOON)
    assert stage.catalogs_at_meta() == []
    await stage.until(lambda: children_gone(stage), SOON)
    assert stage.all(CatalogLedger) == [], "it stands for nothing any more"
    await stage.delete(MetaConnection, CONNECTION)
    await stage.until(lambda: left(stage) == [], SOON)


async def test_delete_of_an_adopted_catalog_removes_only_our_feeds(stage: Stage) -> None:
    catalog_id = await stage.make_catalog_at_meta("Made by people")
    feed = await stage.ask_meta("POST", f"{catalog_id}/product_feeds", name="Made by people")
    await stage.begin(catalogID=catalog_id, deletionPolicy="Delete")
    assert len(stage.feeds_at_meta()) == 2
    await stage.delete(Catalog, CATALOG)
    await stage.until(stage.gone(Catalog, CATALOG), SOON)
    assert [str(one) for one in stage.catalogs_at_meta()] == [catalog_id]
    assert [str(one) for one in stage.feeds_at_meta()] == [feed["id"]]


@pytest.mark.parametrize("trouble", ["Meta is down", "no credentials"])
async def test_delete_waits_for_a_time_then_lets_go_and_says_so(stage: Stage, trouble: str) -> None:
    await stage.begin(deletionPolicy="Delete", deletionTimeout="30m")
    catalog_id = str(stage.catalogs_at_meta()[0])
    await TROUBLE[trouble](stage)
    await stage.delete(Catalog, CATALOG)
    said = await stage.until(stage.says(ConditionType.READY, ConditionStatus.FALSE, "Deleting"), SOON)
    assert "it can't be deleted at Meta" in said.message
    assert "left there from" in said.message
    await stage.rest(minutes=25)
    assert stage.find(Catalog, CATALOG) is not None
    await stage.until(stage.gone(Catalog, CATALOG), timedelta(minutes=8))
    await stage.until(lambda: stage.events("OrphanedAtMeta"), SOON)
    event = stage.events("OrphanedAtMeta")[0]
    assert event["type"] == "Warning"
    assert catalog_id in event["note"]
    assert event["regarding"]["kind"] == "Catalog"
    assert [str(one) for one in stage.catalogs_at_meta()] == [catalog_id]


@pytest.mark.parametrize("trouble", ["Meta is down", "no credentials"])
async def test_delete_goes_on_when_the_trouble_ends_in_time(stage: Stage, trouble: str) -> None:
    await stage.begin(deletionPolicy="Delete")
    await TROUBLE[trouble](stage)
    await stage.delete(Catalog, CATALOG)
    await stage.rest(minutes=20)
    stage.disarm()
    await stage.secret()
    await stage.until(stage.gone(Catalog, CATALOG), timedelta(minutes=5))
    assert stage.catalogs_at_meta() == []
    assert stage.events("OrphanedAtMeta") == []


async def test_a_policy_that_is_changed_while_it_waits_takes_effect_at_once(stage: Stage) -> None:
    await stage.begin(deletionPolicy="Delete", deletionTimeout="12h")
    await _no_credentials(stage)
    await stage.delete(Catalog, CATALOG)
    await stage.rest(minutes=2)
    await stage.change(deletionPolicy="Orphan")
    await stage.until(stage.gone(Catalog, CATALOG), timedelta(seconds=15))


async def test_suspend_never_blocks_deletion(stage: Stage) -> None:
    await stage.begin(deletionPolicy="Delete")
    await stage.change(suspend=True)
    await stage.rest(minutes=2)
    await stage.delete(Catalog, CATALOG)
    await stage.until(stage.gone(Catalog, CATALOG), SOON)
    assert stage.catalogs_at_meta() == []


async def test_a_catalog_that_never_came_to_exist_is_gone_at_once(stage: Stage) -> None:
    await stage.catalog(deletionPolicy="Delete")
    stage.launch()
    await stage.rest(minutes=2)
    await stage.delete(Catalog, CATALOG)
    await stage.until(stage.gone(Catalog, CATALOG), SOON)


# In flight


async def _in_flight(stage: Stage, **spec: str) -> None:
    """An upload was taken by Meta and is not finished."""
    stage.plan.switches.upload_base_seconds = 900
    await stage.populate(**spec)
    stage.launch()
    await stage.until(
        lambda: any(one.path.endswith("/uploads") and one.method == "POST" for one in stage.requests()), SOON
    )
    await stage.rest(seconds=5)


async def test_orphan_is_gone_at_once_and_what_is_in_flight_is_followed(stage: Stage) -> None:
    await _in_flight(stage)
    await stage.delete(Catalog, CATALOG)
    await stage.until(stage.gone(Catalog, CATALOG), SOON)
    await stage.until(lambda: children_gone(stage), SOON)
    assert stage.in_flight(), "the ledger remembers it"
    await stage.until(lambda: not stage.in_flight(), timedelta(minutes=40))
    partition = stage.ledger().partitions[0]
    assert partition.last_full_at is not None, "its end was read, not guessed"
    assert partition.snapshot is not None
    await stage.safe()


async def test_delete_waits_for_what_is_in_flight(stage: Stage) -> None:
    await _in_flight(stage, deletionPolicy="Delete")
    stage.shop_changes(removed=sorted(stage.shop.products))
    await stage.delete(Catalog, CATALOG)
    said = await stage.until(stage.says(ConditionType.READY, ConditionStatus.FALSE, "Deleting"), SOON)
    assert "in flight" in said.message
    await stage.rest(minutes=5)
    assert len(stage.catalogs_at_meta()) == 1
    await stage.until(stage.gone(Catalog, CATALOG), timedelta(minutes=40))
    assert stage.catalogs_at_meta() == []
    await stage.until(lambda: children_gone(stage), SOON)
    await stage.safe()


async def test_a_deleted_operation_is_followed_to_its_end(stage: Stage) -> None:
    await _in_flight(stage)
    operation = stage.all(SyncOperation)[0]
    await stage.delete(SyncOperation, operation.name)
    await stage.rest(minutes=5)
    assert stage.find(SyncOperation, operation.name) is not None, "its finalizer stays until the end"
    await stage.until(stage.gone(SyncOperation, operation.name), timedelta(minutes=40))
    assert not stage.in_flight()
    await stage.until(stage.in_step, timedelta(hours=1))
    uploads = [one for one in stage.writes() if one.path.endswith("/uploads")]
    assert len(uploads) == 1
    await stage.safe()


async def test_what_nobody_can_ask_about_is_given_up_after_a_day(stage: Stage) -> None:
    """Catalog and connection are gone: no credentials are left to follow with."""
    await _in_flight(stage)
    await stage.delete(Catalog, CATALOG)
    await stage.delete(MetaConnection, CONNECTION)
    await stage.delete_secret()
    await stage.until(lambda: left(stage) == [], SOON)
    assert stage.in_flight()
    await stage.rest(hours=23)
    assert stage.in_flight()
    await stage.until(lambda: not stage.in_flight(), timedelta(hours=2))
    ledger = stage.ledger()
    assert ledger.rolled_back, "what Meta holds is not known any more"
    assert ledger.intents == ()
    await stage.safe()


# One of each kind, once


async def test_a_connection_stays_while_catalogs_need_it(stage: Stage) -> None:
    await stage.begin(deletionPolicy="Delete")
    await stage.delete(MetaConnection, CONNECTION)
    said = await stage.until(
        stage.says(ConditionType.READY, ConditionStatus.FALSE, "DeletionBlocked", kind=MetaConnection, of=CONNECTION),
        SOON,
    )
    assert CATALOG in said.message
    assert "delete them or change their connectionRef" in said.message
    stage.change_prices()
    await stage.until(stage.in_step, timedelta(minutes=16))
    await stage.delete(Catalog, CATALOG)
    await stage.until(lambda: left(stage) == [], SOON)
    assert stage.catalogs_at_meta() == []


async def test_a_connection_goes_when_the_catalog_takes_another_one(stage: Stage) -> None:
    await stage.begin()
    await stage.connection("second")
    await stage.rest(minutes=2)
    await stage.delete(MetaConnection, CONNECTION)
    await stage.rest(minutes=2)
    assert stage.find(MetaConnection, CONNECTION) is not None
    await stage.change(connectionRef={"name": "second"})
    await stage.until(stage.gone(MetaConnection, CONNECTION), SOON)
    stage.change_prices()
    await stage.until(stage.in_step, timedelta(minutes=16))
    assert len(stage.catalogs_at_meta()) == 1
    await stage.safe()


async def test_a_deleted_shard_returns_and_finds_its_feed(stage: Stage) -> None:
    await stage.begin()
    feeds, items = stage.feeds_at_meta(), stage.items_at_meta()
    first = stage.require(CatalogShard, SHARD)
    await stage.delete(CatalogShard, SHARD)
    await stage.until(
        lambda: (found := stage.find(CatalogShard, SHARD)) is not None and found.uid != first.uid, timedelta(seconds=30)
    )
    await stage.until(lambda: stage.require(CatalogShard, SHARD).status.feed_id == str(feeds[0]), SOON)
    assert stage.feeds_at_meta() == feeds
    assert stage.items_at_meta() == items
    stage.change_prices()
    await stage.until(stage.in_step, timedelta(minutes=16))
    await stage.safe()


async def test_a_shard_that_is_deleted_before_its_feed_was_known_finds_it(stage: Stage) -> None:
    """The answer to the creation is lost, and the object with the note of intent goes: still only one feed."""
    stage.arm("drop_after", method="POST", path="product_feeds")
    await stage.populate()
    stage.launch()
    await stage.until(stage.feeds_at_meta, SOON)
    await stage.rest(seconds=2)
    await stage.delete(CatalogShard, SHARD)
    await stage.until(stage.ready, timedelta(minutes=20))
    assert len(stage.feeds_at_meta()) == 1
    await stage.safe()


async def test_a_deleted_derived_schedule_returns(stage: Stage) -> None:
    await stage.begin()
    first = stage.require(FeedSchedule, SCHEDULE)
    await stage.delete(FeedSchedule, SCHEDULE)
    await stage.until(
        lambda: (found := stage.find(FeedSchedule, SCHEDULE)) is not None and found.uid != first.uid, SOON
    )


async def test_a_deleted_approval_is_just_gone(stage: Stage) -> None:
    await stage.begin()
    await stage.approval("sha256:" + "0" * 64)
    await stage.rest(minutes=1)
    await stage.delete(DeletionApproval, "yes")
    await stage.until(stage.gone(DeletionApproval, "yes"), timedelta(seconds=10))


async def test_a_deleted_ledger_is_a_cold_start(stage: Stage) -> None:
    await stage.begin()
    feeds = stage.feeds_at_meta()
    ledger = stage.all(CatalogLedger)[0]
    await stage.delete(CatalogLedger, ledger.name, namespace=names.OPERATOR_NAMESPACE)
    stage.change_prices()
    await stage.until(lambda: stage.all(CatalogLedger), timedelta(minutes=35))
    await stage.until(stage.in_step, timedelta(hours=3))
    assert stage.feeds_at_meta() == feeds
    assert stage.ledger().epoch > ledger.ledger.epoch
    await stage.safe()


async def test_a_hand_written_schedule_outlives_its_catalog_and_says_so(stage: Stage) -> None:
    await stage.begin()
    catalog_id = str(stage.catalogs_at_meta()[0])
    spec = {"catalogRef": {"name": CATALOG}, "method": "ReplaceFeed", "interval": "2h"}
    await stage.create(FeedSchedule, "mine", spec)
    await stage.until(stage.gone(FeedSchedule, SCHEDULE), SOON, "the derived schedule makes room")
    await stage.delete(Catalog, CATALOG)
    await stage.until(stage.gone(Catalog, CATALOG), SOON)
    said = await stage.until(
        stage.says(ConditionType.READY, ConditionStatus.FALSE, "CatalogNotFound", kind=FeedSchedule, of="mine"), SOON
    )
    assert CATALOG in said.message
    assert "make it or delete this schedule" in said.message
    await stage.catalog(catalogID=catalog_id)
    await stage.until(
        stage.says(ConditionType.READY, ConditionStatus.TRUE, "Available", kind=FeedSchedule, of="mine"), SOON
    )
    await stage.delete(FeedSchedule, "mine")
    await stage.until(lambda: stage.find(FeedSchedule, SCHEDULE), SOON, "the derived schedule returns")


# The whole namespace, Secret first


@pytest.mark.parametrize("policy", ["Orphan", "Delete"])
@pytest.mark.parametrize("busy", [False, True], ids=["quiet", "in flight"])
async def test_a_namespace_goes_with_everything_in_it(stage: Stage, policy: str, *, busy: bool) -> None:
    if busy:
        await _in_flight(stage, deletionPolicy=policy)
    else:
        await stage.begin(deletionPolicy=policy)
    catalog_id = str(stage.catalogs_at_meta()[0])
    await stage.delete_secret()
    await stage.rest(minutes=3)
    stage.world.server.delete_namespace(NAMESPACE)
    await stage.until(lambda: stage.world.server.peek("Namespace", "", NAMESPACE) is None, timedelta(minutes=5))
    assert left(stage) == []
    assert [str(one) for one in stage.catalogs_at_meta()] == [catalog_id]
    if policy == "Delete":
        await stage.until(lambda: stage.events("OrphanedAtMeta"), SOON)
        event = stage.events("OrphanedAtMeta")[0]
        assert event["regarding"]["kind"] == "CatalogLedger", "no Event can be made in a namespace that is going"
        assert catalog_id in event["note"]
    assert stage.in_flight() == busy
    await stage.safe()


async def test_a_namespace_that_goes_with_its_secret_at_once(stage: Stage) -> None:
    """The token is still known to the process: Delete removes the catalog, or says what it left."""
    await stage.begin(deletionPolicy="Delete")
    stage.world.server.delete_namespace(NAMESPACE)
    await stage.until(lambda: stage.world.server.peek("Namespace", "", NAMESPACE) is None, timedelta(minutes=5))
    assert stage.catalogs_at_meta() == [] or stage.events("OrphanedAtMeta")


# Nobody was there


@pytest.mark.parametrize("policy", ["Orphan", "Delete"])
async def test_deleted_while_no_operator_was_running(stage: Stage, policy: str) -> None:
    first = await stage.begin(deletionPolicy=policy)
    first.kill()
    await stage.delete(Catalog, CATALOG)
    await stage.rest(hours=1)
    assert stage.find(Catalog, CATALOG) is not None
    stage.launch()
    await stage.until(stage.gone(Catalog, CATALOG), timedelta(minutes=3))
    await stage.until(lambda: children_gone(stage), SOON)
    assert (stage.catalogs_at_meta() == []) == (policy == "Delete")
