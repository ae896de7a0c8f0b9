"""What became of a body: follow its handle, read every result page, look for it when the answer was lost.

Results go to the store before the ledger names them. Lists that are shorter than their totals are completed where Meta
offers a way (the full error report of an upload, the ids of invalid requests of a batch, reading items back); what is
still unnamed becomes unknown, never acknowledged.
"""

import functools
import json
import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum

from controller.api.v1alpha1.catalog_ledger import Followed, Intent, IntentState, LedgerContent
from controller.faults import Disposition, Fault
from controller.ports import preparing as documents
from controller.ports.meta import BatchStatus, Problem, UploadAtMeta, UploadList
from controller.reconcile import documents as convert
from controller.reconcile.connections import Connection
from controller.reconcile.context import Context
from controller.reconcile.ledgers import LedgerBook, Transition, catalog_prefix
from controller.reconcile.read_back import read_back, worth_reading
from controller.scheduling import ledger as transitions

LOG = logging.getLogger(__name__)

REPORT_WAIT = timedelta(minutes=10)
"""A full error report that is not written by then is given up; its rows stay unknown."""
CLOCK_TOLERANCE = timedelta(seconds=5)


class Collected(StrEnum):
    NOT_YET = "NotYet"
    PROGRESS = "Progress"
    DONE = "Done"
    FAILED = "Failed"
    ABANDONED = "Abandoned"


