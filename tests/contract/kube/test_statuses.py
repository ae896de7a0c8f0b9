"""Server-side apply of a status: whole, ours, and nothing but the status."""

import asyncio

import pytest

from controller.api.v1alpha1 import MetaConnection
from controller.api.v1alpha1.meta_connection import MetaConnectionStatus
from controller.kube import paths
from controller.kube.transport import ContentType, Json, Request
from tests.contract.kube.objects import condition, connection, key
from tests.contract.kube.worlds import World

OTHER_UID = "00000000-0000-4000-8000-000000000000"


async def apply(world: World, uid: str, status: Json) -> MetaConnection | None:
    return await world.cluster().apply_status(
        MetaConnection, key(world.namespace), uid, MetaConnectionStatus.from_wire(status)
    )


async def test_a_status_changes_the_status_alone(world: World) -> None:
    made = await world.cluster().create(connection(world.namespace))
    applied = await apply(world, made.uid, {"observedGeneration": 1, "appID": "1"})
    assert applied is not None
    assert (applied.status.observed_generation, applied.status.app_id) == (1, "1")
    assert applied.metadata.generation == 1
    assert applied.spec == made.spec


async def test_what_stands_beside_the_status_is_ignored(world: World) -> None:
    made = await world.cluster().create(connection(world.namespace))
    body = made.to_wire() | {"spec": {**made.to_wire()["spec"], "suspend": True}, "status": {"appID": "1"}}
    body["metadata"] = {"name": made.name, "namespace": made.namespace, "labels": {"a": "b"}}
    path = paths.status(MetaConnection, made.namespace, made.name)
    query = (("fieldManager", "x"), ("force", "true"))
    await world.person.send(Request("PATCH", path, query=query, body=body, content_type=ContentType.APPLY))
    there = await world.cluster().get(MetaConnection, made.key)
    assert there is not None
    assert there.status.app_id == "1"
    assert not there.spec.suspend
    assert dict(there.metadata.labels) == {}
    assert there.metadata.generation == 1


async def test_fields_that_are_no_longer_applied_go(world: World) -> None:
    made = await world.cluster().create(connection(world.namespace))
    await apply(world, made.uid, {"observedGeneration": 1, "appID": "1", "effective": {"a": 1, "b": {"c": 2}}})
    applied = await apply(world, made.uid, {"observedGeneration": 1, "effective": {"b": {"d": 3}}})
    assert applied is not None
    assert applied.status.app_id is None
    assert applied.status.effective == {"b": {"d": 3}}


async def test_fields_of_others_stay(world: World) -> None:
    made = await world.cluster().create(connection(world.namespace))
    await apply(world, made.uid, {"observedGeneration": 1, "tokenValid": True})
    await world.patch(MetaConnection, made.name, {"status": {"appID": "9"}}, status=True)
    applied = await apply(world, made.uid, {"observedGeneration": 1})
    assert applied is not None
    assert applied.status.app_id == "9"
    assert applied.status.token_valid is None


async def test_what_another_wrote_over_ours_is_taken_back(world: World) -> None:
    made = await world.cluster().create(connection(world.namespace))
    await apply(world, made.uid, {"observedGeneration": 1, "appID": "1"})
    await world.patch(MetaConnection, made.name, {"status": {"appID": "9"}}, status=True)
    applied = await apply(world, made.uid, {"observedGeneration": 1, "appID": "1"})
    assert applied is not None
    assert applied.status.app_id == "1"


@pytest.mark.parametrize(
    ("before", "added", "applied", "after"),
    [
        ("RT", "F", "RT", "RTF"),
        ("RTS", "F", "SR", "SFR"),
        ("RS", "F", "RTS", "RTSF"),
        ("RS", "F", "TRS", "TRSF"),
        ("RS", "F", "RST", "RSFT"),
        ("R", "F", "S", "FS"),
        ("RST", "F", "TSR", "TFSR"),
    ],
)
async def test_conditions_are_a_map_by_type(world: World, before: str, added: str, applied: str, after: str) -> None:
    """Another manager adds conditions; ours are replaced as a whole, and the order is that of the real server."""
    made = await world.cluster().create(connection(world.namespace))
    await apply(world, made.uid, {"conditions": _conditions(before)})
    await world.patch(MetaConnection, made.name, {"status": {"conditions": _conditions(before + added)}}, status=True)
    there = await apply(world, made.uid, {"conditions": _conditions(applied)})
    assert there is not None
    assert "".join(_LETTERS[str(one.type)] for one in there.status.conditions) == after


_KINDS = {"R": "Ready", "S": "Synced", "T": "Stalled", "F": "Fresh"}
_LETTERS = {kind: letter for letter, kind in _KINDS.items()}


def _conditions(letters: str) -> list[Json]:
    return [condition(_KINDS[letter]) for letter in letters]


async def test_an_equal_status_makes_no_version(world: World) -> None:
    made = await world.cluster().create(connection(world.namespace))
    status = {"observedGeneration": 1, "conditions": [condition("Ready")], "effective": {}}
    first = await apply(world, made.uid, status)
    second = await apply(world, made.uid, status)
    assert first is not None
    assert second == first


async def test_a_status_is_for_one_uid(world: World) -> None:
    made = await world.cluster().create(connection(world.namespace))
    assert await apply(world, OTHER_UID, {"appID": "1"}) is None
    await world.cluster().delete(MetaConnection, made.key, made.uid)
    assert await apply(world, made.uid, {"appID": "1"}) is None
    assert await world.cluster().get(MetaConnection, made.key) is None, "an apply must not create anything"


async def test_unchanged_statuses_are_not_sent(world: World) -> None:
    cluster = world.cluster()
    made = await cluster.create(connection(world.namespace))
    status = MetaConnectionStatus.from_wire({"observedGeneration": 1, "appID": "1"})
    world.watched[made.key] = made
    first = await cluster.apply_status(MetaConnection, made.key, made.uid, status)
    assert first is not None
    # The watch has not shown our write yet: what we wrote ourselves is newer than what it shows.
    again = await cluster.apply_status(MetaConnection, made.key, made.uid, status)
    assert again is not None
    assert again.status == status
    # Somebody else changes it, and the watch shows that: it is written again.
    edited = await world.patch(MetaConnection, made.name, {"status": {"appID": "9"}}, status=True)
    world.watched[made.key] = MetaConnection.from_wire(edited)
    third = await cluster.apply_status(MetaConnection, made.key, made.uid, status)
    assert third is not None
    assert third.status.app_id == "1"
    assert int(third.metadata.resource_version) > int(edited["metadata"]["resourceVersion"])


async def test_one_object_is_written_once_a_second(world: World) -> None:
    cluster = world.cluster()
    made = await cluster.create(connection(world.namespace))
    loop = asyncio.get_running_loop()
    started = loop.time()
    for app in ("1", "2"):
        status = MetaConnectionStatus(observed_generation=1, app_id=app)
        await cluster.apply_status(MetaConnection, made.key, made.uid, status)
    assert loop.time() - started >= 1.0
