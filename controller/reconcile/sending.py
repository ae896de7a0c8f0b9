"""One operation from plan to Meta's final answer: a task of the runner, resumable from the ledger at every point.

The order that keeps the invariants: encode under the claim; write the intent; send; write the handle to the store's
journal and the ledger; follow to a terminal answer; read all results; write them to the store; acknowledge (child
process); publish the heads; write the operation's status; release the claims. Whatever dies on the way, the next
incarnation finds the claims and intents in the ledger and goes on from there. Bytes are never sent twice: what may have
been accepted is looked for first, and a retry is a newly planned operation.
"""

import asyncio
import contextlib
import functools
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from controller.api.resource import ObjectKey
from controller.api.v1alpha1.catalog import Catalog
from controller.api.v1alpha1.catalog_ledger import Claim, Intent, IntentState, LedgerContent, PartitionRecord
from controller.api.v1alpha1.common import Method
from controller.api.v1alpha1.policies import OnExceed
from controller.api.v1alpha1.sync_operation import Phase
from controller.faults import Disposition, Fault
from controller.ports import preparing as documents
from controller.ports.meta import Body, Bucket, Problem
from controller.reconcile import documents as convert
from controller.reconcile.collecting import Collected, Collector
from controller.reconcile.connections import Connection, Connections
from controller.reconcile.context import Context
from controller.reconcile.ledgers import LedgerBook, catalog_prefix
from controller.reconcile.operation_status import OperationReport
from controller.scheduling import ledger as transitions
from controller.scheduling import quota

LOG = logging.getLogger(__name__)

BYTES_PER_SECOND_MIN = 1 << 20
"""A send that is slower than this on average is given up."""
CALLS_WINDOW = timedelta(minutes=15)
"""A batch operation takes at most the calls that the quota allows in this time."""


LOCALIZED_WINDOW = timedelta(minutes=5)
"""One of values for a language or country is over sooner: prices and stock of its items wait for it."""


@dataclass(eq=False)
class OperationFailed(Exception):  # noqa: N818 - an outcome, carried to where the operation ends
    phase: Phase
    reason: str
    message: str


