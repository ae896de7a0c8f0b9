"""SyncOperation: admission. Takes the claims when they are free and hands the work to the runner."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from controller.api.conditions import ConditionType
from controller.api.resource import ObjectKey
from controller.api.v1alpha1.catalog import Catalog
from controller.api.v1alpha1.catalog_ledger import Claim, IntentState, LedgerContent, PartitionRecord
from controller.api.v1alpha1.common import Method
from controller.api.v1alpha1.policies import DeletionPolicy, ManagementPolicy, OnExceed
from controller.api.v1alpha1.sync_operation import Phase, SyncOperation, SyncOperationStatus
from controller.faults import Disposition, Fault
from controller.planning import dispatch
from controller.planning.retention import ended
from controller.planning.verdicts import absent, progress, retry_text, true
from controller.ports.meta import Bucket
from controller.reconcile.connections import Connections
from controller.reconcile.context import Context
from controller.reconcile.ledgers import LedgerBook
from controller.reconcile.lifecycle import hold, let_go
from controller.reconcile.operation_status import origin
from controller.reconcile.outcome import Outcome
from controller.reconcile.reporting import report
from controller.reconcile.sending import Sending
from controller.scheduling import ledger as transitions
from controller.scheduling import quota
from controller.scheduling.runner import Runner

LOG = logging.getLogger(__name__)

QUOTA_WAIT_MAX = timedelta(minutes=1)
"""A batch takes its claims when the quota has room within this time."""
LET_GO_AGAIN = timedelta(seconds=5)


class SyncOperations:
    def __init__(
        self,
        context: Context,
        book: LedgerBook,
        connections: Connections,
        runner: Runner[tuple[str, str]],
        wake_catalog: Callable[[str], None],
    ) -> None:
        self._context = context
        self._book = book
        self._connections = connections
        self._runner = runner
        self._wake_catalog = wake_catalog

    async def reconcile(self, key: ObjectKey) -> Outcome:
        operation = self._context.objects.get(SyncOperation, key)
        if operation is None:
            return Outcome()
        if self._runner.running(("operation", operation.uid)):
            return await self._let_go_early(operation) if operation.metadata.deleting else Outcome()
        if ended(operation) or self._still_held(operation):
            await let_go(self._context, operation)
            return Outcome()
        if operation.status.owner_uid is not None and not operation.status_is_ours:
            message = "its status was copied from another object: it is not run again; make a new SyncOperation"
            await self._end(operation, Phase.SUPERSEDED, "Superseded", message)
            return Outcome()
        try:
            return await self._admit(operation)
        except Fault as fault:
            return await self._wait(operation, fault)

    def _still_held(self, operation: SyncOperation) -> bool:
        """Tell whether what holds it is still there; when that is approved, the operation is planned again."""
        if operation.status.phase is not Phase.HELD or not operation.status_is_ours or operation.spec.cancel:
            return False
        try:
            catalog, _, ledger = self._target(operation)
        except Fault:
            return True
        holds = catalog is not None and catalog.spec.guards.on_exceed is OnExceed.HOLD_OPERATION
        return operation.metadata.deleting or (holds and bool(ledger.items) and ledger.items[0].held is not None)

    async def _let_go_early(self, operation: SyncOperation) -> Outcome:
        """Where nobody waits for its end, the object goes once the ledger has all that is needed to follow it."""
        if not await self._nobody_waits(operation):
            return Outcome()
        intents = [
            intent
            for catalog_id in self._book.all_known()
            if (ledger := self._book.known(catalog_id)) is not None
            for intent in transitions.intents_of(ledger, operation.uid)
        ]
        now = self._context.clock.now()
        # An open intent without an answer is complete, too, when the request must have ended.
        moments = [
            intent.at + timedelta(seconds=intent.budget_seconds)
            for intent in intents
            if intent.state == IntentState.OPEN
        ]
        if not intents or max(moments, default=now) > now:
            return Outcome(now + LET_GO_AGAIN)
        await let_go(self._context, operation)
        return Outcome()

    async def _nobody_waits(self, operation: SyncOperation) -> bool:
        """Tell whether its Catalog is gone or being orphaned, or its namespace is going."""
        key = ObjectKey(Catalog.KIND, operation.namespace, operation.spec.catalog_ref.name)
        catalog = self._context.objects.get(Catalog, key)
        if catalog is None:
            return True
        if catalog.metadata.deleting and catalog.spec.deletion_policy is DeletionPolicy.ORPHAN:
            return True
        return await self._context.cluster.namespace_terminating(operation.namespace)

    async def _admit(self, operation: SyncOperation) -> Outcome:
        catalog, catalog_id, ledger = self._target(operation)
        if transitions.claimed_by(ledger, operation.uid):
            self.start(catalog_id, operation.uid, operation.key)
            return Outcome()
        over = self._over_before_start(operation, catalog)
        if over is not None:
            await self._end(operation, *over)
            return Outcome()
        if catalog is None:
            raise Fault("CatalogNotFound", Disposition.STALLED, "the Catalog does not exist")
        self._require_sending_allowed(catalog, catalog_id)
        if ledger.rolled_back and ledger.relisted_at is None:
            message = "what Meta holds is not known: its items are listed first"
            raise Fault("RolledBack", Disposition.RETRY, message)
        wanted = self._records(operation, ledger)
        _require_overlay(operation, catalog, wanted)
        if _pointless(operation, wanted):
            message = "another operation sent its values already"
            await self._end(operation, Phase.SUPERSEDED, "Superseded", message, ConditionType.COMPLETE)
            return Outcome()
        self._require_quota(operation, catalog, catalog_id, ledger)
        now = self._context.clock.now()
        settle = self._context.settings.timing.settle
        if _gives_way(operation, wanted):
            message = "prices and stock of these shards are sent first"
            raise Fault("Progressing", Disposition.RETRY, message, retry_at=now + settle)
        able = tuple(record for record in wanted if transitions.free(record, now, settle))
        if operation.spec.method == Method.ITEMS_BATCH and able:
            wanted = able
        if len(able) < len(wanted):
            message = "waits for another operation on the same shard"
            raise Fault("Progressing", Disposition.RETRY, message, retry_at=now + settle)
        operation = await hold(self._context, operation)
        claim = Claim(
            operation=operation.uid,
            name=f"{operation.namespace}/{operation.name}",
            epoch=ledger.epoch,
            method=operation.spec.method,
            since=now,
        )
        indexes = tuple(record.index for record in wanted)
        try:
            await self._book.change(catalog_id, lambda content: transitions.claim(content, indexes, claim, settle))
        except transitions.LedgerConflict as conflict:
            raise Fault("Progressing", Disposition.RETRY, str(conflict), retry_at=now + settle) from conflict
        self.start(catalog_id, operation.uid, operation.key)
        return Outcome()

    def start(self, catalog_id: str, uid: str, key: ObjectKey) -> None:
        """Start or resume the work of an operation that holds claims."""
        slot = ("operation", uid)
        if self._runner.running(slot):
            return
        sending = Sending(self._context, self._book, self._connections, catalog_id, uid, key, self._wake_catalog)
        self._runner.start(slot, sending.run(), name=f"operation {key.name}")

    def _target(self, operation: SyncOperation) -> tuple[Catalog | None, str, LedgerContent]:
        key = ObjectKey(Catalog.KIND, operation.namespace, operation.spec.catalog_ref.name)
        catalog = self._context.objects.get(Catalog, key)
        if catalog is None:
            for catalog_id in self._book.all_known():
                ledger = self._book.known(catalog_id)
                if ledger is not None and transitions.claimed_by(ledger, operation.uid):
                    return None, catalog_id, ledger
            message = f"there is no Catalog {key.name} in this namespace"
            raise Fault("CatalogNotFound", Disposition.STALLED, message)
        catalog_id_ = catalog.spec.catalog_id or (catalog.status.catalog_id if catalog.status_is_ours else None)
        ledger = self._book.known(catalog_id_) if catalog_id_ is not None else None
        if catalog_id_ is None or ledger is None:
            raise Fault("DependencyNotReady", Disposition.RETRY, f"Catalog {key.name} is not ready")
        return catalog, catalog_id_, ledger

    def _over_before_start(self, operation: SyncOperation, catalog: Catalog | None) -> tuple[Phase, str, str] | None:
        if operation.metadata.deleting or operation.spec.cancel:
            return Phase.CANCELLED, "Cancelled", "ended before anything was sent"
        if catalog is None or catalog.metadata.deleting:
            return Phase.CANCELLED, "CatalogNotFound", "the Catalog is gone; nothing was sent"
        created = operation.metadata.creation_timestamp
        if created is not None and self._context.clock.now() - created > operation.spec.deadline:
            return Phase.FAILED, "DeadlineExceeded", "nothing could be sent before spec.deadline"
        return None

    def _require_sending_allowed(self, catalog: Catalog, catalog_id: str) -> None:
        if catalog.spec.management_policy is ManagementPolicy.OBSERVE:
            raise Fault("InvalidSpec", Disposition.STALLED, "managementPolicy is Observe: nothing is sent")
        connection = self._connections.usable(catalog.namespace, catalog.spec.connection_ref.name, catalog_id)
        if catalog.spec.suspend or connection.suspended:
            again_at = self._context.clock.now() + self._context.settings.timing.secret_poll
            raise Fault("Suspended", Disposition.RETRY, "suspended: nothing new starts", retry_at=again_at)

    def _require_quota(
        self, operation: SyncOperation, catalog: Catalog, catalog_id: str, ledger: LedgerContent
    ) -> None:
        """A batch that could not send for long must not keep its partitions from others meanwhile."""
        if operation.spec.method != Method.ITEMS_BATCH or operation.spec.dry_run:
            return
        connection = self._connections.usable(catalog.namespace, catalog.spec.connection_ref.name, catalog_id)
        record = transitions.quota_record(ledger, connection.quotas.app_id, Bucket.BATCH)
        now = self._context.clock.now()
        limit = connection.quotas.batch
        if operation.spec.overlay is not None:
            limit = quota.without_a_promise(limit)
        free_at = quota.next_free_at(record, limit, now)
        blocked = self._context.governor.blocked_until((connection.quotas.app_id, catalog_id, Bucket.BATCH))
        if blocked is not None:
            free_at = max(free_at, datetime.fromtimestamp(blocked, UTC))
        if free_at - now > QUOTA_WAIT_MAX:
            message = f"the quota for batches of catalog {catalog_id} has no room{retry_text(now, free_at)}"
            raise Fault("QuotaExhausted", Disposition.WAIT, message, retry_at=free_at)

    def _records(self, operation: SyncOperation, ledger: LedgerContent) -> tuple[PartitionRecord, ...]:
        by_shard = {record.shard: record for record in ledger.partitions}
        unknown = [name for name in operation.spec.shards if name not in by_shard]
        if unknown:
            known = ", ".join(sorted(by_shard)[:5]) or "none yet"
            message = f"spec.shards: the Catalog has no shard {unknown[0]} (it has {known})"
            raise Fault("InvalidSpec", Disposition.STALLED, message)
        records = tuple(by_shard[name] for name in operation.spec.shards)
        if any(record.feed_id is None for record in records):
            raise Fault("DependencyNotReady", Disposition.RETRY, "the feed of the shard does not exist yet")
        if not ledger.items or ledger.items[0].refresh is None:
            raise Fault("DependencyNotReady", Disposition.RETRY, "the source was not read yet")
        return records

    async def _wait(self, operation: SyncOperation, fault: Fault) -> Outcome:
        found = self._context.objects.get(SyncOperation, operation.key) or operation
        if fault.disposition is Disposition.STALLED and found.metadata.deleting:
            await self._end(found, Phase.CANCELLED, "Cancelled", fault.message)
            return Outcome()
        phase = found.status.phase if found.status_is_ours and found.status.phase is not None else Phase.PENDING
        await report(self._context, found, _status(found, phase, self._context), progress(fault))
        if fault.retry_at is not None:
            return Outcome(fault.retry_at)
        now = self._context.clock.now()
        return Outcome(now + self._context.settings.timing.secret_poll)

    async def _end(
        self,
        operation: SyncOperation,
        phase: Phase,
        reason: str,
        message: str,
        condition: ConditionType = ConditionType.FAILED,
    ) -> None:
        status = _status(operation, phase, self._context)
        status = status.model_copy(update={"completed_at": self._context.clock.now()})
        done = (absent(ConditionType.RECONCILING), absent(ConditionType.STALLED))
        written = await report(self._context, operation, status, (true(condition, reason, message), *done))
        await let_go(self._context, written)


def _require_overlay(operation: SyncOperation, catalog: Catalog, wanted: tuple[PartitionRecord, ...]) -> None:
    """Refuse an overlay that is neither declared nor has values at Meta; one that is just declared is waited for."""
    name = operation.spec.overlay
    if name is None or any(name in dispatch.localized_names(record) for record in wanted):
        return
    declared = {each.name for each in catalog.spec.items[0].overlays if each.override is not None}
    if name in declared:
        raise Fault("DependencyNotReady", Disposition.RETRY, f"overlay {name} was not compared yet")
    message = f"spec.overlay: the Catalog has no overlay {name} with values for a language or country"
    raise Fault("InvalidSpec", Disposition.STALLED, message)


def _pointless(operation: SyncOperation, wanted: tuple[PartitionRecord, ...]) -> bool:
    """Tell whether a batch that a schedule made has nothing to send any more: another operation took it along."""
    made_by_us = operation.metadata.controller is not None and not operation.spec.item_ids
    owes = any(dispatch.owes(record, operation.spec.overlay) for record in wanted)
    return operation.spec.method == Method.ITEMS_BATCH and made_by_us and not operation.spec.dry_run and not owes


def _gives_way(operation: SyncOperation, wanted: tuple[PartitionRecord, ...]) -> bool:
    """Tell whether values for a language or country that a schedule sends wait for those with a promise."""
    made_by_us = operation.metadata.controller is not None
    return operation.spec.overlay is not None and made_by_us and any(record.pending.volatile for record in wanted)


def _status(operation: SyncOperation, phase: Phase, context: Context) -> SyncOperationStatus:
    now = context.clock.now()
    before = operation.status if operation.status_is_ours else SyncOperationStatus()
    update = origin(operation)
    if before.phase is not phase:
        update |= {"phase": phase, "phase_since": now}
    return before.model_copy(update=update)
