"""What the API server promises about single objects, and what the adapter makes of it."""

import base64

import pytest

from controller.api import names
from controller.api.resource import ObjectKey
from controller.api.v1alpha1 import CatalogLedger, DiagnosticReport, MetaConnection, SyncOperation
from controller.api.v1alpha1.meta_connection import MetaConnectionStatus
from controller.faults import Disposition, Fault
from controller.kube import paths
from controller.kube.transport import Request
from tests.contract.kube.objects import condition, connection, diagnostic, key, ledger, operation, owned_by
from tests.contract.kube.worlds import World

OTHER_UID = "00000000-0000-4000-8000-000000000000"


async def test_a_created_object_has_identity_and_no_status_of_its_maker(world: World) -> None:
    proposed = connection(world.namespace).model_copy(update={"status": MetaConnectionStatus(app_id="7")})
    made = await world.cluster().create(proposed)
    assert made.uid
    assert made.metadata.generation == 1
    assert made.status.app_id is None
    assert made.status.observed_generation == -1
    assert made.metadata.creation_timestamp is not None
    assert await world.cluster().get(MetaConnection, key(world.namespace)) == made


async def test_what_is_not_there_is_none(world: World) -> None:
    assert await world.cluster().get(MetaConnection, key(world.namespace, "nobody")) is None
    assert await world.cluster().secret(world.namespace, "nobody") is None


async def test_a_second_object_with_the_name_is_refused(world: World) -> None:
    await world.cluster().create(connection(world.namespace))
    with pytest.raises(Fault) as refused:
        await world.cluster().create(connection(world.namespace))
    assert (refused.value.reason, refused.value.disposition) == ("AlreadyExists", Disposition.STALLED)


async def test_a_bad_name_is_a_defect(world: World) -> None:
    with pytest.raises(Fault) as refused:
        await world.cluster().create(connection(world.namespace, "Not_A_Name"))
    assert (refused.value.reason, refused.value.disposition) == ("InvalidObject", Disposition.DEFECT)
    assert "metadata.name" in refused.value.message


async def test_an_object_in_no_namespace_is_refused(world: World) -> None:
    with pytest.raises(Fault) as refused:
        await world.cluster().create(connection("nowhere"))
    assert (refused.value.reason, refused.value.disposition) == ("NamespaceTerminating", Disposition.STALLED)


async def test_what_belongs_to_a_catalog_is_listed_by_its_label(world: World) -> None:
    cluster = world.cluster()
    mine = [await cluster.create(diagnostic(world.namespace, f"germany-{number}", "germany")) for number in range(2)]
    await cluster.create(diagnostic(world.namespace, "france-1", "france"))
    of_germany = ObjectKey("Catalog", world.namespace, "germany")
    assert await cluster.list(DiagnosticReport, of=of_germany) == tuple(mine)
    changed = mine[0].report.model_copy(update={"count": 7})
    written = await cluster.replace(mine[0].model_copy(update={"report": changed}))
    assert (written.report.count, written.metadata.generation) == (7, 2)
    assert await cluster.list(DiagnosticReport, of=of_germany) == (written, mine[1])


async def test_a_put_of_an_old_version_is_refused(world: World) -> None:
    cluster = world.cluster()
    first = await cluster.create(ledger(world.namespace))
    newer = await cluster.replace(first.model_copy(update={"ledger": ledger(world.namespace, epoch=2).ledger}))
    assert newer.ledger.epoch == 2
    assert newer.metadata.generation == 2
    assert int(newer.metadata.resource_version) > int(first.metadata.resource_version)
    with pytest.raises(Fault) as refused:
        await cluster.replace(first.model_copy(update={"ledger": ledger(world.namespace, epoch=3).ledger}))
    assert (refused.value.reason, refused.value.disposition) == ("Conflict", Disposition.RETRY)
    there = await cluster.get(CatalogLedger, first.key)
    assert there is not None
    assert there.ledger.epoch == 2


async def test_a_put_without_a_version_is_refused(world: World) -> None:
    await world.cluster().create(ledger(world.namespace))
    with pytest.raises(Fault) as refused:
        await world.cluster().replace(ledger(world.namespace, epoch=2))
    assert (refused.value.reason, refused.value.disposition) == ("InvalidObject", Disposition.DEFECT)


