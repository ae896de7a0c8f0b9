"""What a Catalog's status says: pure, from its ledger and what this process saw.

`Ready` is about existence, credentials and the first load; data never makes it False again. `Fresh` is about age.
Guards and sources have conditions of their own and never stall the resource.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from controller.api.conditions import ConditionType
from controller.api.v1alpha1.catalog import (
    Catalog,
    CatalogStatus,
    CatalogTotals,
    CheckResult,
    Derived,
    Drift,
    Fresh,
    HeldDeletions,
    ItemsStatus,
    Layout,
    LocalizedStatus,
    OverlayStatus,
)
from controller.api.v1alpha1.catalog_ledger import HeldRecord, LedgerContent, OverlayRecord, PartitionRecord
from controller.api.v1alpha1.sync_operation import ItemMessage
from controller.api.values import MESSAGE_LENGTH_MAX
from controller.faults import Disposition, Fault
from controller.planning.layout import recommended_shards
from controller.planning.verdicts import Verdict, absent, false, progress, retry_text, true, unknown
from controller.ports.preparing import RuleCount

STATUS_ENTRIES_MAX = 16
LEVELS = ("Error", "Warning", "Advice")
"""What a person fixes first; status is bounded, so advice goes first where there is too much to say."""
A_MOMENT = timedelta(seconds=1)
PASSING = (
    "MetaUnavailable",
    "RateLimited",
    "QuotaExhausted",
    "KubernetesUnavailable",
    "Conflict",
    "Suspended",
    "Progressing",
)
"""Faults that say nothing about the catalog itself."""


@dataclass(frozen=True, slots=True)
class OverlayView:
    """What is known of one overlay."""

    name: str
    interval: timedelta
    record: OverlayRecord | None
    """As the rows have it; None: they have nothing of it yet."""
    fault: Fault | None
    retry_at: datetime | None
    looked_at: datetime | None


@dataclass(frozen=True, slots=True)
class View:
    """Everything that the status of one Catalog is made of."""

    catalog: Catalog
    catalog_id: str | None
    ledger: LedgerContent | None
    fault: Fault | None
    source_fault: Fault | None
    source_retry_at: datetime | None
    looked_at: datetime | None
    onsite: bool | None
    drift: tuple[Drift, ...] | None
    """None: Meta's settings were not read yet."""
    not_comparable: tuple[str, ...]
    checks: tuple[RuleCount, ...] | None
    """None: not known since this process started."""
    derived: Derived | None
    refusals: tuple[ItemMessage, ...]
    """Meta's newest words about refused items."""
    handled_request: str | None
    suspended: bool
    now: datetime
    overlays: tuple[OverlayView, ...] = ()
    localized_refusals: tuple[ItemMessage, ...] = ()
    """Meta's newest words about values for a language or country."""


def summarize(view: View) -> tuple[CatalogStatus, tuple[Verdict, ...]]:
    """Return the status without conditions, and the verdicts that become its conditions."""
    kept = _not_seen_yet(view)
    verdicts = (
        *(() if kept and _passes(view.fault) else (_ready(view), _synced(view))),
        *(() if kept else (_fresh(view), *_held(view), _source(view), _issues(view), _restricted(view))),
        *progress(view.fault, working=not kept and not _loaded(view.ledger), message="the first load is under way"),
    )
    return _status(view), verdicts


def _not_seen_yet(view: View) -> bool:
    """Tell whether this process has not looked at it since its start: what was said before stays."""
    return view.ledger is None and view.catalog.status.catalog_id is not None and view.catalog.status_is_ours


def _passes(fault: Fault | None) -> bool:
    return fault is None or fault.reason in PASSING


def loaded_partitions(ledger: LedgerContent) -> tuple[PartitionRecord, ...]:
    return tuple(record for record in ledger.partitions if record.desired_rows or record.pending.items_at_meta)


def _loaded(ledger: LedgerContent | None) -> bool:
    if ledger is None or not ledger.items or ledger.layout is None:
        return False
    if ledger.items[0].refresh is None and not any(record.last_full_at for record in ledger.partitions):
        return False
    return all(record.last_full_at is not None for record in loaded_partitions(ledger))


