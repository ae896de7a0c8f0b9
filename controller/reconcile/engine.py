"""The work queue, its workers, and who wakes whom: what the framework talks to.

`observed` and `vanished` are called for every watch event; `run` works until it is cancelled. The simulation drives the
same engine in virtual time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from controller.api.resource import ObjectKey, Resource
from controller.faults import Disposition, Fault
from controller.reconcile.context import Context
from controller.reconcile.outcome import Outcome
from controller.scheduling.queue import WorkQueue

LOG = logging.getLogger(__name__)

AGAIN_SECONDS_MIN = 0.05
"""A run that asks for the next one at a moment that has come already must not spin."""

Reconcile = Callable[[ObjectKey], Awaitable[Outcome]]
Dependents = Callable[[ObjectKey], tuple[ObjectKey, ...]]


class Engine:
    def __init__(self, context: Context, reconcile: Reconcile, dependents: Dependents) -> None:
        self._context = context
        self._reconcile = reconcile
        self._dependents = dependents
        self._failures: dict[ObjectKey, int] = {}
        self.queue: WorkQueue[ObjectKey] = WorkQueue()

    def observed(self, resource: Resource) -> None:
        """A watch event with an object: added, modified, or listed at start."""
        if self._context.objects.put(resource):
            self.wake(resource.key)

    def vanished(self, key: ObjectKey) -> None:
        """A watch event that says the object is gone, or a comparison with a LIST that did not show it."""
        if self._context.objects.remove(key) is not None:
            self.wake(key)

    def wake(self, key: ObjectKey) -> None:
        """Something about this object changed: look at it, and at those that depend on it, now."""
        self._failures.pop(key, None)
        self.queue.mark(key)
        self.wake_dependents(key)

    def wake_dependents(self, key: ObjectKey) -> None:
        """What hangs on this object looks again: it can do now what it could not do before, or the other way round."""
        for dependent in self._dependents(key):
            self._failures.pop(dependent, None)
            self.queue.mark(dependent, priority=1)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._context.settings.workers):
                group.create_task(self._work(), name=f"worker-{number}")

    async def _work(self) -> None:
        while True:
            key = await self.queue.take()
            self._context.metrics.queue_depth.set(len(self.queue))
            again_at: datetime | None = None
            try:
                again_at = await self._once(key)
            finally:
                self.queue.done(key)
            if again_at is not None:
                delay = (again_at - self._context.clock.now()).total_seconds()
                self.queue.mark(key, delay=max(delay, AGAIN_SECONDS_MIN), priority=2)

    async def _once(self, key: ObjectKey) -> datetime | None:
        metrics = self._context.metrics
        try:
            with metrics.reconcile_seconds.labels(key.kind).time():
                outcome = await self._reconcile(key)
        except Fault as fault:
            metrics.reconciles.labels(key.kind, fault.disposition).inc()
            LOG.info("reconcile did not finish", extra={"object": str(key), "reason": fault.reason})
            return self._retry_at(key, fault)
        except Exception:  # a defect of one object must not end the work on the others
            metrics.reconciles.labels(key.kind, Disposition.DEFECT).inc()
            LOG.exception("reconcile failed", extra={"object": str(key)})
            return self._retry_at(key, None)
        metrics.reconciles.labels(key.kind, "Done").inc()
        self._failures.pop(key, None)
        return outcome.again_at

    def _retry_at(self, key: ObjectKey, fault: Fault | None) -> datetime:
        """Back-off with full jitter; a told time is kept."""
        now = self._context.clock.now()
        if fault is not None and fault.retry_at is not None:
            return max(fault.retry_at, now + timedelta(seconds=1))
        timing = self._context.settings.timing
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        ceiling = min(timing.retry_min * 2 ** min(failures, 16), timing.retry_max)
        spread = (ceiling - timing.retry_min).total_seconds() * self._context.rng.random()
        return now + timing.retry_min + timedelta(seconds=spread)
