"""Faults: what can go wrong between a client and Meta, armed for some requests, off by default.

A fault is armed with a pattern of method and path, and strikes either the next `count` matching requests or each with
some probability, drawn from the seed. Several may strike one request.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from random import Random

from hack.emulator import jsons, messages
from hack.emulator.messages import GraphError
from hack.emulator.routing import Mischief
from hack.emulator.wire import Response

KINDS: dict[str, str] = {
    "latency": "wait `seconds` before the request is looked at (`phase`: request) or before the answer leaves (answer)",
    "connect_refused": "no connection; nothing leaves the client",
    "drop_before": "the request is read, then the connection ends; nothing was accepted",
    "drop_after": "the request is accepted, then the connection ends without an answer",
    "reset": "the connection ends in the middle of the request body (after `bytes`); nothing was accepted",
    "half_answer": "the request is accepted; the connection ends in the middle of the answer",
    "http_error": "status `status` (502) with a body that is no JSON; `accepted` true does the work first",
    "error_200": "status 200 with an error envelope of `code` (1); nothing was accepted",
    "graph_error": "an error envelope of `code` (1 or 2) and `transient`; `accepted` true does the work first",
    "throttle": "`code` 80014, 80009, 4, 17 or 613, and the bucket stays blocked for `minutes` (5)",
    "token": "error 190 with `subcode` (463)",
    "late": "accepted now, effects begin `seconds` (1200) later, and lists don't show it before",
    "handle_lost": "the handle of this batch is forgotten at once",
    "stuck_upload": "the upload gets half way and never ends",
    "partial_batch": "half of the rows are applied and the batch ends as `error`",
    "upload_failure": "the file as a whole is refused, with `reason`",
    "stale_reads": "changes of this upload or batch are seen by reads only after up to `seconds` (900)",
    "lost_effects": "the upload or batch is accepted and answered, and nothing of it is ever applied",
}
NUMBERS = ("seconds", "minutes", "status", "code", "subcode", "bytes")


@dataclass(slots=True)
class Fault:
    id: int
    kind: str
    method: str = ""  # empty: any
    path: str = ""  # regular expression searched in the path; empty: any
    count: int = 1  # how often it may still strike; ignored with a probability
    probability: float = 0.0
    numbers: dict[str, float] = field(default_factory=dict)
    accepted: bool = False
    transient: bool = True
    phase: str = "request"
    reason: str = "The file could not be read."
    struck: int = 0

    def number(self, name: str, default: float) -> float:
        return self.numbers.get(name, default)


@dataclass(slots=True)
class FaultPlan:
    rng: Random
    armed: list[Fault] = field(default_factory=list)
    struck: dict[str, int] = field(default_factory=dict)
    _last: int = 0

    def arm(self, wish: Mapping[str, jsons.Json]) -> Fault:
        """Raises ValueError that names what is wrong."""
        kind = jsons.as_text(wish.get("kind"))
        if kind not in KINDS:
            raise ValueError(f"fault kind {kind!r} is unknown; there are: {', '.join(KINDS)}")
        known = {"kind", "method", "path", "count", "probability", "accepted", "transient", "phase", "reason", *NUMBERS}
        if unknown := sorted(set(wish) - known):
            raise ValueError(f"a fault has no {', '.join(unknown)}; it may have {', '.join(sorted(known))}")
        path = jsons.as_text(wish.get("path"))
        try:
            re.compile(path)
        except re.error as problem:
            raise ValueError(f"path {path!r} is not a regular expression: {problem}") from None
        self._last += 1
        fault = Fault(
            id=self._last,
            kind=kind,
            method=jsons.as_text(wish.get("method")).upper(),
            path=path,
            count=jsons.as_integer(wish.get("count"), 1),
            probability=jsons.as_number(wish.get("probability")),
            numbers={name: jsons.as_number(wish[name]) for name in NUMBERS if name in wish},
            accepted=wish.get("accepted") is True,
            transient=wish.get("transient", True) is True,
            phase=jsons.as_text(wish.get("phase"), "request"),
            reason=jsons.as_text(wish.get("reason"), "The file could not be read."),
        )
        if not 0 <= fault.probability <= 1:
            raise ValueError(f"probability must be between 0 and 1, not {fault.probability}")
        self.armed.append(fault)
        return fault

    def disarm(self, id: int | None = None) -> int:  # noqa: A002
        before = len(self.armed)
        self.armed = [] if id is None else [fault for fault in self.armed if fault.id != id]
        return before - len(self.armed)

    def strike(self, method: str, path: str) -> "Strike":
        """The faults that hit this request."""
        if not self.armed:
            return Strike()
        hits: dict[str, Fault] = {}
        for fault in list(self.armed):
            if (fault.method and fault.method != method) or not re.search(fault.path, path):
                continue
            if fault.probability:
                if self.rng.random() >= fault.probability:
                    continue
            else:
                fault.count -= 1
                if fault.count <= 0:
                    self.armed.remove(fault)
            fault.struck += 1
            self.struck[fault.kind] = self.struck.get(fault.kind, 0) + 1
            hits.setdefault(fault.kind, fault)
        return Strike(hits)

    def show(self) -> jsons.Object:
        return {
            "armed": [{"struck": fault.struck, **_plain(fault)} for fault in self.armed],
            "struck": dict(sorted(self.struck.items())),
            "kinds": dict(KINDS),
        }


def _plain(fault: Fault) -> jsons.Object:
    plain: jsons.Object = asdict(fault)
    return plain


@dataclass(frozen=True, slots=True)
class Strike:
    hits: Mapping[str, Fault] = field(default_factory=dict)

    def __contains__(self, kind: str) -> bool:
        return kind in self.hits

    def get(self, kind: str) -> Fault | None:
        return self.hits.get(kind)

    def number(self, kind: str, name: str, default: float) -> float:
        fault = self.hits.get(kind)
        return fault.number(name, default) if fault is not None else 0.0


HTML = b"<html><head><title>Error</title></head><body><h1>Sorry, something went wrong.</h1></body></html>"


def works_first(strike: Strike) -> bool:
    return any(fault.accepted for kind in ("http_error", "graph_error") if (fault := strike.get(kind)) is not None)


def _coded(code: int) -> GraphError:
    known = {1: messages.unknown_error, 2: messages.unavailable}
    return known[code]() if code in known else GraphError(code, f"(#{code}) Error")


def answer_instead(strike: Strike) -> Response | None:
    """What is answered in the place of the API."""
    if (fault := strike.get("http_error")) is not None:
        return Response(int(fault.number("status", 502)), HTML, {"Content-Type": "text/html"})
    if (fault := strike.get("error_200")) is not None:
        error = _coded(int(fault.number("code", 1)))
        return Response(200, jsons.dump(error.envelope("AbCdEfGh")))
    if (fault := strike.get("graph_error")) is not None:
        error = _coded(int(fault.number("code", 2)))
        error.transient = fault.transient
        return Response(error.status, jsons.dump(error.envelope("AbCdEfGh")))
    return None


def mischief(strike: Strike) -> Mischief:
    if not strike.hits:
        return Mischief()
    failure = strike.get("upload_failure")
    return Mischief(
        late_seconds=strike.number("late", "seconds", 1200) if "late" in strike else 0,
        lose_handle="handle_lost" in strike,
        stuck="stuck_upload" in strike,
        partial="partial_batch" in strike,
        failure=failure.reason if failure is not None else "",
        reads_lag=strike.number("stale_reads", "seconds", 900) if "stale_reads" in strike else -1,
        no_effects="lost_effects" in strike,
    )
