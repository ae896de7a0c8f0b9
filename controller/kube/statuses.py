"""When a status is worth writing: only when it differs from what is there, and at most once a second per object.

What is there is known from two sides: the watched object, and the answer to our own last write, whichever is newer. A
write that would change nothing costs the API server a transaction, and everybody who watches an event. No library
keeps such a memory; server-side apply itself is idempotent but not free.
"""

import asyncio
import hashlib
import json
from dataclasses import dataclass

from controller.kube.transport import Json

INTERVAL_SECONDS = 1.0
REMEMBERED_MAX = 20_000
"""Objects whose last write is remembered. Forgetting one costs at most one write that changes nothing."""


@dataclass(frozen=True, slots=True)
class _Written:
    version: int
    sent: bytes
    answered: bytes


@dataclass(frozen=True, slots=True)
class Known:
    """The watched status of an object."""

    resource_version: str
    status: Json


class StatusMemory:
    """Per uid: what was written last, and when the next write may go."""

    def __init__(self) -> None:
        self._written: dict[str, _Written] = {}
        self._free_at: dict[str, float] = {}

    def unchanged(self, uid: str, status: Json, known: Known | None) -> bool:
        """Whether the API server already holds this status."""
        last = self._written.get(uid)
        wanted = _digest(status)
        if known is not None and (last is None or version_number(known.resource_version) >= last.version):
            there = _digest(known.status)
            return there == wanted or (last is not None and last.sent == wanted and there == last.answered)
        return last is not None and last.sent == wanted

    def newest_version(self, uid: str, known: str | None) -> str | None:
        """The newest version of the object that we have seen, or None."""
        last = self._written.get(uid)
        if last is None or (known is not None and version_number(known) >= last.version):
            return known
        return str(last.version)

    def written(self, uid: str, sent: Json, resource_version: str, answered: Json) -> None:
        self._written.pop(uid, None)
        self._written[uid] = _Written(version_number(resource_version), _digest(sent), _digest(answered))
        if len(self._written) > REMEMBERED_MAX:
            self.forget(next(iter(self._written)))

    def forget(self, uid: str) -> None:
        self._written.pop(uid, None)
        self._free_at.pop(uid, None)

    async def turn(self, uid: str) -> None:
        """Wait until this object may be written again."""
        now = asyncio.get_running_loop().time()
        at = max(self._free_at.get(uid, now), now)
        self._free_at[uid] = at + INTERVAL_SECONDS
        if at > now:
            await asyncio.sleep(at - now)
        elif len(self._free_at) > REMEMBERED_MAX:
            self._free_at = {known: free for known, free in self._free_at.items() if free > now}


def version_number(resource_version: str) -> int:
    """Since Kubernetes 1.35 the versions of one kind are comparable numbers; they always were with etcd."""
    return int(resource_version) if resource_version.isdecimal() else 0


def _digest(status: Json) -> bytes:
    return hashlib.blake2b(json.dumps(status, sort_keys=True).encode(), digest_size=16).digest()
