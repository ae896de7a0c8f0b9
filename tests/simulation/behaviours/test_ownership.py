"""One catalog at Meta has one owner here, and nothing is ever created twice."""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from controller.api import names
from controller.api.conditions import Condition, ConditionStatus, ConditionType
from controller.api.v1alpha1 import Catalog, CatalogLedger, CatalogShard, FeedSchedule
from controller.kube import paths
from controller.kube.transport import Request
from tests.simulation.behaviours.stage import Stage
from tests.simulation.world import CATALOG, NAMESPACE

SOON = timedelta(minutes=3)
HEALED = timedelta(minutes=40)
INSTALLATION = "abcdef0123"
OTHER = "other"


def not_ready(stage: Stage, reason: str, **of: Any) -> Callable[[], Condition | None]:
    return stage.says(ConditionType.READY, ConditionStatus.FALSE, reason, **of)


async def second_catalog(stage: Stage, name: str, catalog_id: str) -> None:
    stage.world.server.create_namespace(OTHER)
    await stage.secret(namespace=OTHER)
    await stage.connection(namespace=OTHER)
    await stage.catalog(name, namespace=OTHER, catalogID=catalog_id)


async def install(stage: Stage, installation: str = INSTALLATION) -> None:
    """Make the ConfigMap beforehand: the documented way for a cluster that is rebuilt from Git."""
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": names.INSTALLATION_CONFIG_MAP, "namespace": names.OPERATOR_NAMESPACE},
        "data": {"id": installation},
    }
    await stage.send(Request("POST", paths.config_maps(names.OPERATOR_NAMESPACE), body=body))


async def ledger_of(stage: Stage, catalog_id: str, **content: object) -> None:
    """Write a ledger as somebody else left it."""
    body = {
        "apiVersion": CatalogLedger.api_version(),
        "kind": CatalogLedger.KIND,
        "metadata": {"name": f"catalog-{catalog_id}", "namespace": names.OPERATOR_NAMESPACE},
        "ledger": content,
    }
    await stage.send(Request("POST", paths.collection(CatalogLedger, names.OPERATOR_NAMESPACE), body=body))


# Two Catalogs, one catalog


async def test_the_holder_works_and_the_other_one_says_who_holds_it(stage: Stage) -> None:
    await stage.begin()
    catalog_id = str(stage.catalogs_at_meta()[0])
    await second_catalog(stage, "austria", catalog_id)
    said = await stage.until(not_ready(stage, "OwnershipConflict", of="austria", namespace=OTHER), SOON)
    assert f"{NAMESPACE}/{CATALOG}" in said.message
    assert catalog_id in said.message
    assert stage.condition(ConditionType.STALLED, of="austria", namespace=OTHER) is not None
    stage.change_prices()
    await stage.until(stage.in_step, timedelta(minutes=16))
    assert stage.ready()
    assert len(stage.feeds_at_meta()) == 1
    assert [one.namespace for one in stage.all(CatalogShard)] == [NAMESPACE]
    await stage.safe()


async def test_the_other_one_takes_over_when_the_holder_is_gone(stage: Stage) -> None:
    await stage.begin()
    catalog_id = str(stage.catalogs_at_meta()[0])
    feeds = stage.feeds_at_meta()
    await second_catalog(stage, "austria", catalog_id)
    await stage.until(not_ready(stage, "OwnershipConflict", of="austria", namespace=OTHER), SOON)
    epoch = stage.ledger().epoch
    await stage.delete(Catalog, CATALOG)
    await stage.until(lambda: stage.ready("austria", OTHER), timedelta(minutes=35))
    ledger = stage.ledger()
    assert ledger.owner is not None
    assert (ledger.owner.namespace, ledger.owner.name) == (OTHER, "austria")
    assert ledger.epoch > epoch
    assert stage.feeds_at_meta() == feeds
    assert [(one.namespace, one.name) for one in stage.all(CatalogShard)] == [(OTHER, "austria-1-0")]
    stage.change_prices()
    await stage.until(stage.in_step, timedelta(minutes=16))
    await stage.safe()


