"""Events for people: written beside the work, never in its way.

`record` only remembers; `run` writes. Equal events within ten minutes become one Event with a series. An object that
makes too many different ones loses the rest, and a queue that is full drops what comes; both are counted. The official
client has no recorder, and kopf's makes one Event per call and may wait.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from controller.api import names
from controller.api.resource import ObjectKey
from controller.clock import Clock
from controller.kube import paths
from controller.kube.answers import NAMESPACE_TERMINATING
from controller.kube.transport import ContentType, Failure, Json, Refused, Request, Transport
from controller.ports.kubernetes import Event

REPORTING_CONTROLLER = f"{names.GROUP}/operator"
ACTION = "Reconcile"
SERIES_WINDOW = timedelta(minutes=10)
"""An equal event within this time after the last one belongs to its series."""
SERIES_WRITE_SECONDS = 60.0
"""A running series is written at most this often."""
BURST = 25
REFILL_SECONDS = 300.0
"""client-go: an object may make 25 events at once and one more every five minutes."""
PENDING_MAX = 4_000
WRITERS = 4
"""Requests at the same time: a thousand objects that change together are told of within seconds."""
SERIES_MAX = 4_096
OBJECTS_MAX = 4_096
TRIES_MAX = 3
RETRY_SECONDS = 5.0
NOTE_BYTES_MAX = 1_024
"""Kubernetes: events.k8s.io/v1, note; it speaks of characters and counts bytes."""
INSTANCE_LENGTH_MAX = 128
"""Kubernetes: events.k8s.io/v1, reportingInstance."""
NAME_LENGTH_MAX = 230
"""Leaves room for the suffix that makes an Event's name unique."""


