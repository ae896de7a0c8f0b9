"""Writing what was found: status only when it differs, events only when a condition turns."""

from typing import Literal, TypeVar

from controller.api.conditions import Condition, ConditionStatus, ConditionType, find_condition
from controller.api.resource import ConditionedStatus, Declared, Spec
from controller.planning.verdicts import Verdict, conclude, flipped
from controller.ports.kubernetes import Event
from controller.reconcile.context import Context

S = TypeVar("S", bound=ConditionedStatus)
D = TypeVar("D", bound=Declared[Spec, ConditionedStatus])

NORMAL = frozenset({ConditionType.READY, ConditionType.SYNCED, ConditionType.FRESH, ConditionType.COMPLETE})


async def report(context: Context, resource: D, status: ConditionedStatus, verdicts: tuple[Verdict, ...]) -> D:
    """Conclude the verdicts, write the status when it differs, and tell of conditions that turned."""
    before = resource.status.conditions if resource.status_is_ours else ()
    generation = resource.metadata.generation
    conditions = conclude(before, verdicts, generation, context.clock.now())
    update = {"conditions": conditions, "observed_generation": generation, "owner_uid": resource.uid}
    finished = status.model_copy(update=update)
    if finished == resource.status:
        return resource
    written = await context.cluster.apply_status(type(resource), resource.key, resource.uid, finished)
    if written is None:
        return resource
    context.objects.accept(written)
    told: set[str] = set()
    for kind in ConditionType:
        condition = find_condition(conditions, kind)
        if condition is None or not flipped(before, conditions, kind):
            continue
        if condition.reason not in told:  # one fact may show in several conditions
            _tell(context, written, kind, condition)
        told.add(condition.reason)
    return written


def _tell(context: Context, resource: D, kind: ConditionType, condition: Condition) -> None:
    good = condition.status is ConditionStatus.TRUE if kind in NORMAL else kind is ConditionType.RECONCILING
    if kind is ConditionType.RECONCILING and condition.reason == "Progressing":
        return
    event_type: Literal["Normal", "Warning"] = (
        "Normal" if good or condition.status is ConditionStatus.UNKNOWN else "Warning"
    )
    message = f"{kind}={condition.status}: {condition.message}" if condition.message else f"{kind}={condition.status}"
    context.cluster.record(Event(resource.key, resource.uid, event_type, condition.reason, message))


def warn(context: Context, resource: D, reason: str, message: str) -> None:
    """Tell of something that is no condition."""
    context.cluster.record(Event(resource.key, resource.uid, "Warning", reason, message))
