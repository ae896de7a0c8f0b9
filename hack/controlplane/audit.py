"""Reads the API server's audit log: who asked for what, and how often. The cheapest proof of how quiet a client is.

The API server writes an entry before it sends the end of an answer, so what a client has been answered is there. One
request may have several entries (a watch: when it begins and when it ends); here it is one Request, as it began.
"""

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Names are empty where it has none (a list, a path that is no resource)."""

    received_at: dt.datetime
    user: str
    user_agent: str
    verb: str
    path: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int

    @classmethod
    def of(cls, event: dict[str, Any]) -> "Request":
        subject: dict[str, str] = event.get("objectRef", {})
        return cls(
            received_at=dt.datetime.fromisoformat(event["requestReceivedTimestamp"]),
            user=event.get("user", {}).get("username", ""),
            user_agent=event.get("userAgent", ""),
            verb=event["verb"],
            path=event["requestURI"],
            group=subject.get("apiGroup", ""),
            resource=subject.get("resource", ""),
            subresource=subject.get("subresource", ""),
            namespace=subject.get("namespace", ""),
            name=subject.get("name", ""),
            code=event.get("responseStatus", {}).get("code", 0),
        )


def requests(audit_log: Path) -> Iterator[Request]:
    """Each request once, in the order of the log. A last line that is being written is left out."""
    seen: set[str] = set()
    with audit_log.open(encoding="utf-8") as lines:
        for line in lines:
            if not line.endswith("\n"):
                return
            event = json.loads(line)
            if event["auditID"] not in seen:
                seen.add(event["auditID"])
                yield Request.of(event)
