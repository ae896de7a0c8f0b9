"""FeedSchedule: makes SyncOperations when its slot is due or something waits; owns none of them."""

import logging
import re
from collections.abc import Callable
from datetime import datetime

from controller.api import names
from controller.api.conditions import ConditionType
from controller.api.resource import ObjectKey
from controller.api.v1alpha1.catalog import Catalog
from controller.api.v1alpha1.catalog_ledger import LedgerContent
from controller.api.v1alpha1.common import Method
from controller.api.v1alpha1.feed_schedule import FeedSchedule, ScheduledOperation
from controller.api.v1alpha1.policies import ManagementPolicy
from controller.api.v1alpha1.sync_operation import SyncOperation, SyncOperationSpec
from controller.api.values import ObjectRef
from controller.faults import Disposition, Fault
from controller.planning import children, dispatch
from controller.planning.retention import ended
from controller.planning.verdicts import Verdict, false, progress, retry_text, true, unknown
from controller.reconcile.context import Context
from controller.reconcile.ledgers import LedgerBook
from controller.reconcile.outcome import Outcome
from controller.reconcile.reporting import report
from controller.scheduling import cadence
from controller.scheduling import ledger as transitions

LOG = logging.getLogger(__name__)

NAME = re.compile(r"^(?P<base>.+)-(?P<number>\d+)$")


