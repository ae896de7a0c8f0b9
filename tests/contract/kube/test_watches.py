"""Watches: order, replay, the gap after a restart, 410, and namespaces that go."""

import pytest

from controller.api import names
from controller.api.v1alpha1 import MetaConnection
from controller.api.v1alpha1.meta_connection import MetaConnectionStatus
from controller.faults import Disposition, Fault
from controller.kube.transport import Refused
from tests.contract.kube.objects import connection, key
from tests.contract.kube.worlds import Stream, World


async def changes(stream: Stream, count: int) -> list[tuple[str, str]]:
    """The next changes as (type, name); their versions must grow."""
    seen: list[tuple[str, str]] = []
    last = 0
    while len(seen) < count:
        change = await stream.next()
        assert change is not None, f"the stream ended after {seen}"
        if change[0] != "BOOKMARK":
            version = int(change[1]["metadata"]["resourceVersion"])
            assert version > last
            last = version
            seen.append((change[0], change[1]["metadata"]["name"]))
    return seen


async def test_changes_come_in_order_and_are_replayed(world: World) -> None:
    cluster = world.cluster()
    since = await world.version(MetaConnection)
    async with world.watch(MetaConnection, since) as stream:
        made = await cluster.create(connection(world.namespace))
        await cluster.apply_status(MetaConnection, made.key, made.uid, MetaConnectionStatus(app_id="1"))
        await cluster.create(connection(world.namespace, "other"))
        await cluster.delete(MetaConnection, made.key, made.uid)
        expected = [("ADDED", "acme"), ("MODIFIED", "acme"), ("ADDED", "other"), ("DELETED", "acme")]
        assert await changes(stream, 4) == expected
    async with world.watch(MetaConnection, since) as late:
        assert await changes(late, 4) == expected


async def test_a_deletion_during_a_restart_is_never_told(world: World) -> None:
    cluster = world.cluster()
    made = await cluster.create(connection(world.namespace))
    since = await world.version(MetaConnection)
    async with world.watch(MetaConnection, since) as stream:
        await world.restart()
        while await stream.next() is not None:
            pass
    await world.cluster().delete(MetaConnection, made.key, made.uid)
    # Whoever lists now and watches from there hears nothing of it.
    listed = await world.version(MetaConnection)
    async with world.watch(MetaConnection, listed) as stream:
        await world.cluster().create(connection(world.namespace, "later"))
        assert await changes(stream, 1) == [("ADDED", "later")]
    assert key(world.namespace) not in await world.cluster().identities(MetaConnection)


async def test_a_watch_from_a_lost_past_is_gone(world: World) -> None:
    await world.cluster().create(connection(world.namespace))
    await world.restart()
    with pytest.raises(Refused) as refused:
        async with world.watch(MetaConnection, 1) as stream:
            await stream.next()
    assert refused.value.status == 410


async def test_a_terminating_namespace_takes_nothing_new(world: World) -> None:
    cluster = world.cluster()
    made = await cluster.create(connection(world.namespace, finalizers=[names.FINALIZER]))
    assert not await cluster.namespace_terminating(world.namespace)
    await world.delete_namespace()

    async def going() -> bool:
        there = await cluster.get(MetaConnection, made.key)
        return there is not None and there.metadata.deleting

    await world.eventually(going)
    assert await cluster.namespace_terminating(world.namespace)
    with pytest.raises(Fault) as refused:
        await cluster.create(connection(world.namespace, "new"))
    assert (refused.value.reason, refused.value.disposition) == ("NamespaceTerminating", Disposition.STALLED)
    # What exists can still be written and let go.
    applied = await cluster.apply_status(MetaConnection, made.key, made.uid, MetaConnectionStatus(app_id="1"))
    assert applied is not None
    assert applied.status.app_id == "1"
    await cluster.set_finalizer(applied, present=False)
    assert await cluster.get(MetaConnection, made.key) is None
    assert await cluster.namespace_terminating(world.namespace)