async def test_a_put_that_changes_nothing_makes_no_version(world: World) -> None:
    first = await world.cluster().create(ledger(world.namespace))
    assert await world.cluster().replace(first) == first


async def test_a_put_of_what_is_gone_is_a_conflict(world: World) -> None:
    first = await world.cluster().create(ledger(world.namespace))
    await world.remove(CatalogLedger, first.name)
    with pytest.raises(Fault) as refused:
        await world.cluster().replace(first)
    assert refused.value.reason == "Conflict"


async def test_only_the_spec_makes_a_generation(world: World) -> None:
    made = await world.cluster().create(connection(world.namespace))
    labelled = await world.patch(MetaConnection, made.name, {"metadata": {"labels": {"a": "b"}}})
    assert labelled["metadata"]["generation"] == 1
    edited = await world.patch(MetaConnection, made.name, {"spec": {"suspend": True}})
    assert edited["metadata"]["generation"] == 2
    again = await world.patch(MetaConnection, made.name, {"spec": {"suspend": True}})
    assert again["metadata"]["resourceVersion"] == edited["metadata"]["resourceVersion"]
    written = await world.patch(MetaConnection, made.name, {"status": {"appID": "1"}})
    assert "appID" not in written["status"]


async def test_a_finalizer_is_set_and_removed_against_a_version(world: World) -> None:
    cluster = world.cluster()
    made = await cluster.create(connection(world.namespace))
    held = await cluster.set_finalizer(made, present=True)
    assert held is not None
    assert held.metadata.finalizers == (names.FINALIZER,)
    assert held.metadata.generation == 1
    assert await cluster.set_finalizer(held, present=True) is held
    with pytest.raises(Fault) as refused:
        await cluster.set_finalizer(made, present=True)
    assert (refused.value.reason, refused.value.disposition) == ("Conflict", Disposition.RETRY)
    free = await cluster.set_finalizer(held, present=False)
    assert free is not None
    assert free.metadata.finalizers == ()


async def test_a_finalizer_is_never_set_on_another_object_of_that_name(world: World) -> None:
    cluster = world.cluster()
    first = await cluster.create(connection(world.namespace))
    await cluster.delete(MetaConnection, first.key, first.uid)
    second = await cluster.create(connection(world.namespace))
    assert await cluster.set_finalizer(first, present=True) is None
    assert await cluster.get(MetaConnection, first.key) == second


async def test_finalizers_of_others_stay(world: World) -> None:
    made = await world.cluster().create(connection(world.namespace, finalizers=["example.org/theirs"]))
    held = await world.cluster().set_finalizer(made, present=True)
    assert held is not None
    assert held.metadata.finalizers == ("example.org/theirs", names.FINALIZER)
    free = await world.cluster().set_finalizer(held, present=False)
    assert free is not None
    assert free.metadata.finalizers == ("example.org/theirs",)
    await world.patch(MetaConnection, made.name, {"metadata": {"finalizers": None}})


async def test_a_held_object_is_deleting_until_it_is_let_go(world: World) -> None:
    cluster = world.cluster()
    made = await cluster.create(connection(world.namespace, finalizers=[names.FINALIZER]))
    await cluster.delete(MetaConnection, made.key, made.uid)
    going = await cluster.get(MetaConnection, made.key)
    assert going is not None
    assert going.metadata.deleting
    assert going.metadata.generation == 2
    with pytest.raises(Fault) as refused:
        await cluster.set_finalizer(
            going.model_copy(update={"metadata": going.metadata.model_copy(update={"finalizers": ("a.org/b",)})}),
            present=True,
        )
    assert refused.value.reason == "InvalidObject"
    await cluster.set_finalizer(going, present=False)
    assert await cluster.get(MetaConnection, made.key) is None
    assert await cluster.set_finalizer(going, present=False) is None


