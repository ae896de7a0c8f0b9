"""Which finished operations go, and which never."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.api.v1alpha1 import SyncOperation
from controller.api.v1alpha1.policies import Operations
from controller.planning.retention import ended, expired
from tests.unit.planning.examples import NOW, operation

POLICY = Operations(ttl_after_finished=timedelta(hours=24), keep_failed=1, keep_plans=1, max=5)
OLD = timedelta(hours=25)
YOUNG = timedelta(hours=1)


def gone(*operations: SyncOperation, policy: Operations = POLICY) -> set[str]:
    return {found.name for found in expired(operations, policy, "u-1", NOW)}


def test_what_ended_long_ago_goes() -> None:
    assert gone(operation("old", ended=OLD), operation("young", ended=YOUNG)) == {"old"}


def test_a_hand_made_one_never_goes() -> None:
    many = [operation(f"mine-{number}", ended=OLD, ours=False) for number in range(9)]
    assert gone(*many) == set()


def test_what_is_under_way_never_goes() -> None:
    running = [operation(f"op-{number}", "Processing", ended=None) for number in range(9)]
    assert gone(*running) == set()


def test_a_held_one_never_goes() -> None:
    assert gone(operation("held", "Held", ended=None)) == set()


def test_the_newest_failures_stay() -> None:
    found = gone(operation("older", "Failed", ended=2 * OLD), operation("newer", "Failed", ended=OLD))
    assert found == {"older"}


def test_the_newest_plans_stay() -> None:
    found = gone(
        operation("older", "Planned", ended=2 * OLD, dryRun=True), operation("newer", "Planned", ended=OLD, dryRun=True)
    )
    assert found == {"older"}


def test_too_many_go_early_oldest_first() -> None:
    finished = [operation(f"op-{number}", ended=YOUNG * (number + 1)) for number in range(7)]
    assert gone(*finished) == {"op-6", "op-5"}


@given(st.lists(st.tuples(st.sampled_from(["Succeeded", "Failed", "Processing"]), st.integers(0, 60)), max_size=25))
def test_never_more_than_allowed_stay_and_never_one_under_way_goes(made: list[tuple[str, int]]) -> None:
    operations = [
        operation(f"op-{number}", phase, ended=None if phase == "Processing" else timedelta(hours=hours))
        for number, (phase, hours) in enumerate(made)
    ]
    going = gone(*operations)
    running = {op.name for op in operations if not ended(op)}
    assert not going & running
    assert len(operations) - len(going) <= max(POLICY.max, len(running))


@pytest.mark.parametrize(
    ("phase", "dry_run", "over"),
    [
        ("Succeeded", False, True),
        ("Failed", False, True),
        ("Superseded", False, True),
        ("Cancelled", False, True),
        ("Abandoned", False, True),
        ("Planned", True, True),
        ("Planned", False, False),
        ("Held", False, False),
        ("Pending", False, False),
        ("Collecting", False, False),
    ],
)
def test_ended(phase: str, *, dry_run: bool, over: bool) -> None:
    assert ended(operation("op", phase, dryRun=dry_run)) == over


def test_a_status_of_another_object_says_nothing() -> None:
    foreign = operation("op")
    status = foreign.status.model_copy(update={"owner_uid": "somebody"})
    assert not ended(foreign.model_copy(update={"status": status}))
