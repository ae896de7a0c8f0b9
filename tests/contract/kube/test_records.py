"""Events and the Lease as the API server takes them."""

import asyncio
import random

from controller.api.resource import ObjectKey
from controller.api.v1alpha1 import MetaConnection
from controller.clock import SystemClock
from controller.kube import events, paths
from controller.kube.events import EventRecorder
from controller.kube.lease import Lease, LeaseTiming
from controller.kube.transport import Json, Request
from controller.ports.kubernetes import Event
from tests.contract.kube.objects import connection, ledger
from tests.contract.kube.worlds import World

LONG = 1_500


def recorder(world: World, home: str) -> EventRecorder:
    return EventRecorder(world.transport, SystemClock(), namespace=home, instance="contract")


async def told(world: World, namespace: str) -> list[Json]:
    answer = await world.person.send(Request("GET", paths.events(namespace)))
    return [wire for wire in answer["items"] if wire.get("reportingController") == events.REPORTING_CONTROLLER]


async def test_an_event_and_its_series_are_accepted(world: World) -> None:
    made = await world.cluster().create(connection(world.namespace, "a" * 240))
    writing = recorder(world, world.namespace)
    event = Event(made.key, made.uid, "Warning", "TokenExpired", "renew it: " + "ü" * LONG)
    writing.record(event)
    await writing.flush(10)
    writing.record(event)
    writing.record(event)
    await writing.flush(10)
    (wire,) = await told(world, world.namespace)
    assert (wire["type"], wire["reason"], wire["series"]["count"]) == ("Warning", "TokenExpired", 3)
    assert wire["regarding"]["uid"] == made.uid
    assert writing.dropped == 0


async def test_what_a_terminating_namespace_refuses_is_told_at_the_ledger(world: World) -> None:
    """Both namespaces are the test's own; the ledger's one stays."""
    cluster = world.cluster()
    home = await world.another_namespace()
    record = await world.cluster(home).create(ledger(home))
    made = await cluster.create(connection(world.namespace, finalizers=["example.org/held"]))
    await world.delete_namespace()

    async def going() -> bool:
        there = await cluster.get(MetaConnection, made.key)
        return there is not None and there.metadata.deleting

    await world.eventually(going)
    writing = recorder(world, home)
    writing.record(
        Event(made.key, made.uid, "Warning", "OrphanedAtMeta", "left 1", ledger=record.key, ledger_uid=record.uid)
    )
    writing.record(Event(made.key, made.uid, "Warning", "OrphanedAtMeta", "left 2"))
    await writing.flush(20)
    first, second = sorted(await told(world, home), key=lambda wire: str(wire["note"]))
    assert first["regarding"]["kind"] == "CatalogLedger"
    assert first["note"].endswith("left 1")
    assert second["regarding"]["kind"] == "ServiceAccount"
    assert writing.dropped == 0
    await world.patch(MetaConnection, made.name, {"metadata": {"finalizers": None}})


async def test_an_event_about_an_unknown_namespace_is_told_at_home(world: World) -> None:
    writing = recorder(world, world.namespace)
    writing.record(Event(ObjectKey("Catalog", "nowhere", "a"), "u", "Normal", "Available", "fine"))
    await writing.flush(10)
    (wire,) = await told(world, world.namespace)
    assert wire["note"] == "Catalog nowhere/a: fine"


async def test_the_lease_changes_hands(world: World) -> None:
    timing = LeaseTiming(2.0, 1.2, 0.2)

    def candidate(name: str) -> Lease:
        return Lease(
            world.transport,
            SystemClock(),
            namespace=world.namespace,
            name="operator",
            identity=name,
            timing=timing,
            rng=random.Random(name),
        )

    first, second = candidate("first"), candidate("second")
    await first.acquire()
    keeping = asyncio.create_task(first.keep())
    waiting = asyncio.create_task(second.acquire())
    await asyncio.sleep(2 * timing.seconds)
    assert first.valid()
    assert not waiting.done()
    keeping.cancel()  # it vanishes without a word
    async with asyncio.timeout(timing.seconds + 10):
        await waiting
    assert second.valid()
    assert not first.valid()
    await second.release()
    wire = await world.person.send(Request("GET", paths.lease(world.namespace, "operator")))
    assert wire["spec"]["holderIdentity"] == ""
    assert wire["spec"]["leaseTransitions"] == 1
