"""One active operator: a coordination Lease, with the rules of client-go's leader election.

A lease that another process holds is taken over only when its record has not changed for its whole duration, as seen
on the local monotonic clock; wall clocks are never compared. Our own hold is believed for less than that: until
`renew_seconds` after the *start* of the last request that renewed it, on a clock that counts suspend. So a process that
was stopped, starved or cut off knows that it lost the lease before anybody else can have taken it, the moment it looks.

The official client's own elector renews with the synchronous half and compares wall clocks.
"""

import asyncio
import contextlib
import logging
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from controller.clock import Clock
from controller.kube import paths
from controller.kube.transport import Failure, Json, Refused, Request, Transport

LOG = logging.getLogger(__name__)

JITTER = 0.2
"""A standby looks this much later at most, so that two don't look together."""


def boot_seconds() -> float:
    """Monotonic time that goes on while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """client-go: LeaseDuration, RenewDeadline, RetryPeriod."""

    seconds: float = 15.0
    renew_seconds: float = 10.0
    retry_seconds: float = 2.0

    def __post_init__(self) -> None:
        if not self.seconds > self.renew_seconds > self.retry_seconds > 0:
            message = "lease times must be lease > renew > retry > 0; e.g. 15 s, 10 s, 2 s"
            raise ValueError(message)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A record of somebody else, and since when it has stood unchanged on our clock."""

    record: Json
    at: float


class Lease:
    """One process's view of the lease. `acquire` and `keep` are used by one task; `valid` by anybody."""

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        *,
        namespace: str,
        name: str,
        identity: str,
        timing: LeaseTiming,
        rng: random.Random,
        monotonic: Callable[[], float] = boot_seconds,
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._namespace = namespace
        self._name = name
        self.identity = identity
        self._timing = timing
        self._rng = rng
        self._monotonic = monotonic
        self._deadline: float | None = None
        self._seen: _Seen | None = None
        self._written: Json | None = None
        """Our last record as the API server has it, while no other is known."""
        self._lost = False
        self.reached = False
        """Whether the last look got an answer from the API server."""

    def valid(self) -> bool:
        """Whether this process may still start something. Asked right before each first byte."""
        return not self._lost and self._deadline is not None and self._monotonic() < self._deadline

    @property
    def held(self) -> bool:
        """Whether the lease was taken and not lost since; does not look at the clock."""
        return self._deadline is not None and not self._lost

    def seconds_left(self) -> float:
        return 0.0 if self._deadline is None or self._lost else max(self._deadline - self._monotonic(), 0.0)

    async def acquire(self) -> None:
        """Wait until this process holds the lease."""
        waiting_for: str | None = None
        while True:
            holder = await self._look()
            if holder is None:
                LOG.info("lease taken", extra={"lease": self._name, "identity": self.identity})
                return
            if holder != waiting_for:
                LOG.info("standing by", extra={"lease": self._name, "holder": holder})
                waiting_for = holder
            await asyncio.sleep(self._timing.retry_seconds * (1 + JITTER * self._rng.random()))

    async def keep(self) -> None:
        """Renew until it is lost; return then. Nothing is ever renewed after that."""
        assert self.held
        while True:
            await asyncio.sleep(min(self._timing.retry_seconds, self.seconds_left()))
            if not self.valid():
                break
            try:
                # A request that hangs must not outlive the deadline unnoticed.
                async with asyncio.timeout(self.seconds_left()):
                    holder = await self._look()
            except TimeoutError:
                break
            if holder not in (None, _UNREACHABLE):
                LOG.error("lease taken by another", extra={"lease": self._name, "holder": holder})
                break
            if not self.valid():
                break
        self._lost = True
        LOG.error("lease lost", extra={"lease": self._name, "identity": self.identity})

    async def release(self) -> None:
        """Let others take it at once. Only after everything that it protects has ended."""
        if not self.valid():
            self._lost = True
            return
        self._lost = True
        with contextlib.suppress(Failure):
            lease = await self._transport.send(Request("GET", self._path))
            if lease["spec"].get("holderIdentity") == self.identity:
                spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._now()}
                await self._transport.send(Request("PUT", self._path, body={**lease, "spec": spec}))

    @property
    def _path(self) -> str:
        return paths.lease(self._namespace, self._name)

    async def _look(self) -> str | None:
        """Try to take or renew it once. None: it is ours now; otherwise who has it."""
        started = self._monotonic()
        try:
            holder = await self._renew() if self._written is not None else await self._take()
        except Failure as failure:
            # Also a conflict: somebody was faster, and the next look shows who.
            LOG.warning("lease not written", extra={"lease": self._name, "why": str(failure)})
            self._written = None
            self.reached = isinstance(failure, Refused)
            return _UNREACHABLE
        self.reached = True
        if holder is None:
            self._deadline = started + self._timing.renew_seconds
            self._seen = None
        return holder

    async def _renew(self) -> str | None:
        """Write over our own last record, unread: whoever changed it since makes this a conflict."""
        assert self._written is not None
        try:
            self._written = await self._transport.send(Request("PUT", self._path, body=self._renewed(self._written)))
        except Refused as refused:
            if refused.status != 409 and not refused.object_missing:
                raise
            return await self._take()
        return None

    async def _take(self) -> str | None:
        """Read it first; write it when it is ours, nobody's, expired or not there at all."""
        try:
            lease = await self._transport.send(Request("GET", self._path))
        except Refused as refused:
            if not refused.object_missing:
                raise
            self._written = await self._transport.send(Request("POST", paths.leases(self._namespace), body=self._new()))
            return None
        holder = self._other_holder(lease)
        if holder is None:
            self._written = await self._transport.send(Request("PUT", self._path, body=self._renewed(lease)))
        return holder

    def _other_holder(self, lease: Json) -> str | None:
        """Who holds it, unless that is us, nobody, or one who let it expire."""
        spec = lease.get("spec") or {}
        holder = str(spec.get("holderIdentity") or "")
        if holder in ("", self.identity):
            return None
        now = self._monotonic()
        record = {**spec, "version": lease["metadata"]["resourceVersion"]}
        if self._seen is None or self._seen.record != record:
            self._seen = _Seen(record, now)
        expires_at = self._seen.at + float(spec.get("leaseDurationSeconds") or self._timing.seconds)
        return holder if now < expires_at or self.held else None

    def _new(self) -> Json:
        now = self._now()
        spec = {**self._spec(), "acquireTime": now, "renewTime": now, "leaseTransitions": 0}
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": spec,
        }

    def _renewed(self, lease: Json) -> Json:
        known = lease.get("spec") or {}
        now = self._now()
        spec = {**known, **self._spec(), "renewTime": now}
        if known.get("holderIdentity") != self.identity:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = int(known.get("leaseTransitions") or 0) + 1
        return {**lease, "spec": spec}

    def _spec(self) -> Json:
        # The API wants whole seconds; rounding up keeps others away for longer, never shorter.
        return {"holderIdentity": self.identity, "leaseDurationSeconds": math.ceil(self._timing.seconds)}

    def _now(self) -> str:
        moment: datetime = self._clock.now()
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


_UNREACHABLE = "(not known)"