def _ready(view: View) -> Verdict:
    fault = view.fault
    if fault is not None and not _passes(fault):
        return false(ConditionType.READY, fault.reason, fault.message + retry_text(view.now, fault.retry_at))
    if _loaded(view.ledger):
        return true(ConditionType.READY, "Available", f"catalog {view.catalog_id} is loaded")
    if view.source_fault is not None:
        message = _of_source(view, view.source_fault) + retry_text(view.now, view.source_retry_at)
        return false(ConditionType.READY, view.source_fault.reason, message)
    if fault is not None and fault.reason != "Progressing":
        return false(ConditionType.READY, fault.reason, fault.message + retry_text(view.now, fault.retry_at))
    return unknown(ConditionType.READY, "Progressing", "the first load is under way")


def _synced(view: View) -> Verdict:
    if view.suspended:
        return unknown(ConditionType.SYNCED, "Suspended", "suspended: settings are not kept")
    if view.fault is not None and view.fault.disposition in (Disposition.STALLED, Disposition.DEFECT):
        return false(ConditionType.SYNCED, view.fault.reason, view.fault.message)
    if view.drift is None:
        return unknown(ConditionType.SYNCED, "Progressing", "Meta's settings were not read yet")
    if view.drift:
        fields = ", ".join(entry.field for entry in view.drift)
        return false(ConditionType.SYNCED, "DriftDetected", f"Meta differs in {fields}; see status.drift")
    if view.not_comparable:
        fields = ", ".join(view.not_comparable)
        return true(ConditionType.SYNCED, "NotComparable", f"Meta changes {fields} after accepting it")
    return true(ConditionType.SYNCED, "InSync", "")


def _fresh(view: View) -> Verdict:
    ledger = view.ledger
    if ledger is None or not _loaded(ledger):
        return false(ConditionType.FRESH, "BehindTarget", "the first load is not done")
    promises = view.catalog.spec.freshness
    behind = []
    full_at = _oldest(record.last_full_at for record in loaded_partitions(ledger))
    if full_at is not None and view.now - full_at > promises.full:
        behind.append(f"the last full send began at {_clock(full_at)}, promised every {_text(promises.full)}")
    counts = [record.pending for record in ledger.partitions]
    static = _oldest(count.static_since for count in counts)
    created = _oldest(count.creations_since for count in counts)
    changed = min((moment for moment in (static, created) if moment is not None), default=None)
    if changed is not None and view.now - changed > promises.items:
        number = sum(count.creations + count.static for count in counts)
        behind.append(f"{number:,} new or changed items wait since {_clock(changed)}")
    volatile = _oldest(count.volatile_since for count in counts)
    if volatile is not None and view.now - volatile > promises.volatile:
        number = sum(count.volatile for count in counts)
        behind.append(f"price or stock of {number:,} items waits since {_clock(volatile)}")
    patience = max(promises.volatile, 2 * view.catalog.spec.items[0].interval)
    if view.source_fault is not None and (view.looked_at is None or view.now - view.looked_at > patience):
        since = _clock(view.looked_at) if view.looked_at is not None else "the start"
        behind.append(f"the source was not read since {since}: {view.source_fault.message}")
    behind += [
        f"overlay {each.name} was not read since {_clock(each.looked_at) if each.looked_at else 'the start'}"
        for each in view.overlays
        if each.fault is not None and (each.looked_at is None or view.now - each.looked_at > _patience(view, each))
    ]
    if behind:
        return false(ConditionType.FRESH, "BehindTarget", "; ".join(behind))
    return true(ConditionType.FRESH, "OnTarget", "")


