"""Between a fault inside a step and a fault at its caller lies a document. Both directions stand here."""

from controller.faults import Disposition, Fault
from controller.ports.preparing import FailedStep, Result

_STALLED = frozenset({"SnapshotLost", "SnapshotTooNew", "PayloadTooLarge"})
_MESSAGE_LENGTH_MAX = 1_000


def as_document(fault: Fault) -> FailedStep:
    return FailedStep(reason=fault.reason, message=fault.message[:_MESSAGE_LENGTH_MAX])


def unless_failed(result: Result) -> Result:
    """Return the result of a step that came to its end; raise what ended the others."""
    if isinstance(result, FailedStep):
        disposition = Disposition.STALLED if result.reason in _STALLED else Disposition.RETRY
        raise Fault(result.reason, disposition, result.message)
    return result
