"""Every kind: from the wire and back, defaults, and what is refused."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from controller.api.conditions import ConditionType
from controller.api.resource import Declared, InvalidResource, ObjectKey, Resource
from controller.api.v1alpha1 import (
    KINDS,
    Catalog,
    CatalogShard,
    DeletionApproval,
    FeedSchedule,
    MetaConnection,
)
from controller.api.v1alpha1.catalog_shard import SlotRange
from controller.api.v1alpha1.meta_connection import GRAPH_VERSION
from controller.api.v1alpha1.sync_operation import Phase
from tests.unit.api.examples import CATALOG, CONTENTS, ENTRY, wire


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)
def test_what_is_read_is_written_back_unchanged(kind: type[Resource]) -> None:
    assert kind.from_wire(wire(kind)).to_wire() == wire(kind)


def test_the_table_has_every_kind() -> None:
    assert set(CONTENTS) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)
def test_every_kind_has_a_key_and_names_of_its_own(kind: type[Resource]) -> None:
    resource = kind.from_wire(wire(kind))
    assert resource.key == ObjectKey(kind.KIND, "shop", "germany")
    assert str(resource.key) == f"{kind.KIND} shop/germany"
    for attribute in ("KIND", "PLURAL", "SHORT_NAME"):
        assert len({getattr(other, attribute) for other in KINDS}) == len(KINDS)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if issubclass(kind, Declared)], ids=lambda kind: kind.KIND)
def test_an_object_without_status_was_not_looked_at(kind: type[Declared[Any, Any]]) -> None:
    resource = kind.from_wire(wire(kind, spec=CONTENTS[kind]["spec"]))
    assert resource.status.observed_generation == -1
    assert not resource.status_is_ours
    assert "status" not in resource.to_wire()


def test_a_copied_status_is_not_ours() -> None:
    catalog = Catalog.from_wire(wire(Catalog))
    assert catalog.status_is_ours
    copied = wire(Catalog)
    copied["metadata"]["uid"] = "u-2"
    assert not Catalog.from_wire(copied).status_is_ours


def test_conditions_are_found_by_type() -> None:
    status = Catalog.from_wire(wire(Catalog)).status
    assert status.is_true(ConditionType.READY)
    assert not status.is_true(ConditionType.STALLED)
    found = status.condition(ConditionType.READY)
    assert found is not None
    assert found.last_transition_time == datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_defaults_are_there_for_whoever_reads_a_spec() -> None:
    spec = Catalog.from_wire(wire(Catalog, spec=CATALOG)).spec
    assert (spec.guards.max_delete_percent, spec.guards.always_allow, spec.guards.max_deletes) == (5, 20, None)
    assert spec.guards.grace_period == timedelta(days=90)
    assert (spec.freshness.full, spec.freshness.items) == (timedelta(hours=24), timedelta(hours=1))
    assert spec.freshness.volatile == timedelta(minutes=15)
    assert spec.items[0].interval == timedelta(minutes=5)
    assert (spec.deletion_policy, spec.deletion_timeout) == ("Orphan", timedelta(hours=1))
    connection = MetaConnection.from_wire(wire(MetaConnection)).spec
    assert connection.graph.graph_version == GRAPH_VERSION
    assert connection.timeout == timedelta(seconds=60)


def test_the_effective_part_of_status_holds_what_was_filled_in_and_nothing_else() -> None:
    filled = Catalog.from_wire(
        wire(Catalog, spec={**CATALOG, "guards": {"gracePeriod": "1h"}, "items": [{**ENTRY, "interval": "1m"}]}),
    ).spec.filled_in()
    assert "connectionRef" not in filled
    assert filled["freshness"] == {"full": "24h", "items": "1h", "volatile": "15m"}
    assert "gracePeriod" not in filled["guards"]
    assert "maxDeletes" not in filled["guards"]
    assert filled["guards"]["maxDeletePercent"] == 5
    (entry,) = filled["items"]
    assert entry["name"] == "products"
    assert entry["format"] == {"type": "Auto", "delimiter": "Auto", "encoding": "Auto", "compression": "Auto"}
    assert entry["mapping"] == {"decimal": "Point"}
    assert entry["variants"] == {"scenario": "Auto"}
    assert not {"interval", "source"} & set(entry)


def test_nothing_is_filled_in_where_everything_was_said() -> None:
    spec = SlotRange.from_wire({"from": 0, "to": 1})
    assert spec.filled_in() == {}
    assert spec.size == 2


@pytest.mark.parametrize(
    ("kind", "spec", "field"),
    [
        (Catalog, {**CATALOG, "nmae": "x"}, "spec.nmae"),
        (Catalog, {**CATALOG, "items": []}, "spec.items"),
        (Catalog, {**CATALOG, "catalogID": 998877}, "spec.catalogID"),
        (Catalog, {**CATALOG, "items": [{**ENTRY, "source": {}}]}, "spec.items[0].source"),
        (Catalog, {**CATALOG, "items": [{**ENTRY, "interval": "3d"}]}, "spec.items[0].interval"),
        (FeedSchedule, {"catalogRef": {"name": "x"}, "method": "ReplaceFeed"}, "spec"),
        (FeedSchedule, {"catalogRef": {"name": "x"}, "method": "UpdateFeed", "interval": "1h"}, "spec.method"),
        (DeletionApproval, {"catalogRef": {"name": "x"}, "digest": "abc", "approvedBy": "me"}, "spec.expiresAt"),
    ],
)
def test_an_object_that_breaks_the_rules_is_refused_by_field(
    kind: type[Resource],
    spec: dict[str, Any],
    field: str,
) -> None:
    with pytest.raises(InvalidResource) as caught:
        kind.from_wire(wire(kind, spec=spec))
    assert any(problem.startswith(f"{field}: ") for problem in caught.value.problems), caught.value
    assert caught.value.key == ObjectKey(kind.KIND, "shop", "germany")


def test_a_value_that_might_be_secret_is_not_repeated() -> None:
    entry = {**ENTRY, "source": {"http": {"url": "https://x", "headers": [{"name": "a", "value": ["hunter2"]}]}}}
    with pytest.raises(InvalidResource) as caught:
        Catalog.from_wire(wire(Catalog, spec={**CATALOG, "items": [entry]}))
    assert "hunter2" not in str(caught.value)


def test_an_object_of_another_kind_is_refused() -> None:
    with pytest.raises(InvalidResource, match="is not a Catalog"):
        Catalog.from_wire(wire(CatalogShard))


def test_unknown_fields_of_metadata_and_status_are_ignored() -> None:
    newer = wire(Catalog)
    newer["metadata"]["managedFields"] = [{"manager": "kubectl"}]
    newer["status"]["forecast"] = {"budget": 90}
    newer["status"]["layout"]["colour"] = "blue"
    assert Catalog.from_wire(newer).to_wire() == wire(Catalog)


def test_times_are_kept_in_utc_and_must_say_their_zone() -> None:
    spec = CONTENTS[DeletionApproval]["spec"]
    east = DeletionApproval.from_wire(wire(DeletionApproval, spec={**spec, "expiresAt": "2030-01-01T02:00:00+02:00"}))
    assert east.spec.expires_at == datetime(2030, 1, 1, tzinfo=timezone(timedelta()))
    assert east.to_wire()["spec"]["expiresAt"] == "2030-01-01T00:00:00Z"
    with pytest.raises(InvalidResource, match=r"spec\.expiresAt"):
        DeletionApproval.from_wire(wire(DeletionApproval, spec={**spec, "expiresAt": "2030-01-01T00:00:00"}))


def test_an_operation_ends_in_one_of_five_ways() -> None:
    assert {phase for phase in Phase if phase.terminal} == {
        "Succeeded",
        "Failed",
        "Superseded",
        "Cancelled",
        "Abandoned",
    }