class Collector:
    """Follows the bodies of one operation. Times are counted on this process's clock from its own first sight."""

    def __init__(self, context: Context, book: LedgerBook, catalog_id: str, operation: str) -> None:
        self._context = context
        self._book = book
        self._catalog_id = catalog_id
        self._operation = operation
        self._first_seen: dict[str, datetime] = {}
        self._looks: dict[str, int] = {}
        self._next_look: dict[str, datetime] = {}
        self._stood_still = timedelta()
        self._failures: dict[str, str] = {}

    def saw_uncertain(self, intent: Intent) -> None:
        self._first_seen.setdefault(intent.id, self._context.clock.now())

    def stood_still(self, duration: timedelta) -> None:
        """Time in which nothing could be asked does not count towards any deadline."""
        self._stood_still += duration

    def look_again(self, intent: Intent) -> None:
        """The last look found nobody: the next one is due whenever the caller comes back."""
        self._next_look.pop(intent.id, None)

    def failure(self, intent: Intent) -> str | None:
        return self._failures.get(intent.id)

    def pause(self, intents: tuple[Intent, ...]) -> timedelta:
        """How long until the next look at one of these is due."""
        now = self._context.clock.now()
        timing = self._context.settings.timing
        moments = [self._next_look[intent.id] for intent in intents if intent.id in self._next_look]
        default = timing.upload_poll if any(intent.feed_id for intent in intents) else timing.batch_poll
        return max(min(moments) - now, timedelta(seconds=0.5)) if moments else default

    async def look(self, connection: Connection, intent: Intent) -> Collected:
        """One look at one body that is open or accepted."""
        now = self._context.clock.now()
        self._first_seen.setdefault(intent.id, now)
        if self._next_look.get(intent.id, now) > now:
            return Collected.NOT_YET
        timing = self._context.settings.timing
        if intent.state is IntentState.OPEN:
            return await self._look_for(connection, intent)
        if intent.feed_id is None:
            self._next_look[intent.id] = now + timing.batch_poll
            return await self._poll_batch(connection, intent)
        self._next_look[intent.id] = now + timing.upload_poll
        return await self._poll_upload(connection, intent)

    # A body whose answer was lost

    async def _look_for(self, connection: Connection, intent: Intent) -> Collected:
        journalled = await self._journalled(intent)
        if journalled is not None:
            await self._accept(intent, journalled)
            return Collected.PROGRESS
        if intent.removes_feed:
            return await self._look_for_feed(connection, intent)
        if intent.feed_id is not None:
            return await self._look_for_upload(connection, intent)
        return await self._look_for_batch(connection, intent)

    async def _journalled(self, intent: Intent) -> str | None:
        number = intent.id.rsplit("/", 1)[1]
        key = f"{catalog_prefix(self._catalog_id)}/journal/{intent.epoch:08d}/{intent.operation}/{number}"
        found = await self._context.store.read(key)
        return None if found is None else str(json.loads(found)["handle"])

    async def _look_for_upload(self, connection: Connection, intent: Intent) -> Collected:
        """An upload that two listings do not show never was."""
        assert intent.feed_id is not None
        if not self._is_listed(intent):
            return Collected.NOT_YET
        listed = await connection.graph.list_uploads(self._catalog_id, intent.feed_id)
        found = _matching_upload(intent, listed, self._context.clock.now())
        if found is not None:
            await self._accept(intent, found.id)
            return Collected.PROGRESS
        if not self._looked_twice(intent):
            return Collected.NOT_YET
        LOG.info("an upload with a lost answer is not listed", extra={"intent": intent.id})
        return await self._abandon(intent, "the answer to the upload was lost and Meta does not list it")

    async def _look_for_feed(self, connection: Connection, intent: Intent) -> Collected:
        """The feed is gone when Meta's list, which lags, twice does not have it."""
        if not self._is_listed(intent):
            return Collected.NOT_YET
        listed = await connection.graph.list_feeds(self._catalog_id)
        if not self._looked_twice(intent):
            return Collected.NOT_YET
        if all(feed.id != intent.feed_id for feed in listed):
            await self.feed_removed(intent)
            return Collected.DONE
        return await self._abandon(intent, "the answer to the deletion of the feed was lost and Meta still lists it")

    def _is_listed(self, intent: Intent) -> bool:
        """Tell whether the request has ended, and long enough ago that Meta's lists, which lag, know of it."""
        ended = self._first_seen[intent.id] + timedelta(seconds=intent.budget_seconds)
        first = ended + self._context.settings.timing.listing_lag
        if self._context.clock.now() < first:
            self._next_look[intent.id] = first
            return False
        return True

    def _looked_twice(self, intent: Intent) -> bool:
        """Count a look at a list, and say when the next one is due."""
        self._looks[intent.id] = self._looks.get(intent.id, 0) + 1
        self._next_look[intent.id] = self._context.clock.now() + self._context.settings.timing.listing_lag
        return self._looks[intent.id] >= 2

    async def feed_removed(self, intent: Intent) -> None:
        """The feed is gone, and every item of the partition with it."""
        LOG.info("a feed without items was removed", extra={"intent": intent.id, "feed": intent.feed_id})

        def forget(ledger: LedgerContent) -> LedgerContent:
            return transitions.forget_feed(ledger, intent.partitions)

        await self._collect(intent, documents.Fate.APPLIED, forget)

    async def _look_for_batch(self, connection: Connection, intent: Intent) -> Collected:
        """No listing shows batches: read the ids back.

        All equal means that it was applied, at once where Meta was known to have had other values. Values that nobody
        knew may come from an earlier batch that was given up, while this one is still at work: then the claim stays
        until it is too old for that.
        """
        timing = self._context.settings.timing
        now = self._context.clock.now()
        waited = now - self._first_seen[intent.id] - self._stood_still
        if waited < timing.read_back_after:
            self._next_look[intent.id] = now + timing.read_back_after - waited
            return Collected.NOT_YET
        if worth_reading(intent.rows, intent.locale):
            key = await self._read_back(connection, intent, "uncertain")
            verified = await self._verify(intent, key)
            same = verified.different == 0 and verified.missing == 0
            if same and (verified.proven == verified.equal or waited >= timing.batch_abandon):
                await self._collect(intent, documents.Fate.APPLIED, read_back=key)
                return Collected.DONE
        if waited >= timing.batch_abandon:
            return await self._abandon(intent, "the answer to the batch was lost and its values are not at Meta")
        self._next_look[intent.id] = now + timing.read_back_after
        return Collected.NOT_YET

    async def _accept(self, intent: Intent, handle: str) -> None:
        now = self._context.clock.now()
        self._next_look.pop(intent.id, None)
        self._first_seen.pop(intent.id, None)
        await self._book.change(self._catalog_id, lambda ledger: transitions.accept(ledger, intent.id, handle, now))

    # A batch

    async def note_answer_problems(self, intent: Intent, problems: tuple[Problem, ...]) -> None:
        """Keep what the synchronous answer said about rows: the status does not repeat it."""
        if problems:
            await self._context.store.write(self._key(intent, "answer"), _lines(problems))

    async def nothing_ingested(self, intent: Intent, problems: tuple[Problem, ...]) -> None:
        """An answer without a handle: rows with errors were refused, the others were not looked at."""
        fatal = {problem.item_id for problem in problems if problem.severity == "fatal"}
        key = await self._write_results(intent, problems) if problems else None
        unnamed = max(intent.rows - len(fatal), 0)
        await self._collect(intent, documents.Fate.APPLIED, results=key, unnamed_refused=unnamed)

    async def _poll_batch(self, connection: Connection, intent: Intent) -> Collected:
        assert intent.handle is not None
        try:
            status = await connection.graph.read_batch(self._catalog_id, intent.handle)
        except Fault as fault:
            if fault.disposition is not Disposition.STALLED or fault.reason not in ("InvalidRequest", "NotVisible"):
                raise
            LOG.warning("Meta does not know the handle", extra={"intent": intent.id, "reason": fault.reason})
            status = BatchStatus(
                "unknown", terminal=False, failed=False, problems=(), errors_total=0, warnings_total=0, invalid_ids=()
            )
        if status.terminal:
            return await self._collect_batch(connection, intent, status)
        if self._elapsed(intent) >= self._context.settings.timing.batch_abandon:
            return await self._abandon(intent, f"the batch is still {status.status}")
        return Collected.NOT_YET

    async def _collect_batch(self, connection: Connection, intent: Intent, status: BatchStatus) -> Collected:
        problems = list(status.problems)
        fatal = {problem.item_id for problem in problems if problem.severity == "fatal"}
        silent = sorted(set(status.invalid_ids) - {name for name in fatal if name is not None})
        problems += [Problem("fatal", "Meta names the request as invalid and says no more", name) for name in silent]
        named = {problem.item_id for problem in problems if problem.severity == "fatal" and problem.item_id}
        unnamed = max(status.errors_total - len(named), 0)
        answered = await self._context.store.read(self._key(intent, "answer"))
        results = await self._write_results(intent, problems, answered)
        if status.failed:
            self._failures[intent.id] = f"Meta ended the batch as {status.status}"
            await self._collect(intent, documents.Fate.UNKNOWN, results=results)
            return Collected.FAILED
        read_back = None
        if unnamed and worth_reading(intent.rows, intent.locale):
            if not self._may_read_back(intent):
                return Collected.NOT_YET
            read_back = await self._read_back(connection, intent, "unnamed")
        fate = documents.Fate.APPLIED
        await self._collect(intent, fate, results=results, read_back=read_back, unnamed_refused=unnamed)
        return Collected.DONE

    def _may_read_back(self, intent: Intent) -> bool:
        """A read decides only when it is taken long enough after the last effect."""
        now = self._context.clock.now()
        first = self._looks.get(intent.id)
        if first is None:
            self._looks[intent.id] = int(now.timestamp())
            self._next_look[intent.id] = now + self._context.settings.timing.effect_horizon
            return False
        return now.timestamp() - first >= self._context.settings.timing.effect_horizon.total_seconds()

    # An upload

    async def _poll_upload(self, connection: Connection, intent: Intent) -> Collected:
        assert intent.handle is not None
        upload = await connection.graph.read_upload(self._catalog_id, intent.handle)
        if upload.end_time is not None:
            return await self._collect_upload(connection, intent, upload)
        if self._elapsed(intent) >= self._context.settings.timing.upload_abandon:
            return await self._abandon(intent, "the upload does not end")
        return Collected.NOT_YET

    async def _collect_upload(self, connection: Connection, intent: Intent, upload: UploadAtMeta) -> Collected:
        problems = await connection.graph.read_upload_problems(self._catalog_id, upload.id)
        file_level = [p for p in problems if p.severity == "fatal" and p.item_id is None and not upload.persisted]
        if file_level and (upload.detected or 0) == 0:
            self._failures[intent.id] = f"Meta refused the file: {file_level[0].message}"
            await self._collect(intent, documents.Fate.UNKNOWN, results=await self._write_results(intent, problems))
            return Collected.FAILED
        if _named(problems, "fatal") < (upload.invalid or 0) or _named(problems, "warning") < (
            upload.warning_count or 0
        ):
            report = await self._error_report(connection, intent, upload.id)
            if report is None:
                return Collected.NOT_YET
            problems = (*problems, *report)
        results = await self._write_results(intent, problems)
        unnamed = max((upload.invalid or 0) - _named(problems, "fatal"), 0)
        unexpected = _unexpected(intent, upload)
        judgement = _judgement(intent, unexpected)
        await self._collect(intent, documents.Fate.APPLIED, judgement, results=results, unnamed_refused=unnamed)
        return Collected.DONE

    async def _error_report(self, connection: Connection, intent: Intent, upload_id: str) -> tuple[Problem, ...] | None:
        """The full report; None while Meta writes it; empty when it can't be had."""
        now = self._context.clock.now()
        report = await connection.graph.read_error_report(self._catalog_id, upload_id)
        if report.status == "NOT_REQUESTED":
            await connection.graph.request_error_report(self._catalog_id, upload_id)
            self._looks[intent.id] = int(now.timestamp())
            return None
        if report.handle is not None and report.status == "WRITE_FINISHED":
            return tuple(
                [problem async for problem in connection.graph.download_error_report(self._catalog_id, report)]
            )
        waited = now.timestamp() - self._looks.setdefault(intent.id, int(now.timestamp()))
        if report.status in ("REQUESTED", "CREATED") and waited < REPORT_WAIT.total_seconds():
            return None
        LOG.warning("there is no full error report", extra={"intent": intent.id, "status": report.status})
        return ()

    # For both

    def _elapsed(self, intent: Intent) -> timedelta:
        since = intent.accepted_at or intent.at
        return self._context.clock.now() - since - self._stood_still

    async def _abandon(self, intent: Intent, why: str) -> Collected:
        """Give up: the rows are unknown, and are read once more later."""
        LOG.warning("abandoned", extra={"intent": intent.id, "why": why})
        now = self._context.clock.now()
        later = now + self._context.settings.timing.late_effect_check
        followed = Followed(intent=intent.id, sent=intent.sent, at=later, locale=intent.locale)
        also = functools.partial(_follow, followed) if worth_reading(intent.rows, intent.locale) else None
        await self._collect(intent, documents.Fate.UNKNOWN, also)
        return Collected.ABANDONED

    async def _collect(
        self, intent: Intent, fate: documents.Fate, also: Transition | None = None, **found: str | int | None
    ) -> None:
        """Write the fate, and in the same breath what else follows from it: a crash between two writes loses one."""
        now = self._context.clock.now()

        def transition(ledger: LedgerContent) -> LedgerContent:
            collected = transitions.collect(ledger, intent.id, fate, now, **found)
            return also(collected) if also is not None else collected

        await self._book.change(self._catalog_id, transition)

    def _key(self, intent: Intent, what: str) -> str:
        number = intent.id.rsplit("/", 1)[1]
        return f"{catalog_prefix(self._catalog_id)}/{intent.epoch:08d}/{intent.operation}/{what}-{number}.jsonl"

    async def _write_results(
        self, intent: Intent, problems: Iterable[Problem], more: bytes | None = None
    ) -> str | None:
        content = _lines(problems) + (more or b"")
        if not content:
            return None
        key = self._key(intent, f"results-{self._context.rng.getrandbits(32):08x}")
        await self._context.store.write(key, content)
        return key

    async def _read_back(self, connection: Connection, intent: Intent, why: str) -> str:
        prefix = self._step_prefix(intent, why)
        return await read_back(self._context, connection, self._catalog_id, (intent.sent,), prefix, intent.locale)

    async def _verify(self, intent: Intent, read_back: str) -> documents.VerifyResult:
        result = await self._context.preparing.run(
            documents.VerifyRequest(
                store=self._context.store.url,
                prefix=self._step_prefix(intent, "verify"),
                catalog_id=self._catalog_id,
                now=self._context.clock.now(),
                sent=(intent.sent,),
                read_back=read_back,
                partitions=self._heads_of(intent),
                locale=convert.locale(intent.locale),
            )
        )
        if not isinstance(result, documents.VerifyResult):
            raise Fault("PreparingFailed", Disposition.RETRY, "what was read back could not be compared")
        return result

    def _heads_of(self, intent: Intent) -> tuple[documents.Partition, ...]:
        """The claim is held, so these are from before the intent."""
        ledger = self._book.known(self._catalog_id)
        records = ledger.partitions if ledger is not None else ()
        return tuple(convert.partition(record) for record in records if record.index in intent.partitions)

    def _step_prefix(self, intent: Intent, step: str) -> str:
        number = intent.id.rsplit("/", 1)[1]
        nonce = f"{self._context.rng.getrandbits(32):08x}"
        return f"{catalog_prefix(self._catalog_id)}/{intent.epoch:08d}/{intent.operation}/{step}-{number}-{nonce}"