def breaks_at(view: View) -> datetime | None:
    """The next moment at which a promise of freshness breaks if nothing happens: worth a look of its own."""
    if view.ledger is None or not _loaded(view.ledger):
        return None
    promises = view.catalog.spec.freshness
    moments = [record.last_full_at + promises.full for record in loaded_partitions(view.ledger) if record.last_full_at]
    for record in view.ledger.partitions:
        counts = record.pending
        moments += [since + promises.items for since in (counts.static_since, counts.creations_since) if since]
        moments += [since + promises.volatile for since in (counts.volatile_since,) if since]
    if view.source_fault is not None and view.looked_at is not None:
        moments.append(view.looked_at + max(promises.volatile, 2 * view.catalog.spec.items[0].interval))
    moments += [each.looked_at + _patience(view, each) for each in view.overlays if each.fault and each.looked_at]
    return min((moment + A_MOMENT for moment in moments if moment + A_MOMENT > view.now), default=None)


def _patience(view: View, overlay: OverlayView) -> timedelta:
    return max(view.catalog.spec.freshness.volatile, 2 * overlay.interval)


def _held(view: View) -> tuple[Verdict, Verdict]:
    """What the guards hold: items that would leave or turn unsellable, and prices. One approval names all of it."""
    held = _held_record(view)
    if held is None:
        return absent(ConditionType.DELETIONS_HELD), absent(ConditionType.PRICES_HELD)
    leaving, prices = _held_items(view, held), _held_prices(view, held)
    approval = (
        f", e.g. {', '.join(held.sample_ids[:3])}; everything else was sent. "
        "If that is meant, apply: {apiVersion: metacatalog.dev/v1alpha1, kind: DeletionApproval, "
        f"metadata: {{name: {view.catalog.name}-{held.digest[7:15]}, namespace: {view.catalog.namespace}}}, "
        f"spec: {{catalogRef: {{name: {view.catalog.name}}}, digest: '{held.digest}', "
        "approvedBy: <you>, expiresAt: <when>}}"
    )
    all_of_it = " and ".join(part for part in (leaving, prices) if part) + approval
    return (
        true(ConditionType.DELETIONS_HELD, "DeletionGuard", all_of_it)
        if leaving
        else absent(ConditionType.DELETIONS_HELD),
        true(ConditionType.PRICES_HELD, "PriceGuard", all_of_it) if prices else absent(ConditionType.PRICES_HELD),
    )


def _held_items(view: View, held: HeldRecord) -> str:
    spec = view.catalog.spec.guards
    parts = []
    if held.leaving:
        limit = f"limit {spec.max_delete_percent} %"
        parts.append(
            f"{held.leaving:,} of {held.of:,} items would be deleted ({_percent(held.leaving, held.of)}, {limit})"
        )
    if held.unsellable:
        limit = f"limit {spec.max_out_of_stock_percent} %"
        share = _percent(held.unsellable, held.of)
        parts.append(f"{held.unsellable:,} of {held.of:,} items would go out of stock ({share}, {limit})")
    return " and ".join(parts)


def _held_prices(view: View, held: HeldRecord) -> str:
    limit = view.catalog.spec.guards.max_price_change
    if not held.prices or limit is None:
        return ""
    share = f"{_percent(held.prices, held.of)}, limit {limit.of_items_percent} %"
    return f"{held.prices:,} of {held.of:,} items would change their price by more than {limit.percent} % ({share})"


def _source(view: View) -> Verdict:
    """Sources that cannot be believed: the full one, else the overlays, by name."""
    parts = []
    if view.source_fault is not None:
        parts.append((view.source_fault.reason, _of_source(view, view.source_fault), view.source_retry_at))
    parts += [
        (each.fault.reason, _of_overlay(view, each, each.fault), each.retry_at)
        for each in view.overlays
        if each.fault is not None
    ]
    if not parts:
        return absent(ConditionType.SOURCE_UNHEALTHY)
    messages = [f"{said}; the last good state stays{retry_text(view.now, retry_at)}" for _, said, retry_at in parts]
    return true(ConditionType.SOURCE_UNHEALTHY, parts[0][0], ". ".join(messages)[:MESSAGE_LENGTH_MAX])


def _of_overlay(view: View, overlay: OverlayView, fault: Fault) -> str:
    where = f"{_entry(view)}.overlays[{overlay.name}]"
    return fault.message if fault.message.startswith("spec.") else f"{where}: {fault.message}"


