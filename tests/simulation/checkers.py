"""What must be true, computed from Meta's side. Bookkeeping of the operator is only compared with it, never believed.

I1, I4, I5, I7, I8 come from the emulator's auditor. Here: I2 nothing left open, I3 acknowledged equals applied,
I6 convergence, that secrets stay where they belong, and that the operator did not fall over.
"""

import json
from collections.abc import Iterable

from controller.api.conditions import ConditionType
from controller.api.v1alpha1 import KINDS, CatalogLedger
from controller.ports.preparing import VOLATILE_FIELDS
from controller.preparing.heads import snapshot_rows
from hack.emulator import jsons
from hack.emulator.auditor import comparable
from hack.emulator.world import TEST_TOKEN
from tests.simulation.process import LeaseLostError
from tests.simulation.world import World

COMPARED = (
    "title",
    "description",
    "availability",
    "condition",
    "price",
    "link",
    "brand",
    "quantity_to_sell_on_facebook",
)


async def safety(world: World) -> list[str]:
    """Violations at any moment."""
    found = [_line(violation) for violation in _violations(await world.audit())]
    for process in world.processes:
        failed = process.failed
        if failed is not None and not _is_lease_loss(failed):
            found.append(f"process {process.name} fell over: {failed!r}")
    found += await secrets(world)
    return found


async def liveness(world: World) -> list[str]:
    """Violations after everything was healed and the world had time to settle."""
    return [*await _settled_ledger(world), *_converged(world), *await _acknowledged(world), *await _conditions(world)]


def judged(audit: jsons.Object) -> list[str]:
    """Verdicts that were not given, although a witness was there."""
    verdicts = jsons.as_object(audit["judged"])
    return [f"{name} was not judged" for name, verdict in sorted(verdicts.items()) if verdict == "not judged"]


def _violations(audit: jsons.Object) -> Iterable[jsons.Object]:
    return [jsons.as_object(one) for one in jsons.as_list(audit["violations"])]


def _line(violation: jsons.Object) -> str:
    return json.dumps(violation, default=str, sort_keys=True)


def _is_lease_loss(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_lease_loss(inner) for inner in error.exceptions)
    return isinstance(error, LeaseLostError) or getattr(error, "reason", "") == "LeaseLost"


async def secrets(world: World) -> list[str]:
    """The token must not stand in any object but its Secret."""
    return [
        f"the token stands in {kind.KIND} {wire['metadata']['name']}"
        for kind in KINDS
        for wire in await world.objects(kind)
        if TEST_TOKEN in json.dumps(wire)
    ]


async def _ledgers(world: World) -> list[CatalogLedger]:
    return [CatalogLedger.from_wire(wire) for wire in await world.objects(CatalogLedger)]


async def _settled_ledger(world: World) -> list[str]:
    """I2: every intent came to an end, every claim was given back."""
    found = []
    for ledger in await _ledgers(world):
        found += [f"intent {intent.id} is still {intent.state}" for intent in ledger.ledger.intents]
        found += [
            f"partition {record.index} is still claimed by {record.claim.name}"
            for record in ledger.ledger.partitions
            if record.claim is not None
        ]
    return found


def _converged(world: World) -> list[str]:
    """I6: accepted items equal the source on the comparable fields; leavers are gone."""
    at_meta = world.items_at_meta()
    found = []
    for product in world.shop.products.values():
        row = world.shop.truth(product)
        item = at_meta.get(product.id)
        if product.broken:
            continue
        if item is None:
            found.append(f"item {product.id} is not at Meta")
            continue
        found += [
            f"item {product.id}: {name} is {item.get(name)!r} at Meta, {row[name]!r} at the source"
            for name in COMPARED
            if comparable(name, item.get(name, "")) != comparable(name, row[name])
        ]
    found += [f"item {item} is still at Meta" for item in sorted(set(at_meta) - set(world.shop.products))]
    return [*found, *_localized(world)]


def _localized(world: World) -> list[str]:
    """I6 for values of one language or country: field by field what the overlays say, and nothing else."""
    at_meta = world.overrides_at_meta()
    found = []
    for product in world.shop.products.values():
        wanted, held = world.shop.localized(product.id), at_meta.get(product.id, {})
        for key in sorted(wanted.keys() | held.keys()):
            theirs, ours = held.get(key, {}), wanted.get(key, {})
            found += [
                f"item {product.id} in {key}: {name} is {theirs.get(name, '')!r} at Meta, {ours.get(name, '')!r} meant"
                for name in sorted(theirs.keys() | ours.keys())
                if comparable(name, theirs.get(name, "")) != comparable(name, ours.get(name, ""))
            ]
    return found


async def _acknowledged(world: World) -> list[str]:
    """I3: what we hold as acknowledged is what Meta applied."""
    at_meta = world.items_at_meta()
    found = []
    for ledger in await _ledgers(world):
        for record in ledger.ledger.partitions:
            if record.snapshot is None:
                continue
            for row in snapshot_rows(world.store, record.snapshot).iter_rows(named=True):
                item = at_meta.get(row["id"])
                if item is None:
                    found.append(f"item {row['id']} is acknowledged but not at Meta")
                    continue
                for name in VOLATILE_FIELDS:
                    if not row[f"{name}_known"]:
                        continue
                    ours, theirs = row[name] or "", item.get(name, "")
                    if comparable(name, ours) != comparable(name, theirs):
                        found.append(f"item {row['id']}: {name} acknowledged as {ours!r}, Meta has {theirs!r}")
    return found


async def _conditions(world: World) -> list[str]:
    catalog = await world.catalog()
    return [
        f"{kind} is not True: {catalog.status.condition(kind)}"
        for kind in (ConditionType.READY, ConditionType.SYNCED, ConditionType.FRESH)
        if not catalog.status.is_true(kind)
    ]
