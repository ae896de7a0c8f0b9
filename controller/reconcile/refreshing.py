"""Looking at sources: one refresh at a time per catalog, in the child process, its result in the ledger.

A look is a conditional request by the operator itself; only a change starts the child. A look that finds nothing new
still counts: an id that is absent in two complete looks may leave.
"""

import hashlib
import json
import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from controller.api.v1alpha1.catalog import Catalog
from controller.api.v1alpha1.catalog_ledger import (
    HeldRecord,
    ItemsRecord,
    LayoutRecord,
    LedgerContent,
    PartitionRecord,
    PendingCounts,
)
from controller.api.v1alpha1.deletion_approval import DeletionApproval
from controller.api.v1alpha1.items import ItemsEntry
from controller.api.v1alpha1.policies import Guards
from controller.faults import Disposition, Fault
from controller.planning.layout import partitions_of, recommended_shards
from controller.ports import preparing as documents
from controller.ports.sources import Version
from controller.reconcile import documents as convert
from controller.reconcile.context import Context
from controller.reconcile.ledgers import LedgerBook, catalog_prefix
from controller.reconcile.source_credentials import read_credentials
from controller.scheduling import ledger as transitions

LOG = logging.getLogger(__name__)

WENT_BACK_ACCEPTED_AFTER = 3
"""Equal reads of an older version after which it is believed."""
RETRY_MIN = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Tried:
    """What the guard decides by, beside the rows."""

    approved: tuple[str, ...]
    held: str
    """Digest of the set that was held, or empty."""
    guards: Guards


@dataclass(slots=True)
class Sight:
    """What this process remembers of a catalog's source beyond the ledger. Lost at restart, found again at a look."""

    looked_at: datetime | None = None
    refused: Fault | None = None
    failures: int = 0
    retry_at: datetime | None = None
    checks: tuple[documents.RuleCount, ...] | None = None
    """None: this process has not compared yet; what status says of it stays."""
    handled_request: str | None = None
    used_approvals: dict[str, int] = field(default_factory=dict)
    """Digest → items released, for the status of the approvals."""
    tried: Tried | None = None
    """What the guard was asked with last: once is enough."""