def _of_source(view: View, fault: Fault) -> str:
    """Name the entry that is meant; where the fault names a field it is told as it is."""
    return fault.message if fault.message.startswith("spec.") else f"{_entry(view)}: {fault.message}"


def _entry(view: View) -> str:
    return f"spec.items[{view.catalog.spec.items[0].name}]"


def _issues(view: View) -> Verdict:
    totals = _totals(view)
    localized = _localized_refused(view)
    if not totals.invalid and not totals.refused and not localized:
        return absent(ConditionType.ITEM_ISSUES)
    parts = []
    if totals.invalid:
        errors = [check for check in view.checks or () if check.level == "Error"]
        detail = f": {errors[0].message} ({errors[0].count:,} rows, e.g. {_samples(errors[0])})" if errors else ""
        parts.append(f"{_counted(totals.invalid, 'row fails', 'rows fail')} our checks{detail}")
    if totals.refused:
        detail = (
            f": {view.refusals[0].message} (e.g. {', '.join(view.refusals[0].sample_ids[:3])})" if view.refusals else ""
        )
        parts.append(f"{_counted(totals.refused, 'item was', 'items were')} refused by Meta{detail}")
    if localized:
        said = view.localized_refusals
        detail = f": {said[0].message} (e.g. {', '.join(said[0].sample_ids[:3])})" if said else ""
        values = f"values of {_counted(localized, 'item', 'items')} for a language or country"
        parts.append(f"{values} were refused by Meta{detail}")
    return true(ConditionType.ITEM_ISSUES, "ItemsRefused", "; ".join(parts))


def _localized_refused(view: View) -> int:
    records = view.ledger.partitions if view.ledger is not None else ()
    return sum(each.refused for record in records for each in record.pending.localized or ())


def _counted(number: int, one: str, many: str) -> str:
    return f"1 {one}" if number == 1 else f"{number:,} {many}"


def _samples(check: RuleCount) -> str:
    return ", ".join(check.sample_ids[:3]) or "rows without an id"


def _restricted(view: View) -> Verdict:
    ledger = view.ledger
    kind = ConditionType.SENDING_RESTRICTED
    if ledger is None:
        return absent(kind)
    unexpected = next((record.unexpected for record in ledger.partitions if record.unexpected is not None), None)
    if unexpected is not None:
        message = f"{unexpected}; replaces are stopped, batches go on. Look at the catalog, then request a sync"
        return true(kind, "UnexpectedResult", message)
    if ledger.snapshot_lost_at is not None:
        return true(kind, "SnapshotLost", "the record of what Meta has was lost and was rebuilt; nothing is deleted")
    if ledger.rolled_back:
        return true(kind, "RolledBack", "ledger and store disagree; full sends delete nothing until they have run once")
    if ledger.followed:
        message = f"{len(ledger.followed)} sends were given up without an answer; their items are read back"
        return true(kind, "AbandonedOperation", message)
    return absent(kind)


def _status(view: View) -> CatalogStatus:
    before = view.catalog.status
    update: dict[str, object] = {"effective": view.catalog.spec.filled_in() or None}
    if view.catalog_id is not None:
        update |= {"catalog_id": view.catalog_id, "pending_create": None}
    if view.onsite is not None:
        update["onsite"] = view.onsite
    if view.drift is not None:
        update["drift"] = view.drift[:STATUS_ENTRIES_MAX]
    if view.derived is not None:
        update["derived"] = view.derived
    if view.handled_request is not None:
        update["last_handled_sync_at"] = view.handled_request
    if view.ledger is not None and view.ledger.items and view.ledger.items[0].refresh is not None:
        update |= _counts(view, view.ledger)
    if view.checks is not None:
        update["checks"] = tuple(
            CheckResult(
                rule=check.rule,
                level=check.level,
                count=check.count,
                sample_ids=check.sample_ids[:10],
                message=check.message[:MESSAGE_LENGTH_MAX],
            )
            for check in sorted(view.checks, key=lambda check: LEVELS.index(check.level))[:STATUS_ENTRIES_MAX]
        )
    return before.model_copy(update=update)


