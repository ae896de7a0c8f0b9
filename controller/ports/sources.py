"""The operator's own look at a source: has it changed? The rows are read elsewhere."""

from dataclasses import dataclass
from typing import Protocol

from controller.api.v1alpha1.items import Source
from controller.ports.preparing import SourceCredentials


@dataclass(frozen=True, slots=True)
class Version:
    """What a source says about the version it would deliver."""

    etag: str | None
    last_modified: str | None


@dataclass(frozen=True, slots=True)
class Look:
    """Result of a conditional request. `version` is None when the source has not changed."""

    version: Version | None


class Probe(Protocol):
    async def look(self, source: Source, credentials: SourceCredentials, known: Version | None) -> Look:
        """Ask the source whether it changed since `known`, without reading its rows.

        Raises `Fault`: reason SourceUnreachable (RETRY) or SourceRefused (STALLED: not allowed, no permission).
        """
        ...