def configuration_digest(entry: ItemsEntry, layout: LayoutRecord | None) -> str:
    """Everything of the spec that decides what a row becomes. When it changes, the source is read anew."""
    wire = entry.model_dump(mode="json", by_alias=True, exclude={"interval", "evidence"})
    shards = layout.shards if layout is not None else 0
    text = json.dumps([wire, shards, documents.FORMAT_VERSION], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def valid_approvals(context: Context, catalog: Catalog, ledger: LedgerContent) -> tuple[str, ...]:
    """Digests that people have approved, that have not expired, and that are still held."""
    now = context.clock.now()
    held = ledger.items[0].held if ledger.items else None
    if held is None:
        return ()
    digests = {
        approval.spec.digest
        for approval in context.objects.all(DeletionApproval, catalog.namespace)
        if approval.spec.catalog_ref.name == catalog.name
        and approval.spec.expires_at > now
        and not approval.metadata.deleting
    }
    return tuple(sorted(digests - set(ledger.used_approvals)))


class Refreshing:
    def __init__(self, context: Context, book: LedgerBook) -> None:
        self._context = context
        self._book = book
        self._sights: dict[str, Sight] = {}

    def sight(self, catalog_id: str) -> Sight:
        return self._sights.setdefault(catalog_id, Sight())

    def due_at(self, catalog: Catalog, catalog_id: str, ledger: LedgerContent, requested: str | None) -> datetime:
        """When the source is to be looked at next; not later than now means now."""
        now = self._context.clock.now()
        sight = self.sight(catalog_id)
        entry = catalog.spec.items[0]
        items = ledger.items[0] if ledger.items else None
        if sight.retry_at is not None:
            return sight.retry_at if requested in (None, sight.handled_request) else now
        if items is None or items.refresh is None:
            return now
        if items.refresh.configuration_digest != configuration_digest(entry, ledger.layout):
            return now
        if requested is not None and requested != sight.handled_request:
            return now
        if self._undecided(catalog, ledger, sight):
            return now
        looked_at = sight.looked_at or items.looked_at
        moments = [now if looked_at is None else looked_at + entry.interval]
        if items.next_look_at is not None:
            moments.append(items.next_look_at)
        return min(moments)

    async def run(self, catalog: Catalog, catalog_id: str, requested: str | None) -> None:
        """One look, as a task of the runner. What went wrong is remembered and retried with back-off."""
        sight = self.sight(catalog_id)
        try:
            await self._look(catalog, catalog_id, requested)
        except Fault as fault:
            if fault.reason in ("LeaseLost", "LedgerUnavailable"):
                raise
            self._refuse(sight, fault, catalog.spec.items[0].interval)
        except Exception:  # a defect must not start the same look again at once
            LOG.exception("a look failed", extra={"object": str(catalog.key)})
            message = "the source could not be worked on, which is a defect; the operator's log has more"
            self._refuse(sight, Fault("PreparingFailed", Disposition.DEFECT, message), catalog.spec.items[0].interval)
        else:
            sight.failures = 0
            sight.retry_at = None
        if requested is not None:
            sight.handled_request = requested

    def _refuse(self, sight: Sight, fault: Fault, interval: timedelta) -> None:
        now = self._context.clock.now()
        sight.refused = fault
        sight.failures += 1
        backoff = min(RETRY_MIN * 2 ** min(sight.failures - 1, 8), max(interval, RETRY_MIN))
        sight.retry_at = fault.retry_at or now + backoff
        LOG.warning("the source was not accepted", extra={"reason": fault.reason, "detail": fault.message})

    async def _look(self, catalog: Catalog, catalog_id: str, requested: str | None) -> None:
        ledger = await self._begin(catalog, catalog_id)
        entry = catalog.spec.items[0]
        items = ledger.items[0]
        sight = self.sight(catalog_id)
        forced = requested is not None and requested != sight.handled_request
        digest = configuration_digest(entry, ledger.layout)
        current = items.refresh is not None and items.refresh.configuration_digest == digest
        read = True
        if current and not forced and sight.refused is None:
            assert items.refresh is not None
            known = Version(items.refresh.etag, items.refresh.last_modified)
            credentials = await read_credentials(self._context, catalog.namespace, entry)
            look = await self._context.probe.look(entry.source, credentials, known)
            read = look.version is not None
        now = self._context.clock.now()
        if not read and not self._compare_due(catalog, catalog_id, ledger, now):
            sight.looked_at = now
            return
        await self._refresh(catalog, catalog_id, ledger, read=read, forced=forced)

    def _compare_due(self, catalog: Catalog, catalog_id: str, ledger: LedgerContent, now: datetime) -> bool:
        """Whether a look that found nothing new still has something to decide."""
        items = ledger.items[0]
        if items.watching or self._undecided(catalog, ledger, self.sight(catalog_id)):
            return True
        return items.next_look_at is not None and items.next_look_at <= now

    def _undecided(self, catalog: Catalog, ledger: LedgerContent, sight: Sight) -> bool:
        """Tell whether the guard could decide otherwise now: by another approval, or by other limits."""
        asked = self._asked(catalog, ledger)
        return bool(asked.approved or asked.held) and sight.tried != asked

    def _asked(self, catalog: Catalog, ledger: LedgerContent) -> Tried:
        approved = valid_approvals(self._context, catalog, ledger)
        return Tried(approved, _held_digest(ledger), catalog.spec.guards)

    async def _begin(self, catalog: Catalog, catalog_id: str) -> LedgerContent:
        """See to it that the ledger knows the items entry and has partitions to refresh into."""
        name = catalog.spec.items[0].name
        shards = catalog.spec.sharding.shards or 1

        def transition(ledger: LedgerContent) -> LedgerContent:
            update: dict[str, object] = {}
            if not ledger.items:
                update["items"] = (ItemsRecord(name=name),)
            elif ledger.items[0].name != name:
                update["items"] = (ledger.items[0].model_copy(update={"name": name}), *ledger.items[1:])
            if not ledger.partitions:
                update["partitions"] = tuple(
                    PartitionRecord(index=index, shard=f"{catalog.name}-1-{index}", slot_from=first, slot_to=last)
                    for index, (first, last) in enumerate(partitions_of(shards))
                )
            return ledger.model_copy(update=update) if update else ledger

        return await self._book.change(catalog_id, transition)

    async def _refresh(
        self, catalog: Catalog, catalog_id: str, ledger: LedgerContent, *, read: bool, forced: bool
    ) -> None:
        entry = catalog.spec.items[0]
        if read:
            ledger = await self._book.change(catalog_id, _next_sequence)
        items = ledger.items[0]
        now = self._context.clock.now()
        asked = self._asked(catalog, ledger)
        credentials = None
        if read:
            credentials = await read_credentials(self._context, catalog.namespace, entry)
            credentials = await self._context.probe.authorise(entry.source, credentials)
        request = documents.RefreshRequest(
            store=self._context.store.url,
            prefix=self._prefix(catalog_id, ledger, items.sequence),
            catalog_id=catalog_id,
            now=now,
            items=entry,
            configuration_digest=configuration_digest(entry, ledger.layout),
            sequence=items.sequence,
            read=read,
            accept_went_back=forced or items.went_back_count >= WENT_BACK_ACCEPTED_AFTER,
            interval=entry.interval,
            layout_id=ledger.layout.id if ledger.layout is not None else 1,
            partitions=tuple(convert.partition(record) for record in ledger.partitions),
            previous=convert.refresh_head(items.refresh) if items.refresh is not None else None,
            guard=convert.guard_policy(catalog.spec, ledger, now, asked.approved),
            allowed_networks=self._context.settings.allow_source_networks,
            source_roots=tuple(
                documents.SourceRoot(name=name, directory=str(path))
                for name, path in sorted(self._context.settings.source_roots.items())
            ),
        )
        result = await self._context.preparing.run(request, credentials)
        if isinstance(result, documents.FailedStep):
            raise Fault(result.reason, Disposition.RETRY, result.message)
        assert isinstance(result, documents.RefreshResult)
        if result.refused is not None:
            await self._note_went_back(catalog_id, result.refused)
            raise Fault(result.refused.reason, Disposition.RETRY, result.refused.message)
        self.sight(catalog_id).tried = asked
        await self._accept(catalog, catalog_id, ledger, result, now)

    async def _note_went_back(self, catalog_id: str, refused: documents.RefusedRead) -> None:
        def transition(ledger: LedgerContent) -> LedgerContent:
            items = ledger.items[0]
            if refused.reason != "SourceWentBack":
                return ledger
            same = items.went_back_digest == refused.digest
            update = {"went_back_digest": refused.digest, "went_back_count": items.went_back_count + 1 if same else 1}
            return _with_items(ledger, items.model_copy(update=update))

        await self._book.change(catalog_id, transition)

    async def _accept(
        self,
        catalog: Catalog,
        catalog_id: str,
        seen: LedgerContent,
        result: documents.RefreshResult,
        now: datetime,
    ) -> None:
        """Name the refresh in the ledger. The first one also decides the number of shards, once."""
        assert result.head is not None
        sight = self.sight(catalog_id)
        clean_at = sight.looked_at or seen.items[0].looked_at or now
        sight.looked_at = now
        sight.refused = None
        sight.checks = result.checks
        wanted = catalog.spec.sharding.shards or recommended_shards(result.head.valid)
        if seen.layout is None and wanted != len(seen.partitions):
            await self._book.change(catalog_id, lambda ledger: _lay_out(ledger, catalog.name, wanted))
            sight.looked_at = None
            return
        held_before = seen.items[0].held
        for digest in result.released_digests:
            released = held_before.count if held_before is not None and held_before.digest == digest else 0
            sight.used_approvals[digest] = released
        await self._book.change(catalog_id, lambda ledger: _accepted(ledger, seen, result, wanted, now, clean_at))

    def _prefix(self, catalog_id: str, ledger: LedgerContent, sequence: int) -> str:
        nonce = f"{self._context.rng.getrandbits(32):08x}"
        return f"{catalog_prefix(catalog_id)}/{ledger.epoch:08d}/refresh-{sequence:010d}-{nonce}"


def _held_digest(ledger: LedgerContent) -> str:
    held = ledger.items[0].held if ledger.items else None
    return held.digest if held is not None else ""


def _next_sequence(ledger: LedgerContent) -> LedgerContent:
    """Handed out before the read, so that no two reads ever share a number."""
    items = ledger.items[0]
    return _with_items(ledger, items.model_copy(update={"sequence": items.sequence + 1}))


def _with_items(ledger: LedgerContent, items: ItemsRecord) -> LedgerContent:
    return ledger.model_copy(update={"items": (items, *ledger.items[1:])})


def _lay_out(ledger: LedgerContent, catalog: str, shards: int) -> LedgerContent:
    """Partitions for a number of shards that was not known before the first read. Nothing was sent yet."""
    partitions = tuple(
        PartitionRecord(index=index, shard=f"{catalog}-1-{index}", slot_from=first, slot_to=last)
        for index, (first, last) in enumerate(partitions_of(shards))
    )
    return ledger.model_copy(update={"partitions": partitions, "layout": LayoutRecord(shards=shards)})


def _accepted(
    ledger: LedgerContent,
    seen: LedgerContent,
    result: documents.RefreshResult,
    shards: int,
    now: datetime,
    clean_at: datetime,
) -> LedgerContent:
    """Name the refresh. What waits now may have changed right after the look before: its age counts from there."""
    head = result.head
    assert head is not None
    layout = ledger.layout or LayoutRecord(shards=shards)
    items = ledger.items[0]
    stale = _heads(ledger) != _heads(seen)
    held = result.held
    items = items.model_copy(
        update={
            "refresh": convert.refresh_record(head, layout.id),
            "looked_at": now,
            "next_look_at": now if stale else result.next_look_at,
            "held": HeldRecord(**held.model_dump()) if held is not None else None,
            "watching": result.watching,
            "went_back_digest": None,
            "went_back_count": 0,
        }
    )
    pending = {counts.index: convert.pending_counts(counts) for counts in result.pending}
    rows = {part.index: part.rows for part in head.partitions}
    compared = {record.index: record.snapshot for record in seen.partitions}

    def change(record: PartitionRecord) -> PartitionRecord:
        if record.snapshot != compared.get(record.index):
            # Counted against an older head: what was acknowledged meanwhile would seem to wait still, and be sent
            # again. The look that follows at once counts anew.
            return record.model_copy(update={"desired_rows": rows.get(record.index, 0)})
        counts = transitions.since(record.pending, pending.get(record.index, PendingCounts()), clean_at)
        return record.model_copy(update={"pending": counts, "desired_rows": rows.get(record.index, 0)})

    changed = transitions.map_partitions(ledger, rows, change)
    at_meta = sum(record.pending.items_at_meta for record in changed.partitions)
    guard = transitions.count_guard(
        ledger.guard, now, leaving=result.newly_leaving, unsellable=result.newly_unsellable, items=at_meta
    )
    for digest in result.released_digests:
        changed = transitions.use_approval(changed, digest)
    changed = changed.model_copy(update={"layout": layout, "guard": guard})
    return _with_items(changed, items)


def _heads(ledger: LedgerContent) -> tuple[str | None, ...]:
    return tuple(record.snapshot for record in ledger.partitions)