def _counts(view: View, ledger: LedgerContent) -> dict[str, object]:
    items = ledger.items[0]
    refresh = items.refresh
    assert refresh is not None
    held = _held_record(view)
    before = view.catalog.status.held
    update: dict[str, object] = {
        "totals": _totals(view),
        "items": (
            ItemsStatus(
                name=items.name,
                rows=refresh.rows,
                valid=refresh.valid,
                invalid=refresh.invalid,
                acknowledged=sum(record.pending.acknowledged for record in ledger.partitions),
                refused=sum(record.pending.refused for record in ledger.partitions),
                source_version=(refresh.etag or refresh.last_modified or refresh.digest)[:256],
                overlays=tuple(_overlay_status(view, each) for each in view.overlays),
            ),
        ),
        "fresh": _fresh_times(ledger),
        "held": None,
    }
    if ledger.layout is not None:
        update["layout"] = Layout(
            id=ledger.layout.id,
            shards=ledger.layout.shards,
            recommended_shards=recommended_shards(refresh.valid),
            slots_hash=ledger.layout.hash,
        )
    if held is not None:
        since = before.since if before is not None and before.digest == held.digest else view.now
        update["held"] = HeldDeletions(
            digest=held.digest, count=held.count, since=since, sample_ids=held.sample_ids[:10]
        )
    return update


def _overlay_status(view: View, overlay: OverlayView) -> OverlayStatus:
    record, fault = overlay.record, overlay.fault
    said = OverlayStatus(
        name=overlay.name,
        reason=fault.reason if fault is not None else None,
        message=(
            (fault.message + retry_text(view.now, overlay.retry_at))[:MESSAGE_LENGTH_MAX] if fault is not None else None
        ),
    )
    said = said.model_copy(update={"localized": _localized(view, overlay.name)})
    if record is None:
        return said
    return said.model_copy(
        update={
            "rows": record.rows,
            "items": max(record.ids - record.unknown, 0),
            "unknown": record.unknown,
            "unknown_sample_ids": record.sample_unknown,
            "source_version": (record.etag or record.last_modified or record.digest)[:256],
            "read_at": record.read_at,
        }
    )


def _localized(view: View, overlay: str) -> LocalizedStatus | None:
    """What became of the values for one language or country; None where the overlay's are for all."""
    assert view.ledger is not None
    records = [record.pending.localized or () for record in view.ledger.partitions]
    counts = [each for found in records for each in found if each.name == overlay]
    if not counts:
        return None
    return LocalizedStatus(
        items=sum(each.ids for each in counts),
        acknowledged=sum(each.acknowledged for each in counts),
        pending=sum(each.changes for each in counts),
        refused=sum(each.refused for each in counts),
    )


def _fresh_times(ledger: LedgerContent) -> Fresh:
    """When each promise was last known to hold: what waits bounds it, to the minute."""
    looked_at = ledger.items[0].looked_at
    counts = [record.pending for record in ledger.partitions]
    changed = [moment for count in counts for moment in (count.static_since, count.creations_since) if moment]
    volatile = [count.volatile_since for count in counts if count.volatile_since]
    return Fresh(
        full_at=_oldest(record.last_full_at for record in loaded_partitions(ledger)),
        items_at=min(changed, default=looked_at),
        volatile_at=min(volatile, default=looked_at),
    )


def _totals(view: View) -> CatalogTotals:
    ledger = view.ledger
    if ledger is None or not ledger.items or ledger.items[0].refresh is None:
        return view.catalog.status.totals or CatalogTotals()
    refresh = ledger.items[0].refresh
    refused = sum(record.pending.refused for record in ledger.partitions)
    return CatalogTotals(items=refresh.valid, invalid=refresh.invalid, refused=refused)


def _held_record(view: View) -> HeldRecord | None:
    return view.ledger.items[0].held if view.ledger is not None and view.ledger.items else None


def _oldest(moments: Iterable[datetime | None]) -> datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)


def _clock(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def _text(duration: timedelta) -> str:
    return f"{duration.total_seconds() / 3600:g} h"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "all"