@dataclass(slots=True)
class _Series:
    event: Event
    name: str
    first: datetime
    last: datetime
    count: int = 1
    written: int = 0
    """The count that the API server knows; 0 before the Event exists."""
    namespace: str = ""
    """Where the Event was made."""
    tries: int = 0
    busy: bool = False


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class EventRecorder:
    """One per process. `dropped` counts events that nobody will see; `on_drop` is told of each."""

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        *,
        namespace: str,
        instance: str,
        on_drop: Callable[[], None] = lambda: None,
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._namespace = namespace
        self._instance = instance[:INSTANCE_LENGTH_MAX]
        self._on_drop = on_drop
        self._series: OrderedDict[Event, _Series] = OrderedDict()
        self._pending: dict[Event, float] = {}
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._wake = asyncio.Event()
        self.dropped = 0

    def record(self, event: Event) -> None:
        """Remember an event. Never waits, never fails."""
        now = self._clock.now()
        running = self._series.get(event)
        if running is not None and now - running.last < SERIES_WINDOW:
            running.count += 1
            running.last = now
            self._series.move_to_end(event)
            self._plan(event, SERIES_WRITE_SECONDS if running.written else 0.0)
        elif len(self._pending) >= PENDING_MAX or not self._take_token(event.uid or str(event.regarding)):
            self._drop()
        else:
            self._series[event] = _Series(event, _name(event, now), first=now, last=now)
            self._series.move_to_end(event)
            self._plan(event, 0.0)
            self._prune()

    async def run(self) -> None:
        """Write what is remembered, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(WRITERS):
                group.create_task(self._writer())

    async def _writer(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            due = self._due(loop.time())
            if due is not None:
                await self._write(due)
                continue
            earliest = min(self._pending.values(), default=None)
            if earliest is None:
                await self._wake.wait()
                continue
            try:
                async with asyncio.timeout_at(earliest):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def flush(self, seconds: float) -> None:
        """Write everything that waits now, once, within `seconds`: for a clean exit."""
        try:
            async with asyncio.timeout(seconds):
                for event in list(self._pending):
                    await self._write(event)
        except TimeoutError:
            return

    def _due(self, now: float) -> Event | None:
        return next((event for event, at in self._pending.items() if at <= now), None)

    def _plan(self, event: Event, delay: float) -> None:
        at = asyncio.get_running_loop().time() + delay
        self._pending[event] = min(at, self._pending.get(event, at))
        self._wake.set()

    def _drop(self) -> None:
        self.dropped += 1
        self._on_drop()

    def _take_token(self, who: str) -> bool:
        now = asyncio.get_running_loop().time()
        bucket = self._buckets.setdefault(who, _Bucket(BURST, now))
        self._buckets.move_to_end(who)
        while len(self._buckets) > OBJECTS_MAX:
            self._buckets.popitem(last=False)
        bucket.tokens = min(BURST, bucket.tokens + (now - bucket.at) / REFILL_SECONDS)
        bucket.at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def _prune(self) -> None:
        while len(self._series) > SERIES_MAX:
            event, _ = self._series.popitem(last=False)
            if self._pending.pop(event, None) is not None:
                self._drop()

    async def _write(self, event: Event) -> None:
        self._pending.pop(event, None)
        series = self._series.get(event)
        if series is None or series.busy or series.count == series.written:
            return
        series.busy = True
        try:
            await (self._extend(series) if series.written else self._make(series))
        except Failure as failure:
            self._failed(series, failure)
        finally:
            series.busy = False
        if series.written and series.count > series.written:
            self._plan(event, SERIES_WRITE_SECONDS)

    async def _make(self, series: _Series) -> None:
        count = series.count
        try:
            await self._post(series, series.event.regarding.namespace, fallback=False)
        except Refused as refused:
            if NAMESPACE_TERMINATING not in refused.causes and refused.kind != "namespaces":
                raise
            await self._post(series, self._namespace, fallback=True)
        series.written = count
        series.tries = 0

    async def _post(self, series: _Series, namespace: str, *, fallback: bool) -> None:
        body = self._body(series, namespace, fallback=fallback)
        series.namespace = namespace
        try:
            await self._transport.send(Request("POST", paths.events(namespace), body=body))
        except Refused as refused:
            # The name is ours alone: an earlier try whose answer was lost has made it.
            if refused.reason != "AlreadyExists":
                raise

    async def _extend(self, series: _Series) -> None:
        count = series.count
        body: Json = {"series": {"count": count, "lastObservedTime": _micro_time(series.last)}}
        path = paths.event(series.namespace, series.name)
        try:
            await self._transport.send(Request("PATCH", path, body=body, content_type=ContentType.MERGE_PATCH))
        except Refused as refused:
            if not refused.object_missing:
                raise
            # Events expire, after an hour by default. The series goes on in a new one.
            series.written = 0
            series.first = series.last
            series.name = _name(series.event, series.last)
            self._plan(series.event, 0.0)
            return
        series.written = count
        series.tries = 0

    def _failed(self, series: _Series, failure: Failure) -> None:
        series.tries += 1
        lasting = isinstance(failure, Refused) and failure.status < 500 and failure.status != 429
        if lasting or series.tries >= TRIES_MAX:
            self._series.pop(series.event, None)
            self._drop()
            return
        self._plan(series.event, RETRY_SECONDS)

    def _body(self, series: _Series, namespace: str, *, fallback: bool) -> Json:
        event = series.event
        key, uid = event.regarding, event.uid
        note = event.message
        if fallback:
            # Nothing can be made in a namespace that is going. What must be said is said at the record that stays.
            note = f"{key}: {note}"
            if event.ledger is not None:
                key, uid = event.ledger, event.ledger_uid
        regarding = _reference(key, uid)
        if fallback and event.ledger is None:
            regarding = {"apiVersion": "v1", "kind": "ServiceAccount", "name": names.SERVICE_ACCOUNT}
            regarding["namespace"] = namespace
        body: Json = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": series.name, "namespace": namespace},
            "eventTime": _micro_time(series.first),
            "type": event.type,
            "reason": event.reason,
            "action": ACTION,
            "note": note.encode()[:NOTE_BYTES_MAX].decode(errors="ignore"),
            "regarding": regarding,
            "reportingController": REPORTING_CONTROLLER,
            "reportingInstance": self._instance,
        }
        if fallback:
            body["related"] = _reference(event.regarding, event.uid)
        if series.count > 1:
            body["series"] = {"count": series.count, "lastObservedTime": _micro_time(series.last)}
        return body


def _reference(key: ObjectKey, uid: str) -> Json:
    reference: Json = {
        "apiVersion": names.API_VERSION,
        "kind": key.kind,
        "namespace": key.namespace,
        "name": key.name,
    }
    return {**reference, "uid": uid} if uid else reference


def _name(event: Event, first: datetime) -> str:
    identity = f"{event.uid}\n{event.type}\n{event.reason}\n{event.message}\n{first.isoformat()}"
    suffix = hashlib.blake2b(identity.encode(), digest_size=8).hexdigest()
    return f"{event.regarding.name[:NAME_LENGTH_MAX].rstrip('.-')}.{suffix}"


def _micro_time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