def _follow(followed: Followed, ledger: LedgerContent) -> LedgerContent:
    return transitions.follow(ledger, followed)


def _matching_upload(intent: Intent, listed: UploadList, now: datetime) -> UploadAtMeta | None:
    """By file name; or, on a feed that only we write, by a start on Meta's clock that is not before the intent."""
    for upload in listed.uploads:
        if upload.file_name is not None and upload.file_name == intent.file_name:
            return upload
    ahead = listed.server_time - now if listed.server_time is not None else timedelta()
    earliest = intent.at + ahead - CLOCK_TOLERANCE
    later = [upload for upload in listed.uploads if upload.start_time is not None and upload.start_time >= earliest]
    return min(later, key=lambda upload: (upload.start_time or now, upload.id), default=None)


def _named(problems: Iterable[Problem], severity: str) -> int:
    return len({problem.item_id for problem in problems if problem.severity == severity and problem.item_id})


def _judgement(intent: Intent, unexpected: str | None) -> Transition:
    """What Meta counted decides whether replaces may go on: proven, or stopped for the whole catalog."""

    def transition(ledger: LedgerContent) -> LedgerContent:
        if unexpected is None:
            return transitions.map_partitions(
                ledger, intent.partitions, lambda record: record.model_copy(update={"replace_proven": True})
            )
        LOG.error("unexpected result", extra={"intent": intent.id, "detail": unexpected})
        everywhere = [record.index for record in ledger.partitions]
        return transitions.map_partitions(
            ledger, everywhere, lambda record: record.model_copy(update={"unexpected": unexpected})
        )

    return transition


def _unexpected(intent: Intent, upload: UploadAtMeta) -> str | None:
    """Meta counted something else than was planned."""
    if upload.detected is not None and upload.detected != intent.rows:
        return f"Meta counted {upload.detected} items in a file of {intent.rows}"
    if upload.deleted is not None and upload.deleted > intent.delete_count:
        return f"Meta deleted {upload.deleted} items where {intent.delete_count} were planned"
    return None


def _lines(problems: Iterable[Problem]) -> bytes:
    rows = [
        {"id": problem.item_id, "severity": problem.severity, "message": problem.message, "field": problem.field}
        for problem in problems
        if problem.item_id is not None
    ]
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)
