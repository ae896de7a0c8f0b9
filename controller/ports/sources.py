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
    async def authorise(self, source: Source, credentials: SourceCredentials) -> SourceCredentials:
        """Turn what the operator knows into what a read needs: keys of an object store into one presigned address.

        Raises `Fault`: reason SourceRefused (STALLED: the keys are missing or make no sense).
        """
        ...

    async def look(self, source: Source, credentials: SourceCredentials, known: Version | None) -> Look:
        """Ask the source whether it changed since `known`, without reading its rows.

        Raises `Fault`: reason SourceUnreachable (RETRY) or SourceRefused (STALLED: not allowed, no permission).
        """
        ...
