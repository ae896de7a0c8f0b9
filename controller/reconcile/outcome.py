"""What a reconcile run amounted to, for the worker that called it."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """Nothing set: wait to be woken."""

    again_at: datetime | None = None

    @staticmethod
    def earliest(*moments: datetime | None) -> "Outcome":
        known = [moment for moment in moments if moment is not None]
        return Outcome(min(known) if known else None)