async def test_delete_means_the_object_with_that_uid(world: World) -> None:
    cluster = world.cluster()
    made = await cluster.create(connection(world.namespace))
    await cluster.delete(MetaConnection, made.key, OTHER_UID)
    assert await cluster.get(MetaConnection, made.key) == made
    await cluster.delete(MetaConnection, made.key, made.uid)
    assert await cluster.get(MetaConnection, made.key) is None
    await cluster.delete(MetaConnection, made.key, made.uid)


async def test_dependents_go_after_their_owner(world: World) -> None:
    cluster = world.cluster()
    owner = await cluster.create(connection(world.namespace))
    await cluster.create(connection(world.namespace, "child", ownerReferences=[owned_by(owner)]))
    await cluster.create(connection(world.namespace, "other"))
    await cluster.delete(MetaConnection, owner.key, owner.uid)

    async def child_gone() -> bool:
        return await cluster.get(MetaConnection, key(world.namespace, "child")) is None

    await world.eventually(child_gone)
    assert await cluster.get(MetaConnection, key(world.namespace, "other")) is not None


async def test_dependents_of_an_owner_that_never_was_go(world: World) -> None:
    cluster = world.cluster()
    ghost = connection(world.namespace, "ghost", uid=OTHER_UID)
    await cluster.create(connection(world.namespace, "child", ownerReferences=[owned_by(ghost)]))

    async def child_gone() -> bool:
        return await cluster.get(MetaConnection, key(world.namespace, "child")) is None

    await world.eventually(child_gone)


async def test_cancel_reaches_the_spec(world: World) -> None:
    made = await world.cluster().create(operation(world.namespace))
    await world.cluster().set_cancel(made.key)
    there = await world.cluster().get(SyncOperation, made.key)
    assert there is not None
    assert there.spec.cancel
    assert there.metadata.generation == 2
    await world.cluster().set_cancel(ObjectKey("SyncOperation", world.namespace, "nobody"))


async def test_identities_are_the_metadata_of_a_list(world: World) -> None:
    first = await world.cluster().create(connection(world.namespace, labels={"a": "b"}))
    second = await world.cluster().create(connection(world.namespace, "second"))
    everywhere = await world.cluster().identities(MetaConnection)
    here = {found: meta for found, meta in everywhere.items() if found.namespace == world.namespace}
    assert here == {first.key: first.metadata, second.key: second.metadata}
    listed = await world.cluster().list(MetaConnection)
    assert {found.uid for found in listed if found.namespace == world.namespace} == {first.uid, second.uid}


@pytest.mark.parametrize("labels", [{names.LABEL_CREDENTIAL: "true"}, {}])
async def test_a_secret_without_the_label_shows_nothing(world: World, labels: dict[str, str]) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "meta", "labels": labels},
        "data": {"token": base64.b64encode(b"EAAB").decode()},
    }
    path = paths.secret(world.namespace, "meta").removesuffix("/meta")
    await world.person.send(Request("POST", path, body=body))
    found = await world.cluster().secret(world.namespace, "meta")
    assert found is not None
    assert found.labelled == bool(labels)
    token = found.get("token")
    assert (token.reveal() if token else None) == ("EAAB" if labels else None)
    assert "EAAB" not in repr(found)


async def test_a_config_map_is_read_as_bytes(world: World) -> None:
    assert await world.cluster().config_map(world.namespace, "products") is None
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "products"},
        "data": {"products.csv": "id\nä\n"},
        "binaryData": {"products.csv.gz": base64.b64encode(b"\x1f\x8b\x00\xff").decode()},
    }
    await world.person.send(Request("POST", paths.config_maps(world.namespace), body=body))
    found = await world.cluster().config_map(world.namespace, "products")
    assert found == {"products.csv": "id\nä\n".encode(), "products.csv.gz": b"\x1f\x8b\x00\xff"}


async def test_the_installation_keeps_its_first_id(world: World) -> None:
    assert await world.cluster().installation("first") == "first"
    assert await world.cluster().installation("second") == "first"


async def test_conditions_survive_the_way_to_the_server_and_back(world: World) -> None:
    made = await world.cluster().create(connection(world.namespace))
    status = MetaConnectionStatus.from_wire({"conditions": [condition("Ready")]})
    applied = await world.cluster().apply_status(MetaConnection, made.key, made.uid, status)
    assert applied is not None
    assert applied.status.conditions == status.conditions
