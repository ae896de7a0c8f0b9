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
from controller.api.v1alpha1.items import ItemsEntry, Overlay
from controller.api.v1alpha1.policies import Guards
from controller.faults import Disposition, Fault
from controller.planning.layout import partitions_of, recommended_shards
from controller.ports import preparing as documents
from controller.ports.sources import Version
from controller.reconcile import documents as convert
from controller.reconcile import overlays
from controller.reconcile.context import Context
from controller.reconcile.ledgers import LedgerBook, catalog_prefix
from controller.reconcile.overlays import OverlaySight
from controller.reconcile.source_credentials import read_credentials
from controller.scheduling import ledger as transitions

LOG = logging.getLogger(__name__)


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
    overlays: dict[str, OverlaySight] = field(default_factory=dict)

    def of(self, overlay: Overlay) -> OverlaySight:
        return self.overlays.setdefault(overlay.name, OverlaySight())


def configuration_digest(entry: ItemsEntry, layout: LayoutRecord | None) -> str:
    """Everything of the spec that decides what a row becomes. When it changes, the source is read anew."""
    wire = entry.model_dump(mode="json", by_alias=True, exclude={"interval", "evidence", "overlays"})
    laid_over = [each for each in entry.overlays if each.override is None]
    if laid_over:  # those for one language or country are not in the rows, and change without a read of the source
        wire["overlays"] = [overlays.overlay_digest(entry, each) for each in laid_over]
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
        due_at = self._full_due_at(catalog, catalog_id, ledger, requested)
        if not self._current(catalog, ledger):
            return due_at  # overlays are read together with the full source
        entry, items = catalog.spec.items[0], ledger.items[0]
        return min([due_at, *(overlays.due_at(items, entry, each, sight.of(each), now) for each in entry.overlays)])

    def _current(self, catalog: Catalog, ledger: LedgerContent) -> bool:
        """Tell whether the rows are what the spec makes of the sources."""
        refresh = ledger.items[0].refresh if ledger.items else None
        digest = configuration_digest(catalog.spec.items[0], ledger.layout)
        return refresh is not None and refresh.configuration_digest == digest

    def _full_due_at(self, catalog: Catalog, catalog_id: str, ledger: LedgerContent, requested: str | None) -> datetime:
        """When the full source is to be looked at next."""
        now = self._context.clock.now()
        sight = self.sight(catalog_id)
        entry = catalog.spec.items[0]
        items = ledger.items[0] if ledger.items else None
        if sight.retry_at is not None:
            return sight.retry_at if requested in (None, sight.handled_request) else now
        if items is None or items.refresh is None or items.refresh.judge_again:
            return now
        if items.refresh.configuration_digest != configuration_digest(entry, ledger.layout):
            return now
        if requested is not None and requested != sight.handled_request:
            return now
        if self._undecided(catalog, ledger, sight) or overlays.locales_changed(items, entry):
            return now
        looked_at = sight.looked_at or items.looked_at
        moments = [now if looked_at is None else looked_at + entry.interval]
        if items.next_look_at is not None:
            moments.append(items.next_look_at)
        return min(moments)

    async def run(self, catalog: Catalog, catalog_id: str, requested: str | None) -> None:
        """One look, as a task of the runner. What went wrong is remembered and retried with back-off."""
        sight = self.sight(catalog_id)
        full = False
        try:
            ledger, full, together = await self._overlays_first(catalog, catalog_id, requested)
            if full:
                await self._look(catalog, catalog_id, ledger, requested, together)
        except Fault as fault:
            if fault.reason in ("LeaseLost", "LedgerUnavailable"):
                raise
            self._refuse(sight, fault, catalog.spec.items[0].interval)
        except Exception:  # a defect must not start the same look again at once
            LOG.exception("a look failed", extra={"object": str(catalog.key)})
            message = "the source could not be worked on, which is a defect; the operator's log has more"
            self._refuse(sight, Fault("PreparingFailed", Disposition.DEFECT, message), catalog.spec.items[0].interval)
        else:
            if full:
                sight.failures = 0
                sight.retry_at = None
        if requested is not None:
            sight.handled_request = requested

    def _refuse(self, sight: Sight, fault: Fault, interval: timedelta) -> None:
        now = self._context.clock.now()
        sight.refused = fault
        sight.failures += 1
        sight.retry_at = fault.retry_at or now + overlays.backoff(sight.failures, interval)
        LOG.warning("the source was not accepted", extra={"reason": fault.reason, "detail": fault.message})

    async def _overlays_first(
        self, catalog: Catalog, catalog_id: str, requested: str | None
    ) -> tuple[LedgerContent, bool, tuple[Overlay, ...]]:
        """Lay over what overlays say now. Tell whether the full source is due, and the overlays to be read with it."""
        ledger = await self._begin(catalog, catalog_id)
        entry, items, sight = catalog.spec.items[0], ledger.items[0], self.sight(catalog_id)
        now = self._context.clock.now()
        full = self._full_due_at(catalog, catalog_id, ledger, requested) <= now
        if not self._current(catalog, ledger) or (full and self._forced(sight, requested)):
            return ledger, full, entry.overlays
        changed = [each for each in entry.overlays if await self._changed(catalog, items, each, sight)]
        if not changed:
            return ledger, full, ()
        try:
            applied = await self._refresh(catalog, catalog_id, ledger, read=False, forced=False, over=tuple(changed))
        except Fault as fault:
            if fault.reason in ("LeaseLost", "LedgerUnavailable"):
                raise
            for each in changed:
                self._refuse_overlay(sight, each, fault)
            return self._book.known(catalog_id) or ledger, full, ()
        ledger = self._book.known(catalog_id) or ledger
        return ledger, full or not applied, () if applied else tuple(changed)

    async def _changed(self, catalog: Catalog, items: ItemsRecord, overlay: Overlay, sight: Sight) -> bool:
        """Look at one overlay, if that is due."""
        now = self._context.clock.now()
        mine, entry = sight.of(overlay), catalog.spec.items[0]
        if overlays.due_at(items, entry, overlay, mine, now) > now:
            return False
        known = overlays.known_version(items, entry, overlay)
        if mine.refused is not None or known is None:
            return True
        try:
            credentials = await overlays.credentials_of(self._context, catalog.namespace, entry, overlay)
            look = await self._context.probe.look(overlay.source, credentials, known)
        except Fault as fault:
            self._refuse_overlay(sight, overlay, fault)
            return False
        if look.version is None:
            mine.accept(now)
        return look.version is not None

    def _refuse_overlay(self, sight: Sight, overlay: Overlay, fault: Fault) -> None:
        sight.of(overlay).refuse(overlay, fault, self._context.clock.now())
        extra = {"overlay": overlay.name, "reason": fault.reason, "detail": fault.message}
        LOG.warning("an overlay was not accepted", extra=extra)

    def _forced(self, sight: Sight, requested: str | None) -> bool:
        return requested is not None and requested != sight.handled_request

    async def _look(
        self,
        catalog: Catalog,
        catalog_id: str,
        ledger: LedgerContent,
        requested: str | None,
        over: tuple[Overlay, ...],
    ) -> None:
        """Look at the full source, and read it together with overlays where these need that."""
        entry = catalog.spec.items[0]
        items = ledger.items[0]
        sight = self.sight(catalog_id)
        forced = self._forced(sight, requested)
        read = True
        if self._current(catalog, ledger) and not forced and sight.refused is None and not over:
            assert items.refresh is not None
            if not items.refresh.judge_again:
                known = Version(items.refresh.etag, items.refresh.last_modified)
                credentials = await read_credentials(self._context, catalog.namespace, entry)
                look = await self._context.probe.look(entry.source, credentials, known)
                read = look.version is not None
        now = self._context.clock.now()
        if not read and not self._compare_due(catalog, catalog_id, ledger, now):
            sight.looked_at = now
            return
        await self._refresh(catalog, catalog_id, ledger, read=read, forced=forced, over=over)

    def _compare_due(self, catalog: Catalog, catalog_id: str, ledger: LedgerContent, now: datetime) -> bool:
        """Whether a look that found nothing new still has something to decide."""
        items = ledger.items[0]
        if items.watching or self._undecided(catalog, ledger, self.sight(catalog_id)):
            return True
        if overlays.locales_changed(items, catalog.spec.items[0]):
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

    async def _credentials(
        self, catalog: Catalog, sight: Sight, over: tuple[Overlay, ...], *, read: bool
    ) -> tuple[documents.SourceCredentials, list[Overlay]]:
        """Read what the sources of a step need; an overlay whose credentials are missing is left out of it."""
        entry = catalog.spec.items[0]
        credentials = documents.SourceCredentials()
        if read:
            credentials = await read_credentials(self._context, catalog.namespace, entry)
            credentials = await self._context.probe.authorise(entry.source, credentials)
        found: dict[str, documents.SourceCredentials] = {}
        usable = []
        for each in over:
            try:
                own = await overlays.credentials_of(self._context, catalog.namespace, entry, each)
                found[each.name] = await self._context.probe.authorise(each.source, own)
                usable.append(each)
            except Fault as fault:
                self._refuse_overlay(sight, each, fault)
        return credentials.model_copy(update={"overlays": found}), usable

    async def _refresh(
        self,
        catalog: Catalog,
        catalog_id: str,
        ledger: LedgerContent,
        *,
        read: bool,
        forced: bool,
        over: tuple[Overlay, ...] = (),
    ) -> bool:
        """Run one step. False: what the overlays say needs a read of the full source."""
        entry = catalog.spec.items[0]
        sight = self.sight(catalog_id)
        credentials, readable = await self._credentials(catalog, sight, over, read=read)
        if over and not readable and not read:
            return True
        if read or readable:
            ledger = await self._book.change(catalog_id, _next_sequence)
        items = ledger.items[0]
        now = self._context.clock.now()
        asked = self._asked(catalog, ledger)
        request = documents.RefreshRequest(
            store=self._context.store.url,
            prefix=self._prefix(catalog_id, ledger, items.sequence),
            catalog_id=catalog_id,
            now=now,
            items=entry,
            configuration_digest=configuration_digest(entry, ledger.layout),
            sequence=items.sequence,
            read=read,
            accept_went_back=forced or items.went_back_count >= overlays.WENT_BACK_ACCEPTED_AFTER,
            interval=entry.interval,
            layout_id=ledger.layout.id if ledger.layout is not None else 1,
            partitions=tuple(convert.partition(record) for record in ledger.partitions),
            previous=convert.refresh_head(items.refresh) if items.refresh is not None else None,
            guard=convert.guard_policy(catalog.spec, ledger, now, asked.approved),
            allowed_networks=self._context.settings.allow_source_network,
            source_roots=tuple(
                documents.SourceRoot(name=name, directory=str(path))
                for name, path in sorted(self._context.settings.source_roots.items())
            ),
            overlays=tuple(overlays.request_of(items, entry, each, forced=forced) for each in readable),
        )
        result = await self._context.preparing.run(request, credentials)
        if isinstance(result, documents.FailedStep):
            raise Fault(result.reason, Disposition.RETRY, result.message)
        assert isinstance(result, documents.RefreshResult)
        clean_at = self._clean_at(catalog_id, ledger, readable, now, read=read or not readable)
        await self._note_overlays(catalog, catalog_id, result)
        if result.refused is not None:
            await self._note_went_back(catalog_id, result.refused)
            raise Fault(result.refused.reason, Disposition.RETRY, result.refused.message)
        if result.needs_read:
            return False
        sight.tried = asked
        await self._accept(catalog, catalog_id, ledger, result, clean_at, now, looked=read or not readable)
        return True

    def _clean_at(
        self, catalog_id: str, ledger: LedgerContent, over: list[Overlay], now: datetime, *, read: bool
    ) -> datetime:
        """When what is found now was surely not there yet: at the last look before."""
        sight = self.sight(catalog_id)
        full = sight.looked_at or ledger.items[0].looked_at
        moments = [full] if read else []
        moments += [sight.of(each).looked_at for each in over]
        return min((each for each in moments if each is not None), default=now)

    async def _note_overlays(self, catalog: Catalog, catalog_id: str, result: documents.RefreshResult) -> None:
        """Remember which overlays were read, and which were refused and why."""
        entry, sight = catalog.spec.items[0], self.sight(catalog_id)
        by_name = {each.name: each for each in entry.overlays}
        for each in result.overlays:
            if each.refused is None:
                sight.of(by_name[each.name]).accept(self._context.clock.now())
            else:
                fault = Fault(each.refused.reason, Disposition.RETRY, each.refused.message)
                self._refuse_overlay(sight, by_name[each.name], fault)

        def transition(ledger: LedgerContent) -> LedgerContent:
            noted = overlays.with_results(ledger.items[0], entry, result.overlays)
            return _with_items(ledger, noted) if noted != ledger.items[0] else ledger

        if result.overlays:
            await self._book.change(catalog_id, transition)

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
        clean_at: datetime,
        now: datetime,
        *,
        looked: bool,
    ) -> None:
        """Name the refresh in the ledger. The first one also decides the number of shards, once."""
        assert result.head is not None
        sight = self.sight(catalog_id)
        if looked:
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
        await self._book.change(
            catalog_id, lambda ledger: _accepted(ledger, seen, result, wanted, now, clean_at, looked=looked)
        )

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
    *,
    looked: bool,
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
            "next_look_at": now if stale else result.next_look_at,
            "held": HeldRecord(**held.model_dump()) if held is not None else None,
            "watching": result.watching,
            **({"looked_at": now, "went_back_digest": None, "went_back_count": 0} if looked else {}),
        }
    )
    pending = {counts.index: convert.pending_counts(counts) for counts in result.pending}
    rows = {part.index: part.rows for part in head.partitions}
    compared = {record.index: transitions.mark(record) for record in seen.partitions}

    def change(record: PartitionRecord) -> PartitionRecord:
        if transitions.mark(record) != compared.get(record.index):
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
    return tuple(transitions.mark(record) for record in ledger.partitions)
