"""The face of an operation while it runs: SyncOperation.status, for people. Decisions are taken from the ledger.

The object may be gone (deleted by a person, or with its namespace): then nothing is written and work goes on.
"""

from datetime import datetime

from controller.api import names
from controller.api.conditions import ConditionType
from controller.api.resource import ObjectKey
from controller.api.v1alpha1.catalog_ledger import Intent, IntentState
from controller.api.v1alpha1.sync_operation import (
    ActiveBatch,
    BatchesStatus,
    ItemMessage,
    OperationPlan,
    OperationTotals,
    Outcome,
    Phase,
    PlanSamples,
    SyncOperation,
    SyncOperationSpec,
    SyncOperationStatus,
    Trigger,
    UploadStatus,
)
from controller.faults import Fault
from controller.planning.verdicts import Verdict, absent, progress, true
from controller.ports import preparing as documents
from controller.reconcile.context import Context
from controller.reconcile.reporting import report

ACTIVE_BATCHES_MAX = 16


class OperationReport:
    def __init__(self, context: Context, key: ObjectKey, uid: str) -> None:
        self._context = context
        self._key = key
        self._uid = uid
        self._batches_total = 0

    def _object(self) -> SyncOperation | None:
        found = self._context.objects.get(SyncOperation, self._key)
        return found if found is not None and found.uid == self._uid else None

    def operation_spec(self) -> SyncOperationSpec | None:
        found = self._object()
        return None if found is None else found.spec

    def cancelled(self) -> bool:
        """Tell whether a person wants it to end: nothing more is sent, what was sent is followed."""
        found = self._object()
        return found is None or found.spec.cancel or found.metadata.deleting

    async def know(self) -> None:
        """Right after a start the watch may not have told of the object yet."""
        if self._object() is not None:
            return
        found = await self._context.cluster.get(SyncOperation, self._key)
        if found is not None and found.uid == self._uid:
            self._context.objects.accept(found)

    async def phase(self, phase: Phase) -> None:
        verdicts = (absent(ConditionType.HELD), *progress(None, working=True, message=f"phase {phase}"))
        await self._write({}, phase, verdicts)

    async def plan(self, encoded: documents.EncodeResult) -> None:
        plan = encoded.plan
        self._batches_total = len(encoded.files)
        samples = PlanSamples(create=plan.sample_create, update=plan.sample_update, delete=plan.sample_delete)
        update: dict[str, object] = {
            "plan": OperationPlan(
                digest=encoded.digest or None,
                create=plan.create,
                update=plan.update,
                delete=plan.delete,
                unchanged=plan.unchanged,
                calls=len(encoded.files),
                bytes=sum(file.bytes for file in encoded.files),
                update_only=encoded.update_only,
                sample_ids=samples,
            ),
            "totals": OperationTotals(create=plan.create, update=plan.update, delete=plan.delete),
        }
        await self._write(update, Phase.PLANNED)

    async def submitting(self, intent: Intent) -> None:
        update: dict[str, object] = {}
        if intent.feed_id is not None:
            update["upload"] = UploadStatus(file_name=intent.file_name, started_at=intent.at)
        await self._write(update, Phase.SUBMITTING)

    async def accepted(self, intent: Intent, handle: str) -> None:
        if intent.feed_id is None:
            return
        upload = UploadStatus(file_name=intent.file_name, session_id=handle, started_at=intent.at)
        await self._write({"upload": upload}, Phase.PROCESSING)

    async def following(self, intents: tuple[Intent, ...]) -> None:
        batches = [intent for intent in intents if intent.feed_id is None]
        update: dict[str, object] = {}
        if batches:
            active = [intent for intent in batches if intent.state is IntentState.ACCEPTED and intent.handle]
            total = max(self._batches_total, len(batches))
            update["batches"] = BatchesStatus(
                total=total,
                finished=total - len([intent for intent in batches if intent.state is not IntentState.COLLECTED]),
                active=tuple(
                    ActiveBatch(handle=(intent.handle or "")[:256], items=intent.rows)
                    for intent in active[:ACTIVE_BATCHES_MAX]
                ),
            )
        await self._write(update, Phase.PROCESSING)

    async def outcome(self, result: documents.AcknowledgeResult) -> None:
        found = self._object()
        if found is None:
            return
        before = found.status.outcome or Outcome()
        totals = found.status.totals or OperationTotals()
        outcome = Outcome(
            accepted=before.accepted + result.accepted,
            refused=before.refused + result.refused,
            unknown=before.unknown + result.unknown,
            errors=(*before.errors, *(_message(group) for group in result.errors))[:16],
            warnings=(*before.warnings, *(_message(group) for group in result.warnings))[:16],
        )
        totals = totals.model_copy(update={"refused": totals.refused + result.refused})
        await self._write({"outcome": outcome, "totals": totals}, None)

    async def waiting(self, fault: Fault, again_at: datetime) -> None:
        await self._write({"next_attempt_at": again_at.replace(second=0, microsecond=0)}, None, progress(fault))

    async def finish(self, phase: Phase, reason: str, message: str) -> None:
        ends_at = None if phase is Phase.HELD else self._context.clock.now()
        update: dict[str, object] = {"completed_at": ends_at, "next_attempt_at": None}
        await self._write(update, phase, _verdicts(phase, reason, message))

    async def _write(self, update: dict[str, object], phase: Phase | None, verdicts: tuple[Verdict, ...] = ()) -> None:
        found = self._object()
        if found is None:
            return
        status = found.status
        now = self._context.clock.now()
        if phase is not None and phase is not status.phase:
            update = {**update, "phase": phase, "phase_since": now}
        if status.started_at is None:
            update = {**update, "started_at": now}
        changed: SyncOperationStatus = status.model_copy(update={**origin(found), **update})
        if not verdicts:
            verdicts = progress(None, working=True, message=f"phase {changed.phase}")
        await report(self._context, found, changed, verdicts)


def origin(operation: SyncOperation) -> dict[str, object]:
    """Why it was made, and on how many shards: the same for all its life."""
    label = operation.metadata.labels.get(names.LABEL_TRIGGER)
    trigger = Trigger(label) if label in set(Trigger) else Trigger.REQUEST
    return {"trigger": trigger, "shard_count": len(operation.spec.shards)}


def _message(group: documents.ErrorGroup) -> ItemMessage:
    return ItemMessage(
        code=group.severity, message=group.message[:2048], count=group.count, sample_ids=group.sample_ids[:10]
    )


def _verdicts(phase: Phase, reason: str, message: str) -> tuple[Verdict, ...]:
    done = (absent(ConditionType.RECONCILING), absent(ConditionType.STALLED))
    match phase:
        case Phase.SUCCEEDED | Phase.PLANNED:
            return (true(ConditionType.COMPLETE, reason, message), absent(ConditionType.HELD), *done)
        case Phase.HELD:
            return (true(ConditionType.HELD, reason, message), *done)
        case _:
            return (true(ConditionType.FAILED, reason, message), absent(ConditionType.HELD), *done)
