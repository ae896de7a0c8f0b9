"""Which finished operations go: pure. Hand-made ones never do (a GitOps pipeline would run them again)."""

from collections.abc import Callable
from datetime import datetime

from controller.api.v1alpha1.policies import Operations
from controller.api.v1alpha1.sync_operation import Phase, SyncOperation


def expired(
    operations: tuple[SyncOperation, ...], policy: Operations, owner_uid: str, now: datetime
) -> tuple[SyncOperation, ...]:
    """Operations of ours that ended longer ago than the policy keeps them, or that are too many."""
    mine = [op for op in operations if op.metadata.controller is not None and op.metadata.controller.uid == owner_uid]
    finished = sorted(
        (op for op in mine if ended(op) and not op.metadata.deleting),
        key=lambda op: (op.status.completed_at or now, op.name),
        reverse=True,
    )
    kept_failed = _newest(finished, lambda op: op.status.phase is not Phase.SUCCEEDED, policy.keep_failed)
    kept_plans = _newest(finished, lambda op: op.spec.dry_run, policy.keep_plans)
    kept = kept_failed | kept_plans
    old = [
        op
        for op in finished
        if op.uid not in kept
        and op.status.completed_at is not None
        and now - op.status.completed_at >= policy.ttl_after_finished
    ]
    surplus = len(mine) - len(old) - policy.max
    gone = {op.uid for op in old}
    young = [op for op in reversed(finished) if op.uid not in gone]
    return (*old, *young[: max(surplus, 0)])


def ended(operation: SyncOperation) -> bool:
    phase = operation.status.phase
    if phase is None or not operation.status_is_ours:
        return False
    return phase.terminal or (operation.spec.dry_run and phase is Phase.PLANNED)


def _newest(operations: list[SyncOperation], chosen: Callable[[SyncOperation], bool], count: int) -> frozenset[str]:
    return frozenset(operation.uid for operation in [op for op in operations if chosen(op)][:count])
