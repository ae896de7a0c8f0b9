"""The one vocabulary of failure: what went wrong is a reason, what happens next is a disposition.

A fault is classified where the answer is deciphered and nowhere else. It is translated twice: into a condition, and
into the moment of the next try. The message is for people: one line, deterministic, free of secrets, times and
counters, so that an unchanged problem never changes a condition.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from typing_extensions import override


class Disposition(StrEnum):
    """What happens next."""

    RETRY = "Retry"
    """Nothing happened at the other side. Try again later, with back-off."""
    WAIT = "Wait"
    """Refused for now. Not before `retry_at`, and nobody else on the same quota either."""
    UNCERTAIN = "Uncertain"
    """The request may have been carried out. Look before anything is repeated."""
    STALLED = "Stalled"
    """A person must change a spec, a secret or a permission. Slow heartbeat only."""
    GONE = "Gone"
    """The target does not exist (or is not visible: callers that must tell these apart look at the reason)."""
    DEFECT = "Defect"
    """The answer contradicts our model of the other side. Stop this resource and say so."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the other side said, reduced to what is safe to show. Never a body, a parameter or a token."""

    http_status: int | None = None
    code: int | None = None
    subcode: int | None = None
    trace_id: str | None = None


@dataclass(eq=False)
class Fault(Exception):  # noqa: N818 - a fault is raised, returned and stored; "FaultError" would say it twice
    """A failure with everything that the next step needs. Not frozen: contextlib sets tracebacks on exceptions."""

    reason: str
    """CamelCase; used verbatim as condition and event reason (controller.api.reasons lists them)."""
    disposition: Disposition
    message: str
    retry_at: datetime | None = None
    evidence: Evidence = field(default_factory=Evidence)

    @override
    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"
