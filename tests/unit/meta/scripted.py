"""A Meta that answers from a script, behind httpx's own in-process transport."""

import hashlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import httpx

from controller.faults import Fault
from controller.meta.client import HttpxGraph, HttpxGraphFactory
from controller.ports.meta import Body, Call, Credentials, Secret, Usage

NOW = datetime(2026, 9, 1, 12, 0, tzinfo=UTC)
TOKEN = "EAAsystemusertoken0123456789abcdefghij"
APP_SECRET = "5f1d0c2e9b8a7f6e5d4c3b2a19080706"
ENDPOINT = "https://graph.example"

Answering = Callable[[httpx.Request], httpx.Response]


class FixedClock:
    def now(self) -> datetime:
        return NOW


@dataclass
class RecordingGovernor:
    """Admits everything, or raises what it is told to, and remembers."""

    refusal: Fault | None = None
    admitted: list[Call] = field(default_factory=list)
    observed: list[tuple[Call, Usage | None, int | None]] = field(default_factory=list)

    def admit(self, call: Call) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.admitted.append(call)

    def observe(self, call: Call, usage: Usage | None, throttled_minutes: int | None) -> None:
        self.observed.append((call, usage, throttled_minutes))


def answer(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Answering:
    return raw(json_bytes(value), status, headers)


def raw(content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Answering:
    return lambda _: httpx.Response(status, content=content, headers=headers)


def failure(error: httpx.RequestError | OSError) -> Answering:
    def fail(request: httpx.Request) -> httpx.Response:
        if isinstance(error, httpx.RequestError):
            error.request = request
        raise error

    return fail


def envelope(code: int, message: str = "a message", subcode: int | None = None, **more: object) -> dict[str, object]:
    error: dict[str, object] = {"message": f"(#{code}) {message}", "type": "OAuthException", "code": code, **more}
    if subcode is not None:
        error["error_subcode"] = subcode
    return {"error": error}


class Script:
    """Answers one request after the other and keeps them, bodies read."""

    def __init__(self, *answers: Answering) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.requests.append(request)
        return self.answers.pop(0)(request)

    @property
    def paths(self) -> list[str]:
        return [f"{request.method} {request.url.path}" for request in self.requests]

    def query(self, number: int = -1) -> dict[str, str]:
        return dict(self.requests[number].url.params)

    def form(self, number: int = -1) -> dict[str, str]:
        return dict(parse_qsl(self.requests[number].content.decode(), keep_blank_values=True))


def credentials(*, app_secret: bool = False, app_id: str | None = None, timeout_seconds: float = 5.0) -> Credentials:
    return Credentials(
        business_id="77",
        token=Secret(TOKEN),
        app_id=app_id,
        app_secret=Secret(APP_SECRET) if app_secret else None,
        timeout_seconds=timeout_seconds,
    )


def connect(
    script: Script, with_credentials: Credentials | None = None, governor: RecordingGovernor | None = None
) -> HttpxGraph:
    factory = HttpxGraphFactory(
        ENDPOINT, governor or RecordingGovernor(), FixedClock(), lambda: httpx.MockTransport(script)
    )
    return factory.connect(with_credentials or credentials())


def make_body(content: bytes, *, pieces: int = 3, sha256: str | None = None, size_bytes: int | None = None) -> Body:
    async def chunks() -> AsyncIterator[bytes]:
        step = max(1, -(-len(content) // pieces))
        for start in range(0, len(content), step):
            yield content[start : start + step]

    return Body(
        size_bytes=len(content) if size_bytes is None else size_bytes,
        sha256=sha256 or hashlib.sha256(content).hexdigest(),
        open=chunks,
        deadline_seconds=5.0,
    )


def json_bytes(value: object) -> bytes:
    return json.dumps(value).encode()


def page(*rows: object, after: str | None = None) -> object:
    if after is None:
        return {"data": list(rows), "paging": {"cursors": {"before": "B", "after": "A"}}}
    return {
        "data": list(rows),
        "paging": {"cursors": {"after": after}, "next": f"{ENDPOINT}/v26.0/x?access_token={TOKEN}&after={after}"},
    }
