"""Requests and answers as values, independent of any HTTP library."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from enum import StrEnum
from urllib.parse import urlsplit


class Wire(StrEnum):
    """What becomes of an answer on its way back."""

    WHOLE = "whole"
    NOTHING = "nothing"  # the connection ends without an answer
    HALF = "half"  # the connection ends in the middle of the answer's body


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; header names in lower case."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | AsyncIterator[bytes] = b""
    scheme: str = "http"

    @property
    def base_url(self) -> str:
        return f"{self.scheme}://{self.headers.get('host', 'graph.facebook.com')}"


@dataclass(slots=True)
class Response:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    wire: Wire = Wire.WHOLE
    seq: int = 0  # of the request in the journal; 0: none


def request(method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Request:
    """A request from a URL, for callers without an HTTP library."""
    parts = urlsplit(url)
    lower = {name.lower(): value for name, value in (headers or {}).items()}
    if parts.netloc:
        lower.setdefault("host", parts.netloc)
    return Request(
        method=method,
        path=parts.path or "/",
        query=parts.query,
        headers=lower,
        body=body,
        scheme=parts.scheme or "http",
    )


def http_date(at: float) -> str:
    return formatdate(at, usegmt=True)