async def test_a_take_over_follows_what_the_last_holder_had_in_flight(stage: Stage) -> None:
    stage.plan.switches.upload_base_seconds = 600
    catalog_id = await stage.make_catalog_at_meta("Made by people")
    await stage.populate(catalogID=catalog_id)
    stage.launch()
    await stage.until(stage.in_flight, SOON)
    await second_catalog(stage, "austria", catalog_id)
    await stage.until(lambda: any(one.path.endswith("/uploads") for one in stage.writes()), SOON)
    await stage.delete(Catalog, CATALOG)
    await stage.until(stage.gone(Catalog, CATALOG), SOON)
    await stage.until(lambda: stage.ready("austria", OTHER), timedelta(minutes=45))
    await stage.until(stage.in_step, HEALED)
    assert len([one for one in stage.writes() if one.path.endswith("/uploads")]) == 1
    await stage.safe()


async def test_with_no_holder_the_older_one_takes_it(stage: Stage) -> None:
    catalog_id = await stage.make_catalog_at_meta("Made by people")
    await stage.populate(catalogID=catalog_id)
    await stage.rest(seconds=10)
    await second_catalog(stage, "austria", catalog_id)
    stage.launch()
    await stage.until(stage.ready, HEALED)
    await stage.until(not_ready(stage, "OwnershipConflict", of="austria", namespace=OTHER), SOON)
    await stage.safe()


# Somebody else's


async def test_a_ledger_of_another_installation_stops_all_writes(stage: Stage) -> None:
    catalog_id = await stage.make_catalog_at_meta("Made by people")
    owner = {"installation": "somebody", "namespace": "a", "name": "b", "uid": "c"}
    await ledger_of(stage, catalog_id, owner=owner, epoch=7)
    await stage.populate(catalogID=catalog_id)
    sent = len(stage.writes())
    stage.launch()
    said = await stage.until(not_ready(stage, "ForeignOperator"), SOON)
    assert "somebody" in said.message
    await stage.rest(hours=1)
    assert len(stage.writes()) == sent
    ledger = stage.ledger()
    assert ledger.owner is not None
    assert ledger.owner.installation == "somebody"


async def test_a_feed_of_another_installation_stops_all_writes(stage: Stage) -> None:
    catalog_id = await stage.make_catalog_at_meta("Made by people")
    await stage.ask_meta("POST", f"{catalog_id}/product_feeds", name="metacatalog/somebody/1-1-0")
    await stage.rest(minutes=2)
    await stage.populate(catalogID=catalog_id)
    stage.launch()
    said = await stage.until(not_ready(stage, "ForeignOperator", kind=CatalogShard, of=f"{CATALOG}-1-0"), SOON)
    assert "somebody" in said.message
    await stage.rest(hours=1)
    assert len(stage.feeds_at_meta()) == 1
    assert stage.items_at_meta() == {}


async def test_another_endpoint_stops_all_writes(stage: Stage) -> None:
    catalog_id = await stage.make_catalog_at_meta("Made by people")
    await install(stage)
    await ledger_of(stage, catalog_id, epoch=3, endpoints=["https://graph.facebook.com"])
    await stage.populate(catalogID=catalog_id)
    sent = len(stage.writes())
    stage.launch()
    said = await stage.until(not_ready(stage, "ForeignEndpoint"), SOON)
    for word in ("https://graph.facebook.com", "http://127.0.0.1:1", "--endpoint"):
        assert word in said.message
    await stage.rest(hours=1)
    assert len(stage.writes()) == sent


async def test_a_child_of_that_name_that_is_not_ours_is_never_adopted(stage: Stage) -> None:
    spec = {"catalogRef": {"name": CATALOG}, "method": "ReplaceFeed", "interval": "2h", "shards": ["nothing"]}
    await stage.create(FeedSchedule, f"{CATALOG}-replace", spec)
    await stage.populate()
    stage.launch()
    said = await stage.until(not_ready(stage, "ChildNameConflict"), SOON)
    assert f"{CATALOG}-replace" in said.message
    assert "rename or delete it" in said.message
    await stage.delete(FeedSchedule, f"{CATALOG}-replace")
    await stage.until(stage.ready, HEALED)


# Existing catalogs


async def test_a_catalog_is_adopted_by_its_id(stage: Stage) -> None:
    catalog_id = await stage.make_catalog_at_meta("Made by people")
    await stage.begin(catalogID=catalog_id)
    assert [str(one) for one in stage.catalogs_at_meta()] == [catalog_id]
    assert stage.require_catalog().status.catalog_id == catalog_id
    assert (await stage.ask_meta("GET", catalog_id, fields="name"))["name"] == "ACME Germany"


