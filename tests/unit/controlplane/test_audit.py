"""The audit log is read as requests, each once."""

import json
from pathlib import Path

from hack.controlplane import audit


def event(identity: str, stage: str = "ResponseComplete", **parts: object) -> str:
    common = {
        "auditID": identity,
        "stage": stage,
        "verb": "list",
        "requestURI": "/apis/example.test/v1/namespaces/n/widgets?limit=5",
        "requestReceivedTimestamp": "2026-03-01T12:00:00.250000Z",
    }
    return json.dumps({**common, **parts}) + "\n"


def test_a_request_is_told_by_who_what_and_how_it_ended(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_text(
        event(
            "a",
            user={"username": "u"},
            userAgent="agent/1",
            objectRef={"apiGroup": "example.test", "resource": "widgets", "namespace": "n", "subresource": "status"},
            responseStatus={"code": 403},
        )
    )
    (request,) = audit.requests(log)
    assert (request.user, request.user_agent, request.verb, request.code) == ("u", "agent/1", "list", 403)
    assert (request.group, request.resource, request.subresource) == ("example.test", "widgets", "status")
    assert (request.namespace, request.name) == ("n", "")
    assert request.received_at.isoformat() == "2026-03-01T12:00:00.250000+00:00"


def test_a_watch_counts_once_and_a_torn_line_not_at_all(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    watch = event("w", "ResponseStarted", verb="watch")
    log.write_text(watch + event("g") + event("w", verb="watch") + event("unfinished")[:-20])
    assert [request.verb for request in audit.requests(log)] == ["watch", "list"]
