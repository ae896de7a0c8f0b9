"""Credentials that don't work: a condition that says what, where and what to do, nothing lost, and it heals by itself.

A Secret is looked at every minute, so a new token works within two.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from controller.api.conditions import Condition, ConditionStatus, ConditionType
from controller.api.v1alpha1 import MetaConnection
from controller.kube.transport import Request
from hack.emulator.world import TEST_TOKEN
from tests.simulation.behaviours.stage import CONNECTION, SECRET, Stage

NOTICED = timedelta(minutes=3)
HEALED = timedelta(minutes=30)


def unusable(stage: Stage, reason: str) -> Callable[[], Condition | None]:
    return stage.says(ConditionType.READY, ConditionStatus.FALSE, reason, kind=MetaConnection, of=CONNECTION)


def usable(stage: Stage) -> Callable[[], Condition | None]:
    return stage.says(ConditionType.READY, ConditionStatus.TRUE, "Available", kind=MetaConnection, of=CONNECTION)


async def _bad_token(stage: Stage) -> None:
    await stage.secret("EAAnonsense")


async def _no_permission(stage: Stage) -> None:
    stage.issue_token("EAApoor", scopes=["business_management"])
    await stage.secret("EAApoor")


async def _no_secret(stage: Stage) -> None:
    await stage.delete_secret()


async def _no_label(stage: Stage) -> None:
    await stage.secret(labelled=False)


async def _no_key(stage: Stage) -> None:
    wire = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET, "labels": {"metacatalog.dev/credential": "true"}},
        "data": {"other": ""},
    }
    await stage.send(Request("PUT", f"/api/v1/namespaces/shop/secrets/{SECRET}", body=wire))


BROKEN: dict[str, tuple[Callable[[Stage], Awaitable[None]], str, tuple[str, ...]]] = {
    "bad token": (_bad_token, "TokenInvalid", ("spec.graph.tokenSecretRef", "put a working one into the Secret")),
    "missing permission": (_no_permission, "PermissionDenied", ("catalog_management", "issue one that has it")),
    "missing secret": (_no_secret, "SecretMissing", ("spec.graph.tokenSecretRef", "Secret meta", "make it")),
    "unlabelled secret": (
        _no_label,
        "SecretNotLabelled",
        ("spec.graph.tokenSecretRef", "Secret meta", 'metacatalog.dev/credential: "true"'),
    ),
    "missing key": (_no_key, "SecretMissing", ("spec.graph.tokenSecretRef", "has no key token", "add it")),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_broken_from_the_start(stage: Stage, case: str) -> None:
    breaks, reason, words = BROKEN[case]
    await stage.populate()
    await breaks(stage)
    stage.launch()

    said = await stage.until(unusable(stage, reason), NOTICED)
    for word in (*words, "every minute"):
        assert word in said.message
    stalled = stage.condition(ConditionType.STALLED, kind=MetaConnection, of=CONNECTION)
    assert stalled is not None
    waits = await stage.until(stage.says(ConditionType.READY, ConditionStatus.FALSE, "DependencyNotReady"), NOTICED)
    assert f"MetaConnection {CONNECTION}" in waits.message
    assert words[0] in waits.message
    assert "work goes on as soon as it can" in waits.message
    assert stage.condition(ConditionType.STALLED) is None, "the Catalog waits for something that can heal"
    assert stage.catalogs_at_meta() == []

    await stage.secret()
    await stage.until(usable(stage), NOTICED)
    await stage.until(stage.ready, HEALED)
    await stage.until(stage.in_step, HEALED)
    assert stage.condition(ConditionType.STALLED, kind=MetaConnection, of=CONNECTION) is None
    await stage.safe()


@pytest.mark.parametrize("case", BROKEN)
async def test_broken_later(stage: Stage, case: str) -> None:
    """Data never makes Ready False, but credentials do; nothing is written meanwhile, nothing is lost."""
    breaks, reason, _ = BROKEN[case]
    await stage.begin()
    before = stage.items_at_meta()
    await breaks(stage)
    await stage.until(unusable(stage, reason), timedelta(minutes=20))
    await stage.until(stage.says(ConditionType.READY, ConditionStatus.FALSE, "DependencyNotReady"), NOTICED)
    sent = stage.request_count()
    stage.change_prices()
    await stage.rest(minutes=30)
    assert stage.items_at_meta() == before
    assert stage.writes(sent) == []

    await stage.secret()
    await stage.until(usable(stage), NOTICED)
    await stage.until(stage.in_step, HEALED)
    await stage.until(stage.ready, NOTICED)
    await stage.safe()


async def test_a_token_that_expires_half_way_is_rotated_in_its_secret(stage: Stage) -> None:
    """190/463 in the middle of an upload: the operation waits for the new token and ends well."""
    await stage.populate()
    stage.launch()
    await stage.until(stage.in_flight, timedelta(minutes=10))
    await stage.until(lambda: any("uploads" in one.path for one in stage.writes()), timedelta(minutes=10))
    stage.world.emulator.world.tokens[TEST_TOKEN].subcode = 463

    said = await stage.until(unusable(stage, "TokenExpired"), NOTICED)
    assert "spec.graph.tokenSecretRef" in said.message
    await stage.rest(hours=3)
    assert stage.in_flight(), "an operation in flight keeps its claim until its end is known"
    asked = stage.request_count()
    await stage.rest(hours=1)
    assert stage.request_count() - asked <= 61, "a dead token is asked about once a minute, by the connection alone"

    stage.issue_token("EAAnew")
    await stage.secret("EAAnew")
    await stage.until(usable(stage), NOTICED)
    await stage.until(stage.ready, HEALED)
    await stage.until(stage.in_step, HEALED)
    uploads = [one for one in stage.writes() if one.path.endswith("/uploads") and one.code == 0]
    assert len(uploads) == 1, "the first load was sent once"
    await stage.safe()


async def test_the_reason_of_meta_is_told_at_once(stage: Stage) -> None:
    """The Secret is read again right after a 190, not only at the next poll."""
    await stage.begin()
    stage.issue_token("EAAnew")
    stage.world.emulator.world.tokens[TEST_TOKEN].subcode = 460
    await stage.secret("EAAnew")
    stage.change_prices()
    await stage.until(stage.in_step, timedelta(minutes=16))
    await stage.safe()


async def test_one_fact_is_one_event(stage: Stage) -> None:
    """A bad token shows in two conditions of the connection; people are told of it once."""
    await stage.begin()
    await stage.secret("EAABROKEN")
    broken = stage.says(ConditionType.READY, ConditionStatus.FALSE, "TokenInvalid", kind=MetaConnection, of=CONNECTION)
    await stage.until(broken, timedelta(minutes=3))
    told = [event for event in stage.events("TokenInvalid") if event["regarding"]["kind"] == MetaConnection.KIND]
    assert len(told) == 1, [event["note"] for event in told]
