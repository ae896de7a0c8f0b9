"""One request to an API server, and the three ways in which it can fail.

Everything of this package speaks to the API server through `Transport`: the official client in the operator, an
in-memory server in the simulation. So what is classified, retried, compared or aggregated is the same code in both.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol

from typing_extensions import override

Json = dict[str, Any]
"""A JSON object as the API server speaks it."""

REQUEST_DEADLINE_SECONDS = 30.0


class ContentType(StrEnum):
    JSON = "application/json"
    APPLY = "application/apply-patch+yaml"
    MERGE_PATCH = "application/merge-patch+json"


class Accept(StrEnum):
    JSON = "application/json"
    METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    """Only the metadata of each object of a list."""


Verb = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, without the server's address and without credentials."""

    verb: Verb
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: Json | None = field(default=None, repr=False)
    content_type: ContentType = ContentType.JSON
    accept: Accept = Accept.JSON
    deadline_seconds: float = REQUEST_DEADLINE_SECONDS

    @property
    def write(self) -> bool:
        return self.verb != "GET"


class Failure(Exception):  # noqa: N818 - each subclass says what happened
    """A request that did not succeed."""


@dataclass(eq=False)
class Refused(Failure):
    """The API server answered, with an error."""

    status: int
    reason: str = ""
    """`Status.reason`, e.g. NotFound; empty when the answer was no Status."""
    message: str = ""
    name: str = ""
    """`Status.details.name`: of which object."""
    kind: str = ""
    """`Status.details.kind`: in practice the plural."""
    causes: tuple[str, ...] = ()
    """Reasons of `Status.details.causes`, e.g. NamespaceTerminating."""

    @override
    def __str__(self) -> str:
        return f"{self.status} {self.reason}: {self.message}"

    @property
    def object_missing(self) -> bool:
        """The kind is served and there is no such object. A 404 of another sort proves nothing."""
        return self.status == 404 and self.reason == "NotFound" and bool(self.name)


@dataclass(eq=False)
class NotSent(Failure):
    """No byte of the request left: nothing can have happened."""

    why: str

    @override
    def __str__(self) -> str:
        return self.why


@dataclass(eq=False)
class AnswerLost(Failure):
    """The request left and no answer came: it may have been carried out."""

    why: str

    @override
    def __str__(self) -> str:
        return self.why


class Transport(Protocol):
    """Carries requests. One attempt each; a retry is the caller's decision."""

    async def send(self, request: Request) -> Json:
        """Return the body of a successful answer. Raises a `Failure`."""
        ...


def refused(status: int, body: Json | None) -> Refused:
    """Read the error of an answer; a body that is no Status (`404 page not found`) leaves everything but the code."""
    if body is None or body.get("kind") != "Status":
        return Refused(status)
    details = body.get("details") or {}
    return Refused(
        status=status,
        reason=str(body.get("reason", "")),
        message=str(body.get("message", "")),
        name=str(details.get("name", "")),
        kind=str(details.get("kind", "")),
        causes=tuple(str(cause.get("reason", "")) for cause in details.get("causes") or ()),
    )
