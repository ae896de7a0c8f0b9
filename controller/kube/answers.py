"""Failures of requests to the API server, translated once into the vocabulary of faults."""

from controller.faults import Disposition, Evidence, Fault
from controller.kube.transport import AnswerLost, Failure, NotSent, Refused

MESSAGE_LENGTH_MAX = 400
NAMESPACE_TERMINATING = "NamespaceTerminating"
UNAVAILABLE = "KubernetesUnavailable"


def to_fault(failure: Failure, subject: str, *, write: bool) -> Fault:
    """Say what a failure means for the next step. `subject` names what was asked, e.g. "status of Catalog a/b"."""
    match failure:
        case NotSent():
            return Fault(UNAVAILABLE, Disposition.RETRY, f"{subject}: the API server could not be reached")
        case AnswerLost():
            disposition = Disposition.UNCERTAIN if write else Disposition.RETRY
            return Fault(UNAVAILABLE, disposition, f"{subject}: the API server's answer did not arrive")
        case Refused():
            reason, disposition = _meaning(failure, write=write)
            return Fault(reason, disposition, _text(failure, subject), evidence=Evidence(http_status=failure.status))
        case _:
            return Fault("InvalidObject", Disposition.DEFECT, f"{subject}: failed in an unknown way")


def _meaning(refused: Refused, *, write: bool) -> tuple[str, Disposition]:
    match refused.status:
        case 409 if refused.reason == "AlreadyExists":
            return "AlreadyExists", Disposition.STALLED
        case 409:
            return "Conflict", Disposition.RETRY
        case 403 if NAMESPACE_TERMINATING in refused.causes:
            return NAMESPACE_TERMINATING, Disposition.STALLED
        case 403:
            return "Forbidden", Disposition.STALLED
        case 404 if refused.kind == "namespaces":
            # A namespace that is gone and one that is going refuse new objects alike.
            return NAMESPACE_TERMINATING, Disposition.STALLED
        case 404 if refused.object_missing:
            return "Conflict", Disposition.RETRY
        case 401 | 404 | 410 | 429:
            # 401: a token that is just being rotated; 404: the kind is not served (yet); 410: a LIST took too long.
            return UNAVAILABLE, Disposition.RETRY
        case status if status >= 500:
            # A leader change of etcd is reported like this, and the write may be in its log.
            return UNAVAILABLE, Disposition.UNCERTAIN if write else Disposition.RETRY
        case _:
            return "InvalidObject", Disposition.DEFECT


def _text(refused: Refused, subject: str) -> str:
    said = " ".join(refused.message.split()) or f"HTTP {refused.status}"
    if refused.status == 404 and not refused.object_missing:
        said = "the kind is not served; are the CRDs installed?"
    return f"{subject}: {said}"[:MESSAGE_LENGTH_MAX]
