"""What goes from the store, and what never does."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from controller.api.v1alpha1.catalog_ledger import (
    Claim,
    Followed,
    HeldRecord,
    Intent,
    ItemsRecord,
    LedgerContent,
    OverlayRecord,
    PartitionRecord,
    RefreshRecord,
)
from controller.reconcile.garbage import Garbage
from tests.unit.reconcile.contexts import Surroundings

P = "catalogs/1/00000001"
HOURS = 3


def partition(**fields: Any) -> PartitionRecord:
    return PartitionRecord(index=0, shard="s", slot_from=0, slot_to=1, **fields)


def intent(around: Surroundings, **fields: Any) -> Intent:
    known = {
        "id": "op/0",
        "operation": "op",
        "method": "ItemsBatch",
        "epoch": 1,
        "incarnation": "a",
        "partitions": (0,),
        "at": around.clock.now(),
        "payload": "x",
        "bytes": 1,
        "digest": "d",
        "sent": "x",
        "budget_seconds": 1.0,
    }
    return Intent(**{**known, **fields})


async def after_hours(around: Surroundings, ledger: LedgerContent) -> set[str]:
    """What is left after the collector has looked once an hour."""
    garbage = Garbage(around.life().context)
    for _ in range(HOURS):
        assert await garbage.tend("1", ledger) > around.clock.now()
        await asyncio.sleep(3600)
    await garbage.tend("1", ledger)
    return set(around.store.keys("catalogs/"))


KEPT: dict[str, Callable[[Surroundings], LedgerContent]] = {
    "a snapshot": lambda _: LedgerContent(partitions=(partition(snapshot=f"{P}/step/kept"),)),
    "kept rows": lambda _: LedgerContent(partitions=(partition(payload=f"{P}/step/kept"),)),
    "a body that is under way": lambda around: LedgerContent(intents=(intent(around, payload=f"{P}/step/kept"),)),
    "results": lambda around: LedgerContent(intents=(intent(around, results=f"{P}/step/kept"),)),
    "ids that are read once more": lambda around: LedgerContent(
        followed=(Followed(intent="op/0", sent=f"{P}/step/kept", at=around.clock.now()),)
    ),
    "held ids": lambda _: LedgerContent(
        items=(
            ItemsRecord(
                name="p",
                held=HeldRecord(digest="d", count=1, leaving=1, unsellable=0, of=2, ids=f"{P}/step/kept"),
            ),
        )
    ),
    "the last read": lambda around: LedgerContent(
        items=(
            ItemsRecord(
                name="p",
                refresh=RefreshRecord(
                    sequence=1,
                    read_at=around.clock.now(),
                    digest="d",
                    configuration_digest="c",
                    desired=(f"{P}/step/kept",),
                ),
            ),
        )
    ),
    "what the checks found": lambda around: LedgerContent(
        items=(
            ItemsRecord(
                name="p",
                refresh=RefreshRecord(
                    sequence=1,
                    read_at=around.clock.now(),
                    digest="d",
                    configuration_digest="c",
                    findings=f"{P}/step/kept",
                ),
            ),
        )
    ),
    "an overlay": lambda around: LedgerContent(
        items=(
            ItemsRecord(
                name="p",
                refresh=RefreshRecord(
                    sequence=1,
                    read_at=around.clock.now(),
                    digest="d",
                    configuration_digest="c",
                    overlays=(
                        OverlayRecord(
                            name="stock",
                            read_at=around.clock.now(),
                            digest="d",
                            configuration_digest="c",
                            table=f"{P}/step/kept",
                        ),
                    ),
                ),
            ),
        )
    ),
}


@pytest.mark.parametrize("case", KEPT)
async def test_what_the_ledger_names_stays_with_its_folder(tmp_path: Path, case: str) -> None:
    around = Surroundings(tmp_path)
    for key in (f"{P}/step/kept", f"{P}/step/beside", f"{P}/other/gone"):
        around.store.write(key, b"x")
    assert await after_hours(around, KEPT[case](around)) == {f"{P}/step/kept", f"{P}/step/beside"}


async def test_what_an_operation_with_a_claim_wrote_stays(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    around.store.write(f"{P}/op/encode-1/payload", b"x")
    claim = Claim(operation="op", name="shop/op", epoch=1, method="ItemsBatch", since=around.clock.now())
    left = await after_hours(around, LedgerContent(partitions=(partition(claim=claim),)))
    assert left == {f"{P}/op/encode-1/payload"}


async def test_epochs_and_heads_stay(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    for epoch in (1, 2, 3):
        around.store.write(f"catalogs/1/epochs/{epoch:08d}", b"{}")
    around.store.write("catalogs/1/heads/00000003-00000001", b"{}")
    left = await after_hours(around, LedgerContent(epoch=3))
    assert left == {"catalogs/1/epochs/00000002", "catalogs/1/epochs/00000003", "catalogs/1/heads/00000003-00000001"}


async def test_what_is_young_stays(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    garbage = Garbage(around.life().context)
    around.store.write(f"{P}/step/young", b"x")
    began = around.clock.now()
    while around.store.keys("catalogs/"):
        await garbage.tend("1", LedgerContent())
        await asyncio.sleep(600)
        assert around.clock.now() - began < timedelta(hours=5)
    assert around.clock.now() - began >= timedelta(minutes=90)


async def test_another_catalog_is_left_alone(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    around.store.write("catalogs/11/00000001/step/a", b"x")
    assert await after_hours(around, LedgerContent()) == {"catalogs/11/00000001/step/a"}


MANIFEST_KEY = f"{P}/refresh-2/rows-v2-all.json"
NAMES_A_MANIFEST = LedgerContent(
    items=(ItemsRecord(name="products"),), epoch=1, partitions=(partition(snapshot=MANIFEST_KEY),)
)


NAMED: dict[str, Callable[[Surroundings, str], LedgerContent]] = {
    "snapshot": lambda _, key: LedgerContent(partitions=(partition(snapshot=key),)),
    "payload": lambda _, key: LedgerContent(partitions=(partition(payload=key),)),
    "sent": lambda around, key: LedgerContent(intents=(intent(around, sent=key),)),
}


@pytest.mark.parametrize("kind", ["rows", *NAMED])
async def test_parts_of_a_manifest_stay_one_by_one(tmp_path: Path, kind: str) -> None:
    around = Surroundings(tmp_path)
    part, other = f"{P}/refresh-1/desired-v2-000.parquet", f"{P}/refresh-1/rejected-v2-all.parquet"
    key = MANIFEST_KEY.replace("rows", kind)
    around.store.write(key, json.dumps({"format": 2, "parts": [part]}).encode())
    for each in (part, other):
        around.store.write(each, b"rows")
    ledger = NAMED[kind](around, key) if kind in NAMED else NAMES_A_MANIFEST
    assert await after_hours(around, ledger) == {key, part}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"parts": 3}', b'{"parts": [3]}', None])
async def test_while_a_manifest_cannot_be_read_nothing_goes(tmp_path: Path, content: bytes | None) -> None:
    around = Surroundings(tmp_path)
    part = f"{P}/refresh-1/desired-v2-000.parquet"
    around.store.write(part, b"rows")
    if content is not None:
        around.store.write(MANIFEST_KEY, content)
    assert part in await after_hours(around, NAMES_A_MANIFEST)
