"""The ledgers of this process: read once, changed one at a time, written before anything acts on the change.

One writer per ledger: the leader. A PUT with resourceVersion makes a process that lost the lease without knowing fail
before it can send. A PUT whose answer was lost is read again; it is ours if the content is what we wrote.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from controller.api.resource import ObjectKey, ObjectMeta
from controller.api.v1alpha1.catalog_ledger import CatalogLedger, LedgerContent, StoreRecord
from controller.clock import Clock
from controller.faults import Disposition, Fault
from controller.ports.kubernetes import Cluster
from controller.ports.meta import Bucket
from controller.ports.stores import Store
from controller.scheduling import ledger as transitions
from controller.scheduling import quota
from controller.scheduling.governor import LedgerGovernor, Scope

LOG = logging.getLogger(__name__)

CONFLICT_RETRIES_MAX = 3
MARKS_KEPT = 2
CALLS_LOW = 64
"""Below so many reserved management calls another block is reserved."""

Transition = Callable[[LedgerContent], LedgerContent]


@dataclass(frozen=True, slots=True)
class Quotas:
    """Effective limits of one connection, its reserve taken off."""

    app_id: str
    batch: quota.QuotaLimit
    management: quota.QuotaLimit


def ledger_name(catalog_id: str) -> str:
    return f"catalog-{catalog_id}"


def catalog_prefix(catalog_id: str) -> str:
    """Everything of one catalog in the store."""
    return f"catalogs/{catalog_id}"


def heads_prefix(catalog_id: str) -> str:
    """Marks of what was published last."""
    return f"{catalog_prefix(catalog_id)}/heads/"


class LedgerBook:
    def __init__(
        self, cluster: Cluster, store: Store, clock: Clock, governor: LedgerGovernor, namespace: str, busy: timedelta
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._clock = clock
        self._governor = governor
        self._namespace = namespace
        self._busy = busy
        self._ledgers: dict[str, CatalogLedger] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._marks: dict[str, int] = {}

    def key(self, catalog_id: str) -> ObjectKey:
        return ObjectKey(CatalogLedger.KIND, self._namespace, ledger_name(catalog_id))

    def known(self, catalog_id: str) -> LedgerContent | None:
        """The ledger as last read or written by this process, if it was opened."""
        found = self._ledgers.get(catalog_id)
        return None if found is None else found.ledger

    def uid(self, catalog_id: str) -> str:
        """The ledger object's uid; empty while it is not open."""
        found = self._ledgers.get(catalog_id)
        return "" if found is None else found.uid

    def all_known(self) -> tuple[str, ...]:
        return tuple(sorted(self._ledgers))

    async def existing(self) -> tuple[str, ...]:
        """Catalog ids of all ledgers there are."""
        listed = await self._cluster.list(CatalogLedger)
        prefix = ledger_name("")
        return tuple(sorted(ledger.name.removeprefix(prefix) for ledger in listed if ledger.name.startswith(prefix)))

    async def open(self, catalog_id: str, *, create: bool = False) -> LedgerContent | None:
        """Read the ledger and begin this process's epoch in it; None when there is none and `create` is off."""
        async with self._lock(catalog_id):
            if catalog_id in self._ledgers:
                return self._ledgers[catalog_id].ledger
            found = await self._cluster.get(CatalogLedger, self.key(catalog_id))
            if found is None and not create:
                return None
            begun = await self._begin(catalog_id, found)
            self._ledgers[catalog_id] = begun
            self._load_blocks(catalog_id, begun.ledger)
            return begun.ledger

    async def change(self, catalog_id: str, transition: Transition) -> LedgerContent:
        """Apply a transition and write it. Raises LedgerConflict (from the transition) or Fault."""
        async with self._lock(catalog_id):
            for _ in range(CONFLICT_RETRIES_MAX):
                current = self._ledgers.get(catalog_id)
                if current is None:
                    message = f"the ledger of catalog {catalog_id} is not open"
                    raise Fault("LedgerUnavailable", Disposition.RETRY, message)
                content = transition(current.ledger)
                if content == current.ledger:
                    return content
                if await self._put(catalog_id, current, content):
                    return content
            raise Fault("Conflict", Disposition.RETRY, f"the ledger of catalog {catalog_id} keeps changing")

    async def mark_heads(self, catalog_id: str, by: str, snapshots: dict[int, str | None]) -> None:
        """Note in the store which heads are about to be published, so that a ledger from before is known as such.

        `snapshots`: as `transitions.mark` makes them.
        """
        ledger = self._ledgers[catalog_id].ledger
        number = self._marks[catalog_id] = self._marks.get(catalog_id, 0) + 1
        prefix = heads_prefix(catalog_id)
        named = {str(index): snapshot for index, snapshot in snapshots.items()}
        content = json.dumps({"by": by, "snapshots": named}).encode()
        await self._store.write(f"{prefix}{ledger.epoch:08d}-{number:08d}", content)
        await self._store.delete(tuple(sorted(await self._store.keys(prefix))[:-MARKS_KEPT]))

    async def _knows_heads(self, catalog_id: str, ledger: LedgerContent) -> bool:
        """Tell whether the ledger names the heads that were published last, or still holds who was about to."""
        marks = sorted(await self._store.keys(heads_prefix(catalog_id)))
        newest = await self._store.read(marks[-1]) if marks else None
        if newest is None:
            return True
        mark = json.loads(newest)
        if transitions.claimed_by(ledger, mark["by"]):
            return True
        named = {str(record.index): transitions.mark(record) for record in ledger.partitions}
        return all(named.get(index) == snapshot for index, snapshot in mark["snapshots"].items())

    async def forget(self, catalog_id: str) -> None:
        """Delete a ledger that stands for nothing any more."""
        async with self._lock(catalog_id):
            current = self._ledgers.pop(catalog_id, None)
            if current is not None:
                await self._cluster.delete(CatalogLedger, current.key, current.uid)

    async def provision(self, catalog_id: str, quotas: Quotas) -> None:
        """See to it that some management calls are reserved for this process."""
        scope: Scope = (quotas.app_id, catalog_id, Bucket.MANAGEMENT)
        if self._governor.remaining(scope) >= CALLS_LOW:
            return
        now = self._clock.now()
        granted = 0

        def take(ledger: LedgerContent) -> LedgerContent:
            nonlocal granted
            record = transitions.quota_record(ledger, quotas.app_id, Bucket.MANAGEMENT)
            block = max(quotas.management.per_hour // quota.MANAGEMENT_BLOCKS_PER_WINDOW, 1)
            granted = min(quota.available(record, quotas.management, now), block)
            return transitions.with_quota(ledger, quota.reserve(record, granted, now)) if granted else ledger

        await self.change(catalog_id, take)
        self._governor.grant(scope, granted)

    async def persist_news(self) -> None:
        """Write throttling that Meta told into the ledgers, so that a successor keeps to it."""
        for (app_id, catalog_id, bucket), until in self._governor.take_news():
            if catalog_id not in self._ledgers:
                continue
            moment = datetime.fromtimestamp(until, UTC)

            def note(
                ledger: LedgerContent, app: str = app_id, of: Bucket = bucket, at: datetime = moment
            ) -> LedgerContent:
                record = transitions.quota_record(ledger, app, of)
                return transitions.with_quota(ledger, quota.block(record, at))

            await self.change(catalog_id, note)

    def _lock(self, catalog_id: str) -> asyncio.Lock:
        return self._locks.setdefault(catalog_id, asyncio.Lock())

    async def _begin(self, catalog_id: str, found: CatalogLedger | None) -> CatalogLedger:
        """Start a new epoch. A ledger that is older than the store knows is a cold start."""
        marks = await self._store.keys(f"{catalog_prefix(catalog_id)}/epochs/")
        store_epoch = max((int(mark.rsplit("/", 1)[1]) for mark in marks), default=0)
        before = found.ledger if found is not None else LedgerContent()
        cold = before.epoch < store_epoch or not await self._knows_heads(catalog_id, before)
        epoch = max(before.epoch, store_epoch) + 1
        update: dict[str, object] = {"epoch": epoch}
        if cold:
            LOG.warning("the ledger is older than the store", extra={"catalog": catalog_id})
            update |= {"rolled_back": True, "relisted_at": None}
        if before.store is None:
            update["store"] = StoreRecord(identity=await self._store.identity() or "")
        content = before.model_copy(update=update)
        if cold:
            content = self._busy_batches(content)
        await self._store.write(f"{catalog_prefix(catalog_id)}/epochs/{epoch:08d}", b"{}")
        if found is None:
            metadata = ObjectMeta(name=ledger_name(catalog_id), namespace=self._namespace)
            return await self._cluster.create(CatalogLedger(metadata=metadata, ledger=content))
        return await self._cluster.replace(found.model_copy(update={"ledger": content}))

    def _busy_batches(self, content: LedgerContent) -> LedgerContent:
        """What was sent before is not known: the batch lane counts as busy."""
        until = self._clock.now() + self._busy
        records = tuple(
            quota.block(record, until) if record.bucket == Bucket.BATCH else record for record in content.quota
        )
        return content.model_copy(update={"quota": records})

    async def _put(self, catalog_id: str, current: CatalogLedger, content: LedgerContent) -> bool:
        try:
            written = await self._cluster.replace(current.model_copy(update={"ledger": content}))
        except Fault as fault:
            if fault.reason != "Conflict" and fault.disposition is not Disposition.UNCERTAIN:
                raise
            return await self._read_again(catalog_id, current, content)
        self._ledgers[catalog_id] = written
        return True

    async def _read_again(self, catalog_id: str, current: CatalogLedger, content: LedgerContent) -> bool:
        found = await self._cluster.get(CatalogLedger, current.key)
        if found is None:
            self._ledgers.pop(catalog_id, None)
            raise Fault("LedgerUnavailable", Disposition.RETRY, f"the ledger of catalog {catalog_id} is gone")
        if found.ledger.epoch != current.ledger.epoch:
            raise Fault("LeaseLost", Disposition.RETRY, "another process has begun an epoch in this ledger")
        self._ledgers[catalog_id] = found
        return found.ledger == content

    def _load_blocks(self, catalog_id: str, content: LedgerContent) -> None:
        for record in content.quota:
            if record.blocked_until is not None:
                scope: Scope = (record.app_id, catalog_id, Bucket(record.bucket))
                self._governor.block(scope, record.blocked_until.timestamp())
