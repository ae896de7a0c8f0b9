"""What watch events become: typed objects in the engine's store, keys in its queue.

A body is trimmed before it is kept: managed fields and kubectl's copy of the manifest are half of an object and nobody
reads them. Events can be late; one that is older than what is known already is dropped.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from controller.api.resource import InvalidResource, ObjectKey, Resource
from controller.reconcile.engine import Engine
from controller.reconcile.objects import ObjectStore

LOG = logging.getLogger(__name__)

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
DELETED = "DELETED"


class Observer:
    """Feeds one engine. Called from one event loop only."""

    def __init__(self, engine: Engine, objects: ObjectStore, *, monotonic: Callable[[], float]) -> None:
        self._engine = engine
        self._objects = objects
        self._monotonic = monotonic
        self.listed = asyncio.Event()
        """Set whenever an event came out of a LIST: what vanished before it is told by nobody."""
        self.listed_at = monotonic()
        self.last_event_at: dict[str, float] = {}
        """Per kind, on the monotonic clock."""
        self.watched: dict[str, int] = {}
        """Per kind: events that a watch delivered, as opposed to a LIST."""

    def event(self, kind: type[Resource], change: str | None, wire: Mapping[str, Any]) -> None:
        """One watch event. `change` is None for an object that comes out of a LIST."""
        self.last_event_at[kind.KIND] = self._monotonic()
        if change is None:
            self.listed_at = self._monotonic()
            self.listed.set()
        else:
            self.watched[kind.KIND] = self.watched.get(kind.KIND, 0) + 1
        try:
            resource = kind.from_wire(trimmed(wire))
        except InvalidResource as invalid:
            LOG.error("object can't be read", extra={"object": str(invalid.key), "problems": invalid.problems})
            return
        known = self._objects.get(kind, resource.key)
        if change == DELETED:
            if known is None or known.uid == resource.uid:
                self._engine.vanished(resource.key)
        elif change is None or not _older(resource, known):
            self._engine.observed(resource)

    def seen(self, resource: Resource) -> None:
        """An object that was read, not watched."""
        if not _older(resource, self._objects.get(type(resource), resource.key)):
            self._engine.observed(resource)

    def gone(self, key: ObjectKey) -> None:
        """An object that a LIST did not show any more."""
        self._engine.vanished(key)


def trimmed(wire: Mapping[str, Any]) -> dict[str, Any]:
    """The body without what nobody here reads."""
    metadata = {name: value for name, value in wire.get("metadata", {}).items() if name != "managedFields"}
    annotations = metadata.get("annotations")
    if annotations and LAST_APPLIED in annotations:
        metadata["annotations"] = {name: value for name, value in annotations.items() if name != LAST_APPLIED}
    return {**wire, "metadata": metadata}


def _older(resource: Resource, known: Resource | None) -> bool:
    """Versions of one object are numbers that grow. (After etcd was restored they start lower: a LIST settles that.)"""
    if known is None or known.uid != resource.uid:
        return False
    new, old = resource.metadata.resource_version, known.metadata.resource_version
    return new.isdecimal() and old.isdecimal() and int(new) < int(old)
