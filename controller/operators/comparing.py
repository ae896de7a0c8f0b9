"""Comparing what is known with what there is: the answer to deletions that no watch tells.

An API server that restarts has forgotten the deletions of its last moments, and a framework that lists again shows what
is there, not what is gone. So after every such LIST, and every ten minutes, the metadata of each kind is listed once
and compared with the store. What the comparison finds and no watch told is also the sign of a blind watch.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter

from controller.api import names
from controller.api.resource import ObjectKey, ObjectMeta, Resource
from controller.faults import Disposition, Fault
from controller.operators.observing import Observer
from controller.ports.kubernetes import Cluster
from controller.reconcile.objects import ObjectStore

LOG = logging.getLogger(__name__)

QUIET_SECONDS = 2.0
"""A framework's LIST comes in pages; the comparison waits until it has been quiet for so long."""
QUIET_SECONDS_MAX = 30.0
RETRY_SECONDS = 5.0
SINGLE_READS_MAX = 50
"""More unknown objects than these are read by one LIST."""
MISSED_MAX = 3
"""Comparisons in a row that found what the watch of that kind should have told."""


async def fill(cluster: Cluster, observer: Observer, kinds: Sequence[type[Resource]]) -> None:
    """Read everything that is watched once, before any work starts: what is not there then is gone. Raises Fault.

    A framework tells of objects one by one and of nothing where there is none, so its start can't be waited for.
    """
    for kind in kinds:
        for resource in await cluster.list(kind):
            observer.seen(resource)


class Comparison:
    """Compares until cancelled: every interval, and once the observer has been told of a LIST."""

    def __init__(
        self,
        cluster: Cluster,
        objects: ObjectStore,
        observer: Observer,
        kinds: Sequence[type[Resource]],
        *,
        interval_seconds: float,
        monotonic: Callable[[], float],
        registry: CollectorRegistry,
    ) -> None:
        self._cluster = cluster
        self._objects = objects
        self._observer = observer
        self._kinds = tuple(kinds)
        self._interval = interval_seconds
        self._monotonic = monotonic
        self._missed: dict[str, int] = {}
        self._watched: dict[str, int] = {}
        self.compared_at = monotonic()
        """When everything was compared last."""
        self._rounds = Counter("metacatalog_watch_comparisons_total", "Comparisons of all kinds", registry=registry)
        self._found = Counter(
            "metacatalog_watch_missed_total", "Changes that no watch had told", ["kind"], registry=registry
        )

    @property
    def blind(self) -> tuple[str, ...]:
        """Kinds whose watch told nothing although comparisons kept finding changes."""
        return tuple(sorted(kind for kind, count in self._missed.items() if count >= MISSED_MAX))

    async def run(self) -> None:
        """Compare when a LIST was seen and every interval."""
        while True:
            try:
                async with asyncio.timeout(self._interval):
                    await self._observer.listed.wait()
            except TimeoutError:
                pass
            else:
                await self._quiet()
            self._observer.listed.clear()
            while not await self._compare_all():  # noqa: ASYNC110 - the API server is not ready, and says nothing
                await asyncio.sleep(RETRY_SECONDS)

    async def compare(self, kind: type[Resource]) -> int:
        """Compare one kind and pass on what differs; return how much did. Raises Fault."""
        before = {key: self._uid(kind, key) for key in self._objects.keys(kind.KIND)}
        there = await self._cluster.identities(kind)
        # Only what was known before the LIST can be missing from it; what has another uid now came after it.
        gone = [key for key, uid in before.items() if key not in there and self._uid(kind, key) == uid]
        for key in sorted(gone):
            self._observer.gone(key)
        stale = [key for key, metadata in there.items() if self._differs(kind, key, metadata)]
        read = await self._read(kind, stale)
        for resource in read:
            self._observer.seen(resource)
        return len(gone) + len(read)

    async def _compare_all(self) -> bool:
        for kind in self._kinds:
            try:
                found = await self.compare(kind)
            except Fault as fault:
                LOG.warning("comparison did not finish", extra={"kind": kind.KIND, "reason": fault.reason})
                return False
            if found:
                LOG.info("comparison found what no watch told", extra={"kind": kind.KIND, "objects": found})
                self._found.labels(kind.KIND).inc(found)
            self._judge(kind.KIND, found)
        self.compared_at = self._monotonic()
        self._rounds.inc()
        return True

    def _judge(self, kind: str, found: int) -> None:
        watched = self._observer.watched.get(kind, 0)
        told = watched != self._watched.get(kind, 0)
        self._watched[kind] = watched
        self._missed[kind] = 0 if told or not found else self._missed.get(kind, 0) + 1

    async def _quiet(self) -> None:
        latest = self._monotonic() + QUIET_SECONDS_MAX
        while True:
            seconds = min(self._observer.listed_at + QUIET_SECONDS, latest) - self._monotonic()
            if seconds <= 0:
                return
            await asyncio.sleep(seconds)

    async def _read(self, kind: type[Resource], keys: Sequence[ObjectKey]) -> Sequence[Resource]:
        if len(keys) > SINGLE_READS_MAX:
            wanted = set(keys)
            return [resource for resource in await self._cluster.list(kind) if resource.key in wanted]
        found = [await self._get(kind, key) for key in sorted(keys)]
        return [resource for resource in found if resource is not None]

    async def _get(self, kind: type[Resource], key: ObjectKey) -> Resource | None:
        try:
            return await self._cluster.get(kind, key)
        except Fault as fault:
            if fault.disposition is not Disposition.DEFECT:
                raise
            LOG.error("object can't be read", extra={"object": str(key), "problems": fault.message})
            return None

    def _uid(self, kind: type[Resource], key: ObjectKey) -> str | None:
        known = self._objects.get(kind, key)
        return None if known is None else known.uid

    def _differs(self, kind: type[Resource], key: ObjectKey, metadata: ObjectMeta) -> bool:
        known = self._objects.get(kind, key)
        return known is None or _marks(known.metadata) != _marks(metadata)


def _marks(metadata: ObjectMeta) -> tuple[object, ...]:
    """What makes a reconcile necessary, as the store sees it."""
    return (
        metadata.uid,
        metadata.generation,
        metadata.deleting,
        metadata.annotations.get(names.ANNOTATION_SYNC_REQUESTED_AT),
    )
