"""Where each behaviour of the emulator comes from.

Every behaviour has an id, the page and section that say so, and a provenance. COVERAGE.md is generated from this
registry; a test fails on an id that no test claims and on a claim without an id.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

F = TypeVar("F", bound=Callable[..., object])


class Provenance(StrEnum):
    DOCUMENTED = "documented"  # a page of Meta's documentation says so
    SDK = "sdk"  # the official SDK, or the API description it is generated from, says so
    REPORTED = "reported"  # seen by others in public: issues, code, threads
    ASSUMED = "assumed"  # follows from the rest, or is simply unpublished: then it is a switch


@dataclass(frozen=True, slots=True)
class Behaviour:
    id: str
    page: str
    section: str
    provenance: Provenance
    says: str


REGISTRY: dict[str, Behaviour] = {}


def behaviour(id: str, *, page: str, section: str, provenance: Provenance, says: str) -> None:  # noqa: A002
    """Register a behaviour that is not one function."""
    assert id not in REGISTRY, f"behaviour {id!r} is registered twice"
    REGISTRY[id] = Behaviour(id=id, page=page, section=section, provenance=provenance, says=says)


def documented(
    id: str,  # noqa: A002
    *,
    page: str,
    section: str,
    says: str,
    provenance: Provenance = Provenance.DOCUMENTED,
) -> Callable[[F], F]:
    """Register the decorated function as the place where a behaviour lives."""
    behaviour(id, page=page, section=section, provenance=provenance, says=says)

    def keep(function: F) -> F:
        return function

    return keep
