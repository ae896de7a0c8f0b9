"""Where snapshots, payloads, journals and held sets are kept, as the operator sees it.

Objects are immutable: a key is written once. Writing is atomic and durable before it returns.
"""

from collections.abc import AsyncIterator
from typing import Protocol


class Store(Protocol):
    """Small objects whole, payloads as a stream. Keys are relative, with forward slashes.

    Raises `Fault`: reason StoreUnavailable (RETRY), StoreFull (RETRY), SnapshotLost (STALLED: unreadable or foreign).
    """

    url: str
    """What a step's request names, e.g. file:///var/lib/metacatalog."""

    async def identity(self) -> str | None:
        """Return the identity written by `claim_identity`, or None for a store that was never used."""
        ...

    async def claim_identity(self, identity: str) -> None:
        """Write the identity of a store that has none."""
        ...

    async def read(self, key: str) -> bytes | None:
        """Return the object, or None where there is none."""
        ...

    async def write(self, key: str, content: bytes) -> None:
        """Write an object durably. Writing the same bytes again is fine; other bytes are a defect."""
        ...

    async def keys(self, prefix: str) -> tuple[str, ...]:
        """List the keys under a prefix, sorted."""
        ...

    async def delete(self, keys: tuple[str, ...]) -> None:
        """Remove objects; those that are gone already are fine."""
        ...

    def stream(self, key: str) -> AsyncIterator[bytes]:
        """Yield the object's bytes in pieces of at most 1 MiB."""
        ...
