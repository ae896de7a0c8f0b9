"""Every failure has one meaning."""

import pytest

from controller.api.reasons import Reason
from controller.faults import Disposition
from controller.kube.answers import MESSAGE_LENGTH_MAX, to_fault
from controller.kube.transport import AnswerLost, Failure, NotSent, Refused, refused

MISSING = Refused(404, "NotFound", 'catalogs "a" not found', name="a", kind="catalogs")
NO_NAMESPACE = Refused(404, "NotFound", 'namespaces "a" not found', name="a", kind="namespaces")
GOING = Refused(403, "Forbidden", "no", causes=("NamespaceTerminating",))


@pytest.mark.parametrize(
    ("failure", "reason", "read", "write"),
    [
        (NotSent("x"), "KubernetesUnavailable", Disposition.RETRY, Disposition.RETRY),
        (AnswerLost("x"), "KubernetesUnavailable", Disposition.RETRY, Disposition.UNCERTAIN),
        (Refused(500), "KubernetesUnavailable", Disposition.RETRY, Disposition.UNCERTAIN),
        (Refused(503), "KubernetesUnavailable", Disposition.RETRY, Disposition.UNCERTAIN),
        (Refused(504), "KubernetesUnavailable", Disposition.RETRY, Disposition.UNCERTAIN),
        (Refused(429), "KubernetesUnavailable", Disposition.RETRY, Disposition.RETRY),
        (Refused(410, "Expired"), "KubernetesUnavailable", Disposition.RETRY, Disposition.RETRY),
        (Refused(401), "KubernetesUnavailable", Disposition.RETRY, Disposition.RETRY),
        (Refused(404), "KubernetesUnavailable", Disposition.RETRY, Disposition.RETRY),
        (MISSING, "Conflict", Disposition.RETRY, Disposition.RETRY),
        (NO_NAMESPACE, "NamespaceTerminating", Disposition.STALLED, Disposition.STALLED),
        (Refused(403, "Forbidden"), "Forbidden", Disposition.STALLED, Disposition.STALLED),
        (GOING, "NamespaceTerminating", Disposition.STALLED, Disposition.STALLED),
        (Refused(409, "Conflict"), "Conflict", Disposition.RETRY, Disposition.RETRY),
        (Refused(409, "AlreadyExists"), "AlreadyExists", Disposition.STALLED, Disposition.STALLED),
        (Refused(422, "Invalid"), "InvalidObject", Disposition.DEFECT, Disposition.DEFECT),
        (Refused(400, "BadRequest"), "InvalidObject", Disposition.DEFECT, Disposition.DEFECT),
    ],
    ids=str,
)
def test_a_failure_means(failure: Failure, reason: str, read: Disposition, write: Disposition) -> None:
    for is_write, disposition in ((False, read), (True, write)):
        fault = to_fault(failure, "Catalog a/b", write=is_write)
        assert (fault.reason, fault.disposition) == (reason, disposition)
        assert fault.message.startswith("Catalog a/b: ")
        assert fault.reason in set(Reason)


def test_a_message_is_one_line_of_bounded_length() -> None:
    fault = to_fault(Refused(422, "Invalid", "spec.a:\n  wrong " * 100), "Catalog a/b", write=True)
    assert "\n" not in fault.message
    assert len(fault.message) == MESSAGE_LENGTH_MAX
    assert fault.evidence.http_status == 422


def test_a_kind_that_is_not_served_names_the_cure() -> None:
    assert "CRDs" in to_fault(Refused(404), "Catalog a/b", write=False).message


def test_a_404_proves_absence_only_when_it_names_the_object() -> None:
    body = {"kind": "Status", "reason": "NotFound", "message": "no", "details": {"name": "a", "kind": "catalogs"}}
    assert refused(404, body).object_missing
    assert not refused(404, None).object_missing
    assert not refused(404, {"kind": "Status", "reason": "NotFound", "message": "no"}).object_missing
    assert not refused(403, {**body, "reason": "Forbidden"}).object_missing


def test_causes_are_read() -> None:
    body = {"kind": "Status", "reason": "Forbidden", "details": {"causes": [{"reason": "NamespaceTerminating"}]}}
    assert refused(403, body).causes == ("NamespaceTerminating",)