class Sending:
    """Carries one operation (by uid) on one catalog to its end."""

    def __init__(
        self,
        context: Context,
        book: LedgerBook,
        connections: Connections,
        catalog_id: str,
        operation: str,
        key: ObjectKey,
        wake: Callable[[str], None],
    ) -> None:
        self._context = context
        self._book = book
        self._connections = connections
        self._catalog_id = catalog_id
        self._operation = operation
        self._key = key
        self._wake = wake
        self._report = OperationReport(context, key, operation)
        self._collector = Collector(context, book, catalog_id, operation)
        self._sent_anything = False
        self._encoded = False
        self._failure: OperationFailed | None = None
        self._retry = 0

    async def run(self) -> None:
        """Return when the operation holds nothing any more. Faults that pass by themselves are waited out here."""
        while True:
            try:
                await self._carry()
            except Fault as fault:
                await self._book_news()
                if fault.reason in ("LeaseLost", "LedgerUnavailable"):
                    raise
                await self._wait_out(fault)
            else:
                return

    async def _carry(self) -> None:
        ledger = self._ledger()
        if not transitions.claimed_by(ledger, self._operation):
            return
        await self._know()
        if not self._sent_anything and not transitions.begun(ledger, self._operation):
            await self._plan_and_send()
        await self._settle()
        await self._finish()

    async def _know(self) -> None:
        """Right after a start the watches have not told everything: look at what this operation belongs to."""
        await self._report.know()
        owner = self._ledger().owner
        if owner is None or self._catalog() is not None:
            return
        found = await self._context.cluster.get(Catalog, ObjectKey(Catalog.KIND, owner.namespace, owner.name))
        if found is not None:
            self._context.objects.accept(found)

    async def _plan_and_send(self) -> None:
        try:
            encoded = await self._encode()
            self._encoded = True
            await self._stop_if_planned_only(encoded)
            for number, file in enumerate(encoded.files):
                if self._report.cancelled() and number > 0:
                    break
                await self._send(number, file, encoded)
        except OperationFailed as failed:
            self._failure = failed

    async def _encode(self) -> documents.EncodeResult:
        await self._report.phase(Phase.PREPARING)
        ledger = self._ledger()
        held = transitions.claimed_by(ledger, self._operation)
        method = self._method(held)
        refresh = self._refresh(ledger)
        spec = self._report.operation_spec()
        request = documents.EncodeRequest(
            store=self._context.store.url,
            prefix=self._prefix("encode"),
            catalog_id=self._catalog_id,
            now=self._context.clock.now(),
            method=documents.Method(method),
            partitions=tuple(convert.partition(record) for record in held),
            refresh=refresh,
            guard=self._guard(ledger),
            update_only=method is Method.REPLACE_FEED and not _may_replace(ledger, held),
            fields=tuple(spec.fields) if spec is not None and spec.fields else documents.VOLATILE_FIELDS,
            item_ids=tuple(spec.item_ids) if spec is not None and spec.item_ids else (),
            calls_max=max(self._calls_max(ledger, localized=spec is not None and spec.overlay is not None), 1),
            overlay=spec.overlay if spec is not None else None,
        )
        try:
            result = await self._context.preparing.run(request)
        except Fault as fault:
            raise OperationFailed(Phase.FAILED, fault.reason, fault.message) from fault
        assert isinstance(result, documents.EncodeResult)
        await self._report.plan(result)
        return result

    async def _stop_if_planned_only(self, encoded: documents.EncodeResult) -> None:
        spec = self._report.operation_spec()
        if spec is not None and spec.dry_run:
            raise OperationFailed(Phase.PLANNED, "Completed", "dry run: nothing was sent")
        if self._report.cancelled():
            raise OperationFailed(Phase.CANCELLED, "Cancelled", "cancelled before anything was sent")
        catalog = self._catalog()
        if catalog is None or catalog.metadata.deleting:
            raise OperationFailed(Phase.CANCELLED, "CatalogNotFound", "the Catalog is gone; nothing was sent")
        holds = catalog.spec.guards.on_exceed is OnExceed.HOLD_OPERATION
        items = self._ledger().items
        if holds and items and items[0].held is not None:
            message = f"{items[0].held.count} deletions are held; onExceed is HoldOperation, so nothing was sent"
            raise OperationFailed(Phase.HELD, "DeletionGuard", message)
        if (
            encoded.files
            and self._method(transitions.claimed_by(self._ledger(), self._operation)) is Method.REPLACE_FEED
        ):
            await self._allow_deletion(encoded)

    async def _allow_deletion(self, encoded: documents.EncodeResult) -> None:
        """Feeds are made so that nothing can be deleted. The first cleared deletion switches that on, for good."""
        held = transitions.claimed_by(self._ledger(), self._operation)
        if encoded.update_only or encoded.removes_feed or not encoded.plan.delete or held[0].deletion_enabled:
            return
        connection = await self._connection()
        feed_id = held[0].feed_id
        assert feed_id is not None
        await connection.graph.enable_deletion(self._catalog_id, feed_id)
        indexes = (held[0].index,)
        await self._book.change(
            self._catalog_id,
            lambda ledger: transitions.map_partitions(
                ledger, indexes, lambda record: record.model_copy(update={"deletion_enabled": True})
            ),
        )

    async def _send(self, number: int, file: documents.PayloadFile, encoded: documents.EncodeResult) -> None:
        connection = await self._connection()
        intent = await self._open_intent(number, file, encoded, connection)
        await self._report.submitting(intent)
        self._sent_anything = True
        # Shielded: a process that loses its lease starts nothing new, but waits for answers to what has left.
        task = asyncio.ensure_future(self._post(connection, intent))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait({task}, timeout=intent.budget_seconds)
            raise

    async def _open_intent(
        self, number: int, file: documents.PayloadFile, encoded: documents.EncodeResult, connection: Connection
    ) -> Intent:
        """Write the intent, with the quota it uses, before the first byte. Waits until the quota has room."""
        held = {record.index: record for record in transitions.claimed_by(self._ledger(), self._operation)}
        feed = held[file.partitions[0]] if encoded_is_upload(self._method(tuple(held.values()))) else None
        budget = connection.credentials.timeout_seconds + file.bytes / BYTES_PER_SECOND_MIN
        spec = self._report.operation_spec()
        overlay = spec.overlay if spec is not None and encoded.locale is not None else None
        while True:
            now = self._context.clock.now()
            ledger = self._ledger()
            intent = Intent(
                id=f"{self._operation}/{number}",
                operation=self._operation,
                method=self._method(tuple(held.values())),
                epoch=ledger.epoch,
                incarnation=self._context.incarnation,
                partitions=file.partitions,
                at=now,
                payload=file.key,
                bytes=file.bytes,
                digest=file.sha256,
                sent=file.sent,
                budget_seconds=budget,
                file_name=self._file_name() if feed is not None and not encoded.removes_feed else None,
                feed_id=feed.feed_id if feed is not None else None,
                update_only=encoded.update_only,
                removes_feed=encoded.removes_feed,
                rows=file.rows,
                deletes=encoded.deletes,
                delete_count=encoded.plan.delete if not encoded.update_only else 0,
                overlay=overlay,
                locale=convert.locale_record(encoded.locale),
            )
            if feed is not None:
                await self._book.change(self._catalog_id, functools.partial(_with_intent, intent))
                return intent
            if await self._open_batch_intent(intent, connection, now):
                return intent

    async def _open_batch_intent(self, intent: Intent, connection: Connection, now: datetime) -> bool:
        scope = (connection.quotas.app_id, self._catalog_id, Bucket.BATCH)
        record = transitions.quota_record(self._ledger(), connection.quotas.app_id, Bucket.BATCH)
        limit = connection.quotas.batch if intent.locale is None else quota.without_a_promise(connection.quotas.batch)
        free_at = quota.next_free_at(record, limit, now)
        blocked = self._context.governor.blocked_until(scope)
        if blocked is not None:
            free_at = max(free_at, now + timedelta(seconds=blocked - now.timestamp()))
        if free_at > now:
            await self._sleep(free_at - now)
            return False

        def reserve_and_open(ledger: LedgerContent) -> LedgerContent:
            reserved = transitions.reserve(
                ledger, connection.quotas.app_id, Bucket.BATCH, 1, connection.quotas.batch, now
            )
            return transitions.open_intent(reserved, intent)

        await self._book.change(self._catalog_id, reserve_and_open)
        self._context.governor.grant(scope, 1)
        return True

    async def _post(self, connection: Connection, intent: Intent) -> None:
        """Send the bytes and write down what Meta answered. Uncertain answers leave the intent open."""
        body = Body(
            size_bytes=intent.bytes,
            sha256=intent.digest,
            open=lambda: self._context.store.stream(intent.payload),
            deadline_seconds=intent.budget_seconds,
        )
        try:
            handle, problems = await self._call(connection, intent, body)
        except Fault as fault:
            self._connections.report(connection, fault)
            if fault.disposition is Disposition.UNCERTAIN:
                LOG.warning("uncertain answer", extra={"operation": str(self._key), "reason": fault.reason})
                self._collector.saw_uncertain(intent)
                return
            await self._never_accepted(intent)
            raise OperationFailed(Phase.FAILED, fault.reason, fault.message) from fault
        if intent.removes_feed:
            await self._collector.feed_removed(intent)
            return
        await self._collector.note_answer_problems(intent, problems)
        if handle is None:
            await self._collector.nothing_ingested(intent, problems)
            return
        await self._journal(intent, handle)
        now = self._context.clock.now()
        await self._book.change(self._catalog_id, lambda ledger: transitions.accept(ledger, intent.id, handle, now))
        await self._report.accepted(intent, handle)

    async def _call(self, connection: Connection, intent: Intent, body: Body) -> tuple[str | None, tuple[Problem, ...]]:
        if intent.feed_id is None:
            send = connection.graph.send_batch if intent.locale is None else connection.graph.send_localized_batch
            answer = await send(self._catalog_id, body)
            return answer.handle, answer.problems
        if intent.removes_feed:
            await connection.graph.delete_feed(self._catalog_id, intent.feed_id)
            return None, ()
        assert intent.file_name is not None
        session = await connection.graph.upload(
            self._catalog_id, intent.feed_id, intent.file_name, body, update_only=intent.update_only
        )
        return session, ()

    async def _never_accepted(self, intent: Intent) -> None:
        now = self._context.clock.now()
        fate = documents.Fate.NEVER_ACCEPTED
        await self._book.change(self._catalog_id, lambda ledger: transitions.collect(ledger, intent.id, fate, now))

    async def _journal(self, intent: Intent, handle: str) -> None:
        number = intent.id.rsplit("/", 1)[1]
        key = f"{catalog_prefix(self._catalog_id)}/journal/{intent.epoch:08d}/{self._operation}/{number}"
        await self._context.store.write(key, json.dumps({"intent": intent.id, "handle": handle}).encode())

    async def _settle(self) -> None:
        """Follow every intent to its fate; acknowledge partitions as soon as all their bodies are collected."""
        while True:
            ledger = self._ledger()
            intents = transitions.intents_of(ledger, self._operation)
            if not intents:
                return
            ready = transitions.settled(ledger, self._operation)
            if ready:
                await self._acknowledge(ready, intents)
                continue
            if not self._retry:  # else it would say in turns that it waits and that it goes on
                await self._report.following(intents)
            await self._follow(intents)

    async def _follow(self, intents: tuple[Intent, ...]) -> None:
        connection = await self._connection()
        progressed = False
        for intent in intents:
            if intent.state is IntentState.COLLECTED:
                continue
            try:
                collected = await self._collector.look(connection, intent)
            except Fault as fault:
                self._collector.look_again(intent)
                self._connections.report(connection, fault)
                raise
            self._retry = 0
            progressed = progressed or collected is not Collected.NOT_YET
            if collected is Collected.FAILED:
                message = self._collector.failure(intent) or "Meta ended the operation with an error"
                self._failure = OperationFailed(Phase.FAILED, "MetaUnavailable", message)
            if collected is Collected.ABANDONED:
                message = "Meta's answer never came; the rows are unknown and are sent anew"
                self._failure = OperationFailed(Phase.ABANDONED, "AbandonedOperation", message)
        if not progressed:
            await self._sleep(self._collector.pause(intents))

    async def _acknowledge(self, ready: tuple[int, ...], intents: tuple[Intent, ...]) -> None:
        await self._report.phase(Phase.COLLECTING)
        ledger = self._ledger()
        touching = tuple(intent for intent in intents if set(intent.partitions) & set(ready))
        self._failure = self._failure or _failure_of(touching)
        records = tuple(record for record in ledger.partitions if record.index in ready)
        refresh = self._refresh(ledger)
        request = documents.AcknowledgeRequest(
            store=self._context.store.url,
            prefix=self._prefix("acknowledge"),
            catalog_id=self._catalog_id,
            now=self._context.clock.now(),
            method=documents.Method(touching[0].method),
            update_only=touching[0].update_only,
            partitions=tuple(convert.partition(record) for record in records),
            receipts=tuple(_receipt(intent) for intent in touching),
            deletes=touching[0].deletes,
            refresh=refresh,
            guard=self._guard(ledger),
            overlay=touching[0].overlay,
            locale=convert.locale(touching[0].locale),
        )
        try:
            result = await self._context.preparing.run(request)
        except Fault as fault:
            if fault.reason != "SnapshotLost":
                raise
            await self._give_up(ready, fault)
            return
        assert isinstance(result, documents.AcknowledgeResult)
        await self._publish(result, touching, refresh)
        await self._report.outcome(result)
        await self._release(ready)

    async def _give_up(self, ready: tuple[int, ...], fault: Fault) -> None:
        """What was sent can't be told any more, because the store has lost it."""
        await self._book.change(self._catalog_id, lambda ledger: transitions.abandon(ledger, self._operation, ready))
        self._failure = OperationFailed(Phase.ABANDONED, fault.reason, fault.message)

    async def _publish(
        self, result: documents.AcknowledgeResult, touching: tuple[Intent, ...], used: documents.RefreshHead
    ) -> None:
        now = self._context.clock.now()
        heads = {head.index: convert.heads(head) for head in result.partitions}
        counted = {record.index: record.pending for record in self._ledger().partitions}
        pending = {
            counts.index: convert.pending_counts(counts, counted[counts.index] if touching[0].locale else None)
            for counts in result.pending
        }

        def transition(ledger: LedgerContent) -> LedgerContent:
            published = transitions.publish(ledger, self._operation, heads, pending, now)
            marked = transitions.map_partitions(published, heads, lambda record: _mark_sent(record, touching, used))
            return _look_again_if_stale(marked, used, now)

        snapshots = {index: transitions.mark_of(head.snapshot, head.locales) for index, head in heads.items()}
        await self._book.mark_heads(self._catalog_id, self._operation, snapshots)
        await self._book.change(self._catalog_id, transition)

    async def _release(self, indexes: tuple[int, ...]) -> None:
        """Give partitions back once their heads are published, except the last ones: status comes first there."""
        held = {record.index for record in transitions.claimed_by(self._ledger(), self._operation)}
        if held - set(indexes):
            await self._book.change(
                self._catalog_id, lambda ledger: transitions.release(ledger, self._operation, indexes)
            )
            self._wake(self._catalog_id)

    async def _finish(self) -> None:
        """The operation's status, then the rest of its claims."""
        failure = self._failure
        method = self._method(transitions.claimed_by(self._ledger(), self._operation))
        if failure is None:
            await self._report.finish(Phase.SUCCEEDED, "Completed", "")
        else:
            await self._report.finish(failure.phase, failure.reason, failure.message)
        await self._book.change(self._catalog_id, lambda ledger: transitions.release(ledger, self._operation))
        await self._book_news()
        ended = failure.phase if failure is not None else Phase.SUCCEEDED
        self._context.metrics.operations.labels(method, ended).inc()
        self._wake(self._catalog_id)

    async def _wait_out(self, fault: Fault) -> None:
        """Wait for what passes by itself. Deadlines of sends stand still meanwhile."""
        now = self._context.clock.now()
        self._retry += 1
        timing = self._context.settings.timing
        backoff = min(timing.retry_min * 2 ** min(self._retry, 10), timing.upload_poll * 8)
        pause = max(fault.retry_at - now, timing.retry_min) if fault.retry_at is not None else backoff
        LOG.info("waiting", extra={"operation": str(self._key), "reason": fault.reason, "seconds": pause.seconds})
        with contextlib.suppress(Fault):  # nobody can be told now; what is in flight is followed all the same
            await self._report.waiting(fault, now + pause)
        await self._sleep(pause)
        nobody_to_ask = fault.reason in ("DependencyNotReady", "Progressing")
        if nobody_to_ask or fault.disposition in (Disposition.WAIT, Disposition.STALLED):
            self._collector.stood_still(pause)

    async def _connection(self) -> Connection:
        """The connection of the catalog's owner, or the one the ledger remembers when the Catalog is gone."""
        ledger = self._ledger()
        catalog = self._catalog()
        namespace = catalog.namespace if catalog is not None else ledger.owner.namespace if ledger.owner else ""
        name = catalog.spec.connection_ref.name if catalog is not None else ledger.connection or ""
        connection = self._connections.usable(namespace, name, self._catalog_id)
        await self._book.provision(self._catalog_id, connection.quotas)
        return connection

    async def _book_news(self) -> None:
        await self._book.persist_news()

    async def _sleep(self, duration: timedelta) -> None:
        await asyncio.sleep(max(duration.total_seconds(), 0.01))

    def _ledger(self) -> LedgerContent:
        ledger = self._book.known(self._catalog_id)
        if ledger is None:
            message = f"the ledger of catalog {self._catalog_id} is not open"
            raise Fault("LedgerUnavailable", Disposition.RETRY, message)
        return ledger

    def _catalog(self) -> Catalog | None:
        owner = self._ledger().owner
        if owner is None:
            return None
        found = self._context.objects.get(Catalog, ObjectKey(Catalog.KIND, owner.namespace, owner.name))
        return found if found is not None and found.uid == owner.uid else None

    def _guard(self, ledger: LedgerContent) -> documents.GuardPolicy:
        catalog = self._catalog()
        return convert.guard_policy(catalog.spec if catalog else None, ledger, self._context.clock.now())

    def _refresh(self, ledger: LedgerContent) -> documents.RefreshHead:
        record = ledger.items[0].refresh if ledger.items else None
        if record is None:
            raise Fault("DependencyNotReady", Disposition.RETRY, "the source was not read yet")
        return convert.refresh_head(record)

    def _calls_max(self, ledger: LedgerContent, *, localized: bool) -> int:
        catalog = self._catalog()
        if catalog is None:
            return 1
        connection = self._connections.find(catalog.namespace, catalog.spec.connection_ref.name)
        if connection is None:
            return 1
        limit = quota.without_a_promise(connection.quotas.batch) if localized else connection.quotas.batch
        duration = LOCALIZED_WINDOW if localized else CALLS_WINDOW
        window = int(limit.per_hour * duration.total_seconds() // quota.HOUR_SECONDS)
        record = transitions.quota_record(ledger, connection.quotas.app_id, Bucket.BATCH)
        hour_only = replace(limit, per_minute=None)
        return min(window, quota.available(record, hour_only, self._context.clock.now()))

    def _method(self, held: tuple[PartitionRecord, ...]) -> Method:
        claim = held[0].claim
        assert isinstance(claim, Claim)
        return Method(claim.method)

    def _prefix(self, step: str) -> str:
        """Where a step may write: unique per attempt, so that a killed one leaves nothing in the way."""
        epoch = self._ledger().epoch
        return f"{catalog_prefix(self._catalog_id)}/{epoch:08d}/{self._operation}/{step}-{self._nonce()}"

    def _file_name(self) -> str:
        return f"{self._operation[:8]}-{self._nonce()}.csv.gz"

    def _nonce(self) -> str:
        return f"{self._context.rng.getrandbits(40):010x}"


def _with_intent(intent: Intent, ledger: LedgerContent) -> LedgerContent:
    return transitions.open_intent(ledger, intent)


def encoded_is_upload(method: Method) -> bool:
    """Feed methods send a file to one feed; batches go to the catalog."""
    return method in (Method.REPLACE_FEED, Method.UPDATE_FEED)


def _may_replace(ledger: LedgerContent, held: tuple[PartitionRecord, ...]) -> bool:
    """A replace is allowed once an update-only upload of the feed was counted right, and nothing speaks against it."""
    if ledger.rolled_back or ledger.snapshot_lost_at is not None:
        return False
    if any(record.unexpected is not None for record in ledger.partitions):
        return False
    return all(record.replace_proven for record in held)


def _failure_of(intents: tuple[Intent, ...]) -> OperationFailed | None:
    """What the ledger says of bodies whose fate was found by a process that is gone."""
    fates = {intent.fate for intent in intents}
    if documents.Fate.UNKNOWN in fates:
        message = "what became of it is not known; the rows are unknown and are sent anew"
        return OperationFailed(Phase.ABANDONED, "AbandonedOperation", message)
    if documents.Fate.NEVER_ACCEPTED in fates:
        return OperationFailed(Phase.FAILED, "MetaUnavailable", "Meta did not accept it; it is planned anew")
    return None


def _receipt(intent: Intent) -> documents.Receipt:
    return documents.Receipt(
        sent=intent.sent,
        fate=documents.Fate(intent.fate or documents.Fate.UNKNOWN),
        results=intent.results,
        unnamed_refused=intent.unnamed_refused,
        read_back=intent.read_back,
    )


def _mark_sent(record: PartitionRecord, touching: tuple[Intent, ...], used: documents.RefreshHead) -> PartitionRecord:
    mine = [intent for intent in touching if record.index in intent.partitions]
    applied = [intent for intent in mine if intent.fate == documents.Fate.APPLIED]
    if not applied:
        return record
    started = min(intent.at for intent in applied)
    if applied[0].feed_id is None:
        return record.model_copy(update={"last_batch_at": started})
    update = {"last_full_at": started, "last_full_sequence": used.sequence}
    return record.model_copy(update=update)


def _look_again_if_stale(ledger: LedgerContent, used: documents.RefreshHead, now: datetime) -> LedgerContent:
    """The source was read again meanwhile: what is pending was counted against the older read."""
    items = ledger.items[0]
    current = items.refresh
    if current is None or (current.sequence, current.departures) == (used.sequence, used.departures):
        return ledger
    return ledger.model_copy(update={"items": (items.model_copy(update={"next_look_at": now}), *ledger.items[1:])})
