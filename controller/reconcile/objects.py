"""The watched objects, newest known version of each, without their managed fields.

Filled by watch events, read by reconcile. Where a stale read could do harm (creating an operation, checking an owner)
the live object is read instead.
"""

from collections import defaultdict
from typing import TypeVar

from controller.api import names
from controller.api.resource import ObjectKey, Resource

R = TypeVar("R", bound=Resource)


class ObjectStore:
    def __init__(self) -> None:
        self._by_kind: dict[str, dict[ObjectKey, Resource]] = defaultdict(dict)

    def put(self, resource: Resource) -> bool:
        """Keep a newer version; tell whether anything that wakes a reconcile is different.

        Our own status and metadata writes don't wake: only a new object, a new generation, a request annotation or a
        deletion does.
        """
        known = self._by_kind[resource.KIND].get(resource.key)
        self._by_kind[resource.KIND][resource.key] = resource
        return known is None or _wake_marks(known) != _wake_marks(resource)

    def accept(self, answer: Resource) -> None:
        """Keep what a write of ours answered, unless a watch event has overtaken it."""
        known = self._by_kind[answer.KIND].get(answer.key)
        if known is None or not _older(answer, known):
            self._by_kind[answer.KIND][answer.key] = answer

    def remove(self, key: ObjectKey) -> Resource | None:
        return self._by_kind[key.kind].pop(key, None)

    def get(self, kind: type[R], key: ObjectKey) -> R | None:
        found = self._by_kind[kind.KIND].get(key)
        return found if isinstance(found, kind) else None

    def all(self, kind: type[R], namespace: str | None = None) -> tuple[R, ...]:
        """All objects of a kind, sorted by namespace and name."""
        found = [
            resource
            for resource in self._by_kind[kind.KIND].values()
            if isinstance(resource, kind) and (namespace is None or resource.key.namespace == namespace)
        ]
        return tuple(sorted(found, key=lambda resource: (resource.key.namespace, resource.key.name)))

    def keys(self, kind: str) -> frozenset[ObjectKey]:
        return frozenset(self._by_kind[kind])

    def count(self) -> dict[str, int]:
        return {kind: len(objects) for kind, objects in sorted(self._by_kind.items())}


def _older(resource: Resource, known: Resource) -> bool:
    """Tell whether an answer to a write of ours was overtaken by a watch event (versions of one object are ordered)."""
    if resource.uid != known.uid:
        return False
    versions = (resource.metadata.resource_version, known.metadata.resource_version)
    return all(version.isdigit() for version in versions) and int(versions[0]) < int(versions[1])


def _wake_marks(resource: Resource) -> tuple[object, ...]:
    metadata = resource.metadata
    return (
        metadata.uid,
        metadata.generation,
        metadata.deletion_timestamp,
        (metadata.annotations or {}).get(names.ANNOTATION_SYNC_REQUESTED_AT),
    )
