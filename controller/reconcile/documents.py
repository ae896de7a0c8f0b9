"""From the ledger to the documents of a step and back: the same facts in the words of each side."""

from datetime import datetime

from controller.api.v1alpha1.catalog import CatalogSpec
from controller.api.v1alpha1.catalog_ledger import (
    LedgerContent,
    LocaleDeclaredRecord,
    LocaleHeadRecord,
    LocaleRecord,
    OverlayRecord,
    PartitionRecord,
    PendingCounts,
    RefreshRecord,
)
from controller.api.v1alpha1.policies import Guards
from controller.ports.locales import Locale, LocaleDeclared, LocaleHead
from controller.ports.preparing import (
    GuardPolicy,
    OverlayHead,
    Partition,
    PartitionDesired,
    Pending,
    PriceChangePolicy,
    RefreshHead,
)
from controller.scheduling.ledger import Heads, roll_guard


def partition(record: PartitionRecord) -> Partition:
    return Partition(
        index=record.index,
        slot_from=record.slot_from,
        slot_to=record.slot_to,
        snapshot=record.snapshot,
        payload=record.payload,
        locales=tuple(LocaleHead(**each.model_dump()) for each in record.locales),
    )


def refresh_head(record: RefreshRecord) -> RefreshHead:
    desired = tuple(
        PartitionDesired(index=index, desired=key, rows=rows)
        for index, (key, rows) in enumerate(zip(record.desired, record.desired_rows, strict=True))
    )
    return RefreshHead(
        sequence=record.sequence,
        read_at=record.read_at,
        digest=record.digest,
        etag=record.etag,
        last_modified=record.last_modified,
        configuration_digest=record.configuration_digest,
        partitions=desired,
        departures=record.departures,
        findings=record.findings,
        superseded_digests=record.superseded_digests,
        rows=record.rows,
        valid=record.valid,
        invalid=record.invalid,
        overlays=tuple(OverlayHead(**each.model_dump()) for each in record.overlays),
        judge_again=record.judge_again,
        locales=tuple(LocaleDeclared(**each.model_dump()) for each in record.locales),
    )


def refresh_record(head: RefreshHead, layout_id: int) -> RefreshRecord:
    by_index = sorted(head.partitions, key=lambda part: part.index)
    return RefreshRecord(
        sequence=head.sequence,
        read_at=head.read_at,
        digest=head.digest,
        etag=head.etag,
        last_modified=head.last_modified,
        configuration_digest=head.configuration_digest,
        desired=tuple(part.desired for part in by_index),
        desired_rows=tuple(part.rows for part in by_index),
        departures=head.departures,
        findings=head.findings,
        superseded_digests=head.superseded_digests,
        rows=head.rows,
        valid=head.valid,
        invalid=head.invalid,
        layout_id=layout_id,
        overlays=tuple(OverlayRecord(**each.model_dump()) for each in head.overlays),
        judge_again=head.judge_again,
        locales=tuple(LocaleDeclaredRecord(**each.model_dump()) for each in head.locales),
    )


def locale(record: LocaleRecord | None) -> Locale | None:
    return Locale(**record.model_dump()) if record is not None else None


def locale_record(found: Locale | None) -> LocaleRecord | None:
    return LocaleRecord(**found.model_dump()) if found is not None else None


def heads(found: Partition) -> Heads:
    locales = tuple(LocaleHeadRecord(**each.model_dump()) for each in found.locales)
    return Heads(found.snapshot, found.payload, locales)


def pending_counts(pending: Pending, others: PendingCounts | None = None) -> PendingCounts:
    """What a partition owes. `others`: counts that stay, where a step only counted values for one localization."""
    counted = PendingCounts(**pending.model_dump(exclude={"index"}))
    return counted if others is None else others.model_copy(update={"localized": counted.localized})


def guard_policy(
    spec: CatalogSpec | None, ledger: LedgerContent, now: datetime, approved: tuple[str, ...] = ()
) -> GuardPolicy:
    """Effective limits with what the ledger has counted. Without a spec (it is gone): the defaults."""
    guards = spec.guards if spec is not None else Guards()
    counts = roll_guard(ledger.guard, now)
    prices = guards.max_price_change
    return GuardPolicy(
        max_delete_percent=guards.max_delete_percent,
        always_allow=guards.always_allow,
        max_deletes=guards.max_deletes,
        max_out_of_stock_percent=guards.max_out_of_stock_percent,
        max_price_change=PriceChangePolicy(percent=prices.percent, of_items_percent=prices.of_items_percent)
        if prices is not None
        else None,
        out_of_stock_first=guards.out_of_stock_first,
        grace=guards.grace_period,
        counted_leaving_24h=sum(counts.leaving),
        counted_unsellable_24h=sum(counts.unsellable),
        items_max_7d=max(counts.items_max, default=0),
        approved_digests=approved,
    )
