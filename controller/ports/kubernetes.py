"""The API server as the use cases see it: typed resources, faults already classified.

Every method raises `Fault`. Reasons: Conflict (RETRY: the object changed), AlreadyExists (STALLED), Forbidden
(STALLED), InvalidObject (DEFECT), NamespaceTerminating (STALLED), KubernetesUnavailable (RETRY; for a write: UNCERTAIN
when the answer was lost).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from pydantic import BaseModel

from controller.api.resource import ObjectKey, ObjectMeta, Resource
from controller.ports.meta import Secret

R = TypeVar("R", bound=Resource)


@dataclass(frozen=True, slots=True)
class SecretData:
    """One Secret, read by name. Values never leave through repr."""

    name: str
    resource_version: str
    labelled: bool
    """Carries the credential label."""
    values: tuple[tuple[str, Secret], ...]

    def get(self, key: str) -> Secret | None:
        return dict(self.values).get(key)


@dataclass(frozen=True, slots=True)
class Event:
    """What a person should see with `kubectl describe`. Equal events are aggregated by the recorder."""

    regarding: ObjectKey
    uid: str
    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    ledger: ObjectKey | None = None
    """The CatalogLedger where it is said instead when the namespace is going: nothing can be made in there."""
    ledger_uid: str = ""


class Cluster(Protocol):
    """Live reads and writes. What was watched is in the object store instead (controller.reconcile.objects)."""

    async def get(self, kind: type[R], key: ObjectKey) -> R | None:
        """Live GET; None where there is none."""
        ...

    async def list(self, kind: type[R], of: ObjectKey | None = None) -> tuple[R, ...]:
        """Live LIST: all that there are, or (`of` a Catalog) those in its namespace that carry its label."""
        ...

    async def identities(self, kind: type[Resource]) -> Mapping[ObjectKey, ObjectMeta]:
        """Metadata of every object of a kind that is watched, from one metadata-only LIST."""
        ...

    async def create(self, resource: R) -> R: ...

    async def replace(self, resource: R) -> R:
        """PUT of the whole object with its resourceVersion. Only for the kinds that we alone write."""
        ...

    async def apply_status(self, kind: type[R], key: ObjectKey, uid: str, status: BaseModel) -> R | None:
        """Server-side apply of the whole status under our field manager; None when the object (uid) is gone."""
        ...

    async def set_finalizer(self, resource: R, *, present: bool) -> R | None:
        """Add or remove FINALIZER with a resourceVersion test; None when the object is gone."""
        ...

    async def set_cancel(self, key: ObjectKey) -> None:
        """Set spec.cancel of a SyncOperation that we made."""
        ...

    async def delete(self, kind: type[R], key: ObjectKey, uid: str) -> None:
        """Delete with a uid precondition; an object that is gone is fine."""
        ...

    async def secret(self, namespace: str, name: str) -> SecretData | None: ...

    async def config_map(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """Read one ConfigMap by name: the values of data and binaryData; None where there is none."""
        ...

    async def installation(self, proposed: str) -> str:
        """Read the installation id from its ConfigMap, making it with `proposed` where there is none."""
        ...

    async def namespace_terminating(self, namespace: str) -> bool: ...

    def record(self, event: Event) -> None:
        """Queue an event; never waits, never fails."""
        ...