async def test_a_catalog_is_adopted_by_its_name_where_that_is_allowed(stage: Stage) -> None:
    catalog_id = await stage.make_catalog_at_meta("ACME Germany")
    await stage.rest(minutes=2)
    await stage.begin(adoptionPolicy="IfNameMatches")
    assert [str(one) for one in stage.catalogs_at_meta()] == [catalog_id]


async def test_a_catalog_of_the_same_name_is_not_touched_otherwise(stage: Stage) -> None:
    catalog_id = await stage.make_catalog_at_meta("ACME Germany")
    await stage.rest(minutes=2)
    await stage.begin()
    assert len(stage.catalogs_at_meta()) == 2
    assert stage.require_catalog().status.catalog_id != catalog_id


async def test_an_id_that_is_not_visible_is_never_created(stage: Stage) -> None:
    await stage.populate(catalogID="999999999999")
    stage.launch()
    said = await stage.until(not_ready(stage, "NotVisible"), SOON)
    assert "999999999999" in said.message
    assert stage.condition(ConditionType.STALLED) is not None
    await stage.rest(hours=2)
    assert stage.catalogs_at_meta() == []


async def test_two_that_could_be_ours_wait_for_a_person(stage: Stage) -> None:
    await install(stage)
    await stage.populate()
    uid = stage.require_catalog().uid
    nonce = "metacatalog-" + hashlib.sha256(f"{INSTALLATION}{uid}".encode()).hexdigest()[:10]
    first = await stage.make_catalog_at_meta(nonce)
    second = await stage.make_catalog_at_meta(nonce)
    await stage.rest(minutes=2)
    stage.launch()
    said = await stage.until(not_ready(stage, "AmbiguousCreate"), SOON)
    for word in (first, second, "spec.catalogID"):
        assert word in said.message
    await stage.change(catalogID=second)
    await stage.until(stage.ready, HEALED)
    assert len(stage.catalogs_at_meta()) == 2


# Lost answers

LOST: dict[str, dict[str, Any]] = {
    "after": {"kind": "drop_after"},
    "before": {"kind": "drop_before"},
    "half": {"kind": "half_answer"},
    "502 but done": {"kind": "http_error", "accepted": True},
    "code 2 but done": {"kind": "graph_error", "code": 2, "accepted": True},
    "late": {"kind": "latency", "seconds": 90, "phase": "answer"},
}


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("what", ["owned_product_catalogs", "product_feeds"])
async def test_a_lost_answer_never_makes_a_second_one(stage: Stage, what: str, lost: str) -> None:
    stage.arm(**LOST[lost], method="POST", path=what)
    await stage.populate()
    stage.launch()
    await stage.until(stage.ready, HEALED)
    assert len(stage.catalogs_at_meta()) == 1
    assert len(stage.feeds_at_meta()) == 1
    catalog = stage.require_catalog()
    assert catalog.status.pending_create is None
    assert stage.require(CatalogShard, f"{CATALOG}-1-0").status.pending_create is None
    await stage.until(stage.in_step, HEALED)
    await stage.safe()


@pytest.mark.parametrize("what", ["owned_product_catalogs", "product_feeds"])
async def test_a_crash_after_a_lost_answer_never_makes_a_second_one(stage: Stage, what: str) -> None:
    stage.arm("drop_after", method="POST", path=what)
    await stage.populate()
    first = stage.launch()
    await stage.until(lambda: any(one.path.endswith(what) and one.method == "POST" for one in stage.requests()), SOON)
    first.kill()
    stage.launch()
    await stage.until(stage.ready, HEALED)
    assert len(stage.catalogs_at_meta()) == 1
    assert len(stage.feeds_at_meta()) == 1
    await stage.safe()


async def test_a_status_that_is_lost_is_found_again_by_the_nonce(stage: Stage) -> None:
    """The answer comes, but the process dies before it can write the id down."""
    await stage.populate()
    first = stage.launch()
    await stage.until(stage.catalogs_at_meta, SOON)
    first.kill()
    await stage.rest(minutes=2)
    stage.launch()
    await stage.until(stage.ready, HEALED)
    assert len(stage.catalogs_at_meta()) == 1
    await stage.safe()