class FeedSchedules:
    def __init__(self, context: Context, book: LedgerBook, wake: Callable[[ObjectKey], None]) -> None:
        self._context = context
        self._wake = wake
        self._book = book

    async def reconcile(self, key: ObjectKey) -> Outcome:
        schedule = self._context.objects.get(FeedSchedule, key)
        if schedule is None or schedule.metadata.deleting:
            return Outcome()
        try:
            return await self._run(schedule)
        except Fault as fault:
            await self._report(schedule, fault, None, None)
            if fault.disposition is Disposition.STALLED:
                return Outcome(self._context.clock.now() + self._context.settings.timing.retry_max)
            raise

    async def _run(self, schedule: FeedSchedule) -> Outcome:
        catalog = self._catalog(schedule)
        ledger = self._ledger(catalog)
        now = self._context.clock.now()
        last = schedule.status.last_scheduled_at if schedule.status_is_ours else None
        created = schedule.metadata.creation_timestamp or now
        slot = cadence.next_slot(schedule.spec, last, created, now)
        if now - slot > schedule.spec.starting_deadline:  # dropped; what a promise needs is sent all the same
            last, slot = slot, cadence.next_slot(schedule.spec, slot, created, now)
        if ledger is None or self._paused(schedule, catalog):
            await self._report(schedule, None, slot, None)
            return Outcome()
        quiet = cadence.quiet_until(schedule.spec, schedule.spec.method, now)
        if quiet is not None:
            await self._report(schedule, None, quiet, None)
            return Outcome(quiet)
        situation = self._situation(schedule, catalog, ledger, slot)
        settle = self._context.settings.timing.settle
        planned = dispatch.plan(situation, ledger, catalog.spec.freshness, settle, now)
        made, retry_at = await self._make(schedule, catalog, ledger, planned, now)
        if planned.slot_done:
            last = slot
        upcoming = cadence.next_slot(schedule.spec, last, created, now)
        await self._report(schedule, None, upcoming, last, made, slot)
        return Outcome.earliest(planned.again_at, retry_at, upcoming if upcoming > now else None)

    def _catalog(self, schedule: FeedSchedule) -> Catalog:
        key = ObjectKey(Catalog.KIND, schedule.namespace, schedule.spec.catalog_ref.name)
        found = self._context.objects.get(Catalog, key)
        if found is None:
            message = f"there is no Catalog {key.name} in this namespace; make it or delete this schedule"
            raise Fault("CatalogNotFound", Disposition.STALLED, message)
        return found

    def _ledger(self, catalog: Catalog) -> LedgerContent | None:
        catalog_id = catalog.spec.catalog_id or (catalog.status.catalog_id if catalog.status_is_ours else None)
        ledger = self._book.known(catalog_id) if catalog_id is not None else None
        if ledger is None or ledger.owner is None or ledger.owner.uid != catalog.uid:
            return None
        return ledger

    def _paused(self, schedule: FeedSchedule, catalog: Catalog) -> bool:
        observing = catalog.spec.management_policy is ManagementPolicy.OBSERVE
        return schedule.spec.suspend or catalog.spec.suspend or observing or catalog.metadata.deleting

    def _situation(
        self, schedule: FeedSchedule, catalog: Catalog, ledger: LedgerContent, slot: datetime
    ) -> dispatch.Situation:
        wanted = schedule.spec.shards
        covered = tuple(record for record in ledger.partitions if wanted is None or record.shard in wanted)
        count = len(covered)
        method = Method(schedule.spec.method)
        return dispatch.Situation(
            method=method,
            partitions=tuple(record.index for record in covered),
            slot=slot,
            offsets=tuple(cadence.offset(schedule.spec, position, count) for position in range(count)),
            busy=self._busy(catalog, ledger, method),
            localizing=self._localizing(catalog, ledger),
            requested=self._requested(catalog),
        )

    def _requested(self, catalog: Catalog) -> str | None:
        """A sync request whose refresh is done, and which has not made its operations yet."""
        token = catalog.metadata.annotations.get(names.ANNOTATION_SYNC_REQUESTED_AT)
        if token is None or token != catalog.status.last_handled_sync_at:
            return None
        made = any(
            operation.metadata.annotations.get(names.ANNOTATION_SYNC_REQUESTED_AT) == token
            for operation in self._operations(catalog)
        )
        return None if made else token

    def _operations(self, catalog: Catalog) -> tuple[SyncOperation, ...]:
        return tuple(
            operation
            for operation in self._context.objects.all(SyncOperation, catalog.namespace)
            if operation.spec.catalog_ref.name == catalog.name
        )

    def _busy(self, catalog: Catalog, ledger: LedgerContent, method: Method) -> frozenset[int]:
        """Partitions for which an operation of this method waits or runs."""
        index = {record.shard: record.index for record in ledger.partitions}
        return frozenset(
            index[shard]
            for operation in self._operations(catalog)
            if operation.spec.method == method and not operation.spec.dry_run and not _over(operation)
            if operation.spec.overlay is None or transitions.claimed_by(ledger, operation.uid)
            for shard in operation.spec.shards
            if shard in index
        )

    def _localizing(self, catalog: Catalog, ledger: LedgerContent) -> frozenset[int]:
        """Partitions for which values for a language or country wait: these give way to items' own values."""
        index = {record.shard: record.index for record in ledger.partitions}
        return frozenset(
            index[shard]
            for operation in self._operations(catalog)
            if operation.spec.overlay is not None and not operation.spec.dry_run and not _over(operation)
            for shard in operation.spec.shards
            if shard in index
        )

    async def _make(
        self,
        schedule: FeedSchedule,
        catalog: Catalog,
        ledger: LedgerContent,
        planned: dispatch.Dispatch,
        now: datetime,
    ) -> tuple[str | None, datetime | None]:
        """Create what should exist; return the last name made and when a held-back attempt may be made."""
        attempts = tuple(_attempt(operation) for operation in self._operations(catalog))
        made: str | None = None
        waits: list[datetime] = []
        for proposal in planned.proposals:
            base = dispatch.name_base(catalog.name, proposal)
            number, earliest = dispatch.next_attempt(base, attempts, now)
            if number == 0:
                continue
            if earliest > now:
                waits.append(earliest)
                continue
            if made is None and not await self._still_there(schedule, catalog):
                return None, None
            await self._create(schedule, catalog, ledger, proposal, f"{base}-{number}")
            made = f"{base}-{number}"
        return made, min(waits, default=None)

    async def _still_there(self, schedule: FeedSchedule, catalog: Catalog) -> bool:
        """A live look before anything is made: the watch may be behind."""
        live_schedule = await self._context.cluster.get(FeedSchedule, schedule.key)
        live_catalog = await self._context.cluster.get(Catalog, catalog.key)
        if live_schedule is None or live_catalog is None:
            return False
        if live_schedule.uid != schedule.uid or live_catalog.uid != catalog.uid:
            return False
        if live_catalog.metadata.deleting or live_schedule.metadata.deleting:
            return False
        return not (live_schedule.spec.suspend or live_catalog.spec.suspend)

    async def _create(
        self,
        schedule: FeedSchedule,
        catalog: Catalog,
        ledger: LedgerContent,
        proposal: dispatch.Proposal,
        name: str,
    ) -> None:
        """Owned by the Catalog, never by the schedule. The same name means the same operation."""
        shard_of = {record.index: record.shard for record in ledger.partitions}
        metadata = children.child_metadata(catalog, name)
        labels = {
            **metadata.labels,
            names.LABEL_SCHEDULE: schedule.name[:63],
            names.LABEL_TRIGGER: proposal.trigger,
        }
        annotations = {}
        token = self._requested(catalog)
        if proposal.trigger == "Request" and token is not None:
            annotations[names.ANNOTATION_SYNC_REQUESTED_AT] = token
        metadata = metadata.model_copy(update={"labels": labels, "annotations": annotations})
        spec: dict[str, object] = {
            "catalog_ref": ObjectRef(name=catalog.name),
            "shards": tuple(shard_of[index] for index in proposal.partitions),
            "method": proposal.method,
        }
        if schedule.spec.fields is not None and proposal.method is Method.ITEMS_BATCH:
            spec["fields"] = schedule.spec.fields
        if proposal.overlay is not None:
            spec.pop("fields", None)
            spec["overlay"] = proposal.overlay
        operation = SyncOperation(metadata=metadata, spec=SyncOperationSpec.model_validate(spec))
        try:
            created = await self._context.cluster.create(operation)
        except Fault as fault:
            if fault.reason != "AlreadyExists":
                raise
            return
        LOG.info("made an operation", extra={"object": str(created.key), "trigger": proposal.trigger})
        self._context.objects.accept(created)
        self._wake(created.key)

    async def _report(
        self,
        schedule: FeedSchedule,
        fault: Fault | None,
        upcoming: datetime | None,
        last: datetime | None,
        made: str | None = None,
        slot: datetime | None = None,
    ) -> None:
        schedule = self._context.objects.get(FeedSchedule, schedule.key) or schedule
        update: dict[str, object] = {"effective": schedule.spec.filled_in() or None}
        if upcoming is not None:
            update["next_scheduled_at"] = upcoming
        if last is not None:
            update["last_scheduled_at"] = last
        if made is not None and slot is not None:
            update["last_operation"] = ScheduledOperation(name=made, scheduled_at=slot)
        now = self._context.clock.now()
        verdict: Verdict
        if fault is not None:
            verdict = false(ConditionType.READY, fault.reason, fault.message + retry_text(now, fault.retry_at))
        elif schedule.spec.suspend:
            verdict = unknown(ConditionType.READY, "Suspended", "spec.suspend is set")
        else:
            verdict = true(ConditionType.READY, "Available", "")
        await report(self._context, schedule, schedule.status.model_copy(update=update), (verdict, *progress(fault)))


def _over(operation: SyncOperation) -> bool:
    return ended(operation) or operation.metadata.deleting


def _attempt(operation: SyncOperation) -> dispatch.Attempt:
    found = NAME.match(operation.name)
    base, number = (found["base"], int(found["number"])) if found is not None else (operation.name, 1)
    return dispatch.Attempt(base, number, ended(operation), operation.status.completed_at)
