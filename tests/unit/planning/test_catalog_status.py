"""What a Catalog's status says of what is known: one look, one verdict per condition."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from controller.api.conditions import ConditionStatus, ConditionType
from controller.api.v1alpha1.catalog import CatalogStatus, Drift
from controller.api.v1alpha1.catalog_ledger import (
    Followed,
    HeldRecord,
    ItemsRecord,
    LedgerContent,
    OverlayRecord,
    PendingCounts,
)
from controller.api.v1alpha1.sync_operation import ItemMessage
from controller.faults import Disposition, Fault
from controller.planning.catalog_status import OverlayView, View, summarize
from controller.planning.verdicts import Verdict
from controller.ports.preparing import RuleCount
from tests.unit.planning.examples import HOUR, MINUTE, NOW, catalog, ledger, partition, refresh

TRUE, FALSE, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN
HEALTHY = View(
    catalog=catalog(),
    catalog_id="1",
    ledger=ledger(),
    fault=None,
    source_fault=None,
    source_retry_at=None,
    looked_at=NOW,
    onsite=False,
    drift=(),
    not_comparable=(),
    checks=(),
    derived=None,
    refusals=(),
    handled_request=None,
    suspended=False,
    now=NOW,
)
DOWN = Fault("MetaUnavailable", Disposition.RETRY, "Meta does not answer")
STALLED = Fault("PermissionDenied", Disposition.STALLED, "the token lacks catalog_management")
WAITING = Fault("DependencyNotReady", Disposition.RETRY, "MetaConnection acme can't be used")
NOT_LOOKED = Fault("Progressing", Disposition.RETRY, "not looked at yet")
UNREACHABLE = Fault("SourceUnreachable", Disposition.RETRY, "it does not accept connections")


def verdicts(**fields: Any) -> dict[ConditionType, Verdict]:
    _, found = summarize(replace(HEALTHY, **fields))
    return {verdict.type: verdict for verdict in found}


def status(**fields: Any) -> CatalogStatus:
    return summarize(replace(HEALTHY, **fields))[0]


def says(kind: ConditionType, **fields: Any) -> tuple[ConditionStatus | None, str]:
    found = verdicts(**fields)[kind]
    return found.status, found.reason


def with_pending(**counts: Any) -> LedgerContent:
    return ledger(partition(pending=PendingCounts(items_at_meta=12, **counts)))


UNLOADED = ledger(partition(last_full_at=None))
NEW = ledger(layout=None, items=ItemsRecord(name="products"))

READY: dict[str, tuple[dict[str, Any], tuple[ConditionStatus, str]]] = {
    "all is well": ({}, (TRUE, "Available")),
    "the first load is under way": ({"ledger": UNLOADED}, (UNKNOWN, "Progressing")),
    "before the first read": ({"ledger": NEW}, (UNKNOWN, "Progressing")),
    "a source that never worked": ({"ledger": NEW, "source_fault": UNREACHABLE}, (FALSE, "SourceUnreachable")),
    "data never makes it False again": ({"source_fault": UNREACHABLE}, (TRUE, "Available")),
    "Meta is down": ({"fault": DOWN}, (TRUE, "Available")),
    "Meta is down before the first load": ({"ledger": UNLOADED, "fault": DOWN}, (FALSE, "MetaUnavailable")),
    "no permission": ({"fault": STALLED}, (FALSE, "PermissionDenied")),
    "the connection can't be used": ({"fault": WAITING}, (FALSE, "DependencyNotReady")),
    "the connection was not looked at yet": ({"fault": NOT_LOOKED}, (TRUE, "Available")),
    "nothing was looked at yet": ({"ledger": None, "fault": NOT_LOOKED}, (UNKNOWN, "Progressing")),
    "listed anew and not yet read again": (
        {"ledger": ledger(items=ItemsRecord(name="products"))},
        (TRUE, "Available"),
    ),
    "a partition without rows needs no load": (
        {"ledger": ledger(partition(0), partition(1, desired_rows=0, last_full_at=None, pending=PendingCounts()))},
        (TRUE, "Available"),
    ),
}


@pytest.mark.parametrize("case", READY)
def test_ready(case: str) -> None:
    fields, expected = READY[case]
    assert says(ConditionType.READY, **fields) == expected


SYNCED: dict[str, tuple[dict[str, Any], tuple[ConditionStatus, str]]] = {
    "in step": ({}, (TRUE, "InSync")),
    "drift": ({"drift": (Drift(field="name", declared="a", at_meta="b"),)}, (FALSE, "DriftDetected")),
    "not read yet": ({"drift": None}, (UNKNOWN, "Progressing")),
    "suspended": ({"suspended": True}, (UNKNOWN, "Suspended")),
    "needs a person": ({"fault": STALLED}, (FALSE, "PermissionDenied")),
    "Meta changes what it accepts": ({"not_comparable": ("name",)}, (TRUE, "NotComparable")),
}


@pytest.mark.parametrize("case", SYNCED)
def test_synced(case: str) -> None:
    fields, expected = SYNCED[case]
    assert says(ConditionType.SYNCED, **fields) == expected


FRESH: dict[str, tuple[dict[str, Any], bool, str]] = {
    "nothing waits": ({}, True, ""),
    "before the first load": ({"ledger": UNLOADED}, False, "first load"),
    "a price waits within its promise": (
        {"ledger": with_pending(volatile=3, volatile_since=NOW - 14 * MINUTE)},
        True,
        "",
    ),
    "a price waits too long": (
        {"ledger": with_pending(volatile=3, volatile_since=NOW - 16 * MINUTE)},
        False,
        "price or stock of 3 items waits since 2026-01-05 11:44 UTC",
    ),
    "a title waits too long": (
        {"ledger": with_pending(static=1, static_since=NOW - 61 * MINUTE)},
        False,
        "1 new or changed items wait",
    ),
    "a new item waits too long": (
        {"ledger": with_pending(creations=2, creations_since=NOW - 61 * MINUTE)},
        False,
        "2 new or changed items wait",
    ),
    "the full send is too old": (
        {"ledger": ledger(partition(last_full_at=NOW - 25 * HOUR))},
        False,
        "promised every 24 h",
    ),
    "the source was not read for long": (
        {"source_fault": UNREACHABLE, "looked_at": NOW - 16 * MINUTE},
        False,
        "the source was not read since",
    ),
    "the source failed a moment ago": ({"source_fault": UNREACHABLE, "looked_at": NOW - MINUTE}, True, ""),
}


@pytest.mark.parametrize("case", FRESH)
def test_fresh(case: str) -> None:
    fields, fresh, words = FRESH[case]
    found = verdicts(**fields)[ConditionType.FRESH]
    assert found.status is (TRUE if fresh else FALSE)
    assert found.reason == ("OnTarget" if fresh else "BehindTarget")
    assert words in found.message


def held(**fields: Any) -> LedgerContent:
    record = HeldRecord(
        **{
            "digest": "sha256:" + "ab" * 32,
            "count": 4,
            "leaving": 4,
            "unsellable": 0,
            "of": 12,
            "sample_ids": ("A", "B", "C", "D"),
            "ids": "k",
            **fields,
        }
    )
    return ledger(items=ItemsRecord(name="products", refresh=refresh(), looked_at=NOW, held=record))


def test_held_deletions_have_numbers_samples_and_the_approval_to_apply() -> None:
    found = verdicts(ledger=held())[ConditionType.DELETIONS_HELD]
    for word in (
        "4 of 12 items would be deleted (33 %, limit 5 %)",
        "e.g. A, B, C; everything else was sent",
        "kind: DeletionApproval",
        "catalogRef: {name: germany}",
        "sha256:" + "ab" * 32,
    ):
        assert word in found.message
    assert status(ledger=held()).held is not None


def test_a_dark_wave_has_its_own_words() -> None:
    found = verdicts(ledger=held(leaving=0, unsellable=6, count=6))[ConditionType.DELETIONS_HELD]
    assert "6 of 12 items would go out of stock (50 %, limit 30 %)" in found.message
    assert "would be deleted" not in found.message


def test_nothing_held_is_no_condition() -> None:
    assert verdicts()[ConditionType.DELETIONS_HELD].status is None


def test_since_when_it_is_held_stays_while_the_set_does() -> None:
    first = status(ledger=held())
    later = NOW + HOUR
    same = status(ledger=held(), catalog=replace_status(first), now=later)
    other = status(ledger=held(digest="sha256:" + "cd" * 32), catalog=replace_status(first), now=later)
    assert same.held is not None
    assert other.held is not None
    assert (same.held.since, other.held.since) == (NOW, later)


def replace_status(found: CatalogStatus) -> Any:
    return HEALTHY.catalog.model_copy(update={"status": found})


def test_a_source_that_fails_is_named_with_the_next_try_rounded_up() -> None:
    retry_at = NOW + timedelta(seconds=61)
    found = verdicts(source_fault=UNREACHABLE, source_retry_at=retry_at)[ConditionType.SOURCE_UNHEALTHY]
    assert found.message == (
        "spec.items[products]: it does not accept connections; the last good state stays; next try by 12:02 UTC"
    )


def test_a_field_that_is_named_is_not_named_twice() -> None:
    fault = Fault("SecretMissing", Disposition.STALLED, "spec.items[products].source.http.urlSecretRef: make it")
    found = verdicts(source_fault=fault)[ConditionType.SOURCE_UNHEALTHY]
    assert found.message.startswith("spec.items[products].source.http.urlSecretRef: make it;")


def test_item_issues_tell_our_words_and_metas() -> None:
    checks = (RuleCount(rule="price", level="Error", count=2, message="price must be a number", sample_ids=("A",)),)
    refusals = (ItemMessage(code="fatal", message="Meta's words", count=3, sample_ids=("B",)),)
    items = ItemsRecord(name="products", refresh=refresh(invalid=2), looked_at=NOW)
    content = ledger(partition(pending=PendingCounts(items_at_meta=12, refused=3)), items=items)
    found = verdicts(ledger=content, checks=checks, refusals=refusals)[ConditionType.ITEM_ISSUES]
    for word in (
        "2 rows fail",
        "price must be a number",
        "e.g. A",
        "3 items were refused by Meta",
        "Meta's words",
        "B",
    ):
        assert word in found.message


RESTRICTED: dict[str, tuple[LedgerContent, str]] = {
    "unexpected result": (ledger(partition(unexpected="Meta counted 3 items in a file of 4")), "UnexpectedResult"),
    "lost": (ledger(snapshot_lost_at=NOW), "SnapshotLost"),
    "rolled back": (ledger(rolled_back=True), "RolledBack"),
    "abandoned": (ledger(followed=(Followed(intent="a/0", sent="s", at=NOW),)), "AbandonedOperation"),
}


@pytest.mark.parametrize("case", RESTRICTED)
def test_restrictions(case: str) -> None:
    content, reason = RESTRICTED[case]
    assert says(ConditionType.SENDING_RESTRICTED, ledger=content) == (TRUE, reason)


PROGRESS: dict[str, tuple[dict[str, Any], str | None, str | None]] = {
    "nothing to do": ({}, None, None),
    "the first load": ({"ledger": UNLOADED}, "Progressing", None),
    "heals by itself": ({"fault": DOWN}, "MetaUnavailable", None),
    "needs a person": ({"fault": STALLED}, None, "PermissionDenied"),
    "a guard stalls nothing": ({"ledger": held()}, None, None),
    "a source stalls nothing": ({"source_fault": UNREACHABLE}, None, None),
}


@pytest.mark.parametrize("case", PROGRESS)
def test_reconciling_and_stalled_never_both(case: str) -> None:
    fields, reconciling, stalled = PROGRESS[case]
    found = verdicts(**fields)
    for kind, reason in ((ConditionType.RECONCILING, reconciling), (ConditionType.STALLED, stalled)):
        assert (found[kind].reason if found[kind].status is TRUE else None) == reason


def test_a_process_that_has_just_started_repeats_what_was_said() -> None:
    known = catalog(status={"catalogID": "1"})
    found = verdicts(catalog=known, ledger=None, fault=NOT_LOOKED)
    assert set(found) == {ConditionType.RECONCILING, ConditionType.STALLED}


def test_a_process_that_has_just_started_says_what_needs_a_person() -> None:
    known = catalog(status={"catalogID": "1"})
    found = verdicts(catalog=known, ledger=None, fault=STALLED)
    assert found[ConditionType.READY].reason == "PermissionDenied"
    assert ConditionType.DELETIONS_HELD not in found, "what the ledger says is not known"


def test_counts_come_from_the_ledger() -> None:
    found = status(ledger=ledger(partition(0), partition(1)))
    assert [(one.name, one.rows, one.valid, one.acknowledged) for one in found.items] == [("products", 12, 12, 24)]
    assert found.totals is not None
    assert found.totals.items == 12
    assert found.layout is not None
    assert (found.layout.shards, found.layout.recommended_shards) == (2, 1)
    assert found.fresh is not None
    assert found.fresh.full_at == NOW - HOUR


def test_status_says_errors_first_and_what_to_do() -> None:
    levels = ("Advice",) * 10 + ("Warning",) * 10 + ("Error",) * 2
    checks = tuple(
        RuleCount(rule=f"rule-{number}", level=level, count=1, message=f"do {number}")
        for number, level in enumerate(levels)
    )
    found = status(checks=checks).checks
    assert [check.level for check in found] == ["Error"] * 2 + ["Warning"] * 10 + ["Advice"] * 4
    assert (found[0].rule, found[0].message) == ("rule-20", "do 20")


STOCK = OverlayRecord(
    name="stock",
    read_at=NOW - HOUR,
    digest="d",
    etag="e1",
    configuration_digest="c",
    fields=("availability",),
    table="t",
    rows=9,
    ids=8,
    unknown=2,
    sample_unknown=("x", "y"),
)
NOT_FOUND = Fault("SourceUnreachable", Disposition.RETRY, "the server says 404")


def overlay(**fields: Any) -> OverlayView:
    return replace(OverlayView("stock", MINUTE, STOCK, None, None, NOW), **fields)


def test_an_overlay_is_shown_with_what_it_says_and_what_nobody_knows() -> None:
    (shown,) = status(overlays=(overlay(),)).items[0].overlays
    assert (shown.rows, shown.items, shown.unknown, shown.unknown_sample_ids) == (9, 6, 2, ("x", "y"))
    assert (shown.read_at, shown.source_version, shown.reason) == (NOW - HOUR, "e1", None)


def test_an_overlay_that_fails_says_why_and_when_the_next_try_is() -> None:
    failing = overlay(fault=NOT_FOUND, retry_at=NOW + 5 * MINUTE)
    (shown,) = status(overlays=(failing,)).items[0].overlays
    assert (shown.reason, shown.message) == ("SourceUnreachable", "the server says 404; next try by 12:05 UTC")
    found = verdicts(overlays=(failing,))[ConditionType.SOURCE_UNHEALTHY]
    assert found.reason == "SourceUnreachable"
    assert found.message == (
        "spec.items[products].overlays[stock]: the server says 404; the last good state stays; next try by 12:05 UTC"
    )


def test_the_full_source_is_named_before_its_overlays() -> None:
    failing = overlay(fault=NOT_FOUND)
    broken = Fault("SourceEmpty", Disposition.RETRY, "the source has no rows")
    found = verdicts(overlays=(failing,), source_fault=broken)[ConditionType.SOURCE_UNHEALTHY]
    assert found.reason == "SourceEmpty"
    assert found.message.index("no rows") < found.message.index("overlays[stock]")


@pytest.mark.parametrize(
    ("ago", "expected"), [(10 * MINUTE, (TRUE, "OnTarget")), (20 * MINUTE, (FALSE, "BehindTarget"))]
)
def test_an_overlay_that_was_not_read_for_long_is_not_fresh(
    ago: timedelta, expected: tuple[ConditionStatus, str]
) -> None:
    assert says(ConditionType.FRESH, overlays=(overlay(fault=NOT_FOUND, looked_at=NOW - ago),)) == expected


def test_an_overlay_that_never_came_is_not_fresh() -> None:
    never = overlay(record=None, fault=NOT_FOUND, looked_at=None)
    assert says(ConditionType.FRESH, overlays=(never,)) == (FALSE, "BehindTarget")
    (shown,) = status(overlays=(never,)).items[0].overlays
    assert (shown.name, shown.rows, shown.reason) == ("stock", 0, "SourceUnreachable")
