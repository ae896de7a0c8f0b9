"""The step `Refresh`: read, map, check, place, compare; decide what may leave. Once for all partitions."""

import contextlib
import json
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import polars as pl

from controller.api.v1alpha1.items import ItemsEntry, RejectedRows
from controller.faults import Disposition, Fault
from controller.ports.preparing import (
    GuardPolicy,
    Held,
    PartitionDesired,
    RefreshHead,
    RefreshRequest,
    RefreshResult,
    RefusedRead,
    RuleCount,
    SourceCredentials,
)
from controller.ports.sources import Version
from controller.preparing.context import Context
from controller.preparing.heads import (
    Heads,
    Memory,
    departures_of,
    in_partition,
    memory_of,
    pending_of,
    policy_of,
    write_departures,
)
from controller.preparing.objects import existing, read_metadata, read_or_empty, read_table, table_key, write_table
from controller.preparing.orphans import HELD, must_not_orphan
from controller.preparing.source_rows import Read, fetch, read_rows
from controller.preparing.spill import ORDER, Spill, sink
from controller.products import partition
from controller.products.departures import Departures, Guard, Look, PriceChange, advance, next_look_at
from controller.products.fields import ID
from controller.products.partition import PARTITION, SlotRange
from controller.products.rules import RuleFinding
from controller.products.tables import NARROW, Kind, Leaving, Stage
from controller.products.tables import REJECTED as REJECTED_SCHEMA
from controller.sources.spool import Spool
from controller.stores.local import storage_fault

SUPERSEDED_MAX = 16
SAMPLES_MAX = 10
HEAD_BYTES = 1 << 16
CHECKS = "checks"
_PLACED = (ID, "_group_hash")
REFUSALS = frozenset(
    {
        "SourceUnreachable",
        "SourceRefused",
        "SourceEmpty",
        "SourceTooSmall",
        "SourceMalformed",
        "SourceWentBack",
        "MappingInvalid",
        HELD,
    }
)
"""Faults that say that this read does not count; every other fault ends the step."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Which bytes were read."""

    digest: str
    version: Version


@dataclass(frozen=True, slots=True)
class Rows:
    """What the source wants, wherever it came from, and the head that will stand for it."""

    narrow: pl.DataFrame
    stays: pl.DataFrame
    findings: list[RuleFinding]
    rejected: str | None
    complete: bool
    head: RefreshHead


def refresh(request: RefreshRequest, credentials: SourceCredentials, context: Context) -> RefreshResult:
    heads = Heads.load(context.store, request.partitions)
    rows = _read(request, credentials, context, heads) if request.read else _again(request, context, heads)
    return RefreshResult(refused=rows) if isinstance(rows, RefusedRead) else _compare(request, context, heads, rows)


def _read(
    request: RefreshRequest, credentials: SourceCredentials, context: Context, heads: Heads
) -> Rows | RefusedRead:
    digest = None
    scratch = context.store.spool_directory()
    with Spill(scratch) as spill:
        try:
            with Spool(scratch, request.limits.source_bytes_max) as spooled:
                version = fetch(request, credentials, context, spooled)
                digest = spooled.digest
                quiet = _quiet(request, digest, version)
                if quiet is not None:
                    return _again(quiet, context, heads)
                _refuse_older(request, digest, version)
                read = read_rows(request.items, spooled, spill, request.limits.line_bytes_max)
            _must_be_enough(request, read)
            must_not_orphan(
                request.items.variants,
                heads.snapshot,
                departures_of(context.store, request.previous),
                read.accepted,
                _stays(request.items, read.rejected),
                spill.rows(),
            )
        except Fault as fault:
            if fault.reason not in REFUSALS:
                raise
            return RefusedRead(reason=fault.reason, message=fault.message, digest=digest)
        except OSError as error:  # of our own disk: what a source says is a Fault by now
            raise storage_fault(error, "spooling the source") from error
        return _placed(request, context, heads, read, spill.rows(), Seen(digest, version))


def _quiet(request: RefreshRequest, digest: str, version: Version) -> RefreshRequest | None:
    """Return the request for a look at a source that stood still, or None where the rows are new."""
    previous = request.previous
    if previous is None or digest != previous.digest or request.configuration_digest != previous.configuration_digest:
        return None
    seen = {"read_at": request.now, "etag": version.etag, "last_modified": version.last_modified}
    return request.model_copy(update={"previous": previous.model_copy(update=seen)})


def _refuse_older(request: RefreshRequest, digest: str, version: Version) -> None:
    previous = request.previous
    if previous is None or request.accept_went_back or digest == previous.digest:
        return
    if digest in previous.superseded_digests or _earlier(version.last_modified, previous.last_modified):
        raise Fault(
            "SourceWentBack",
            Disposition.RETRY,
            "the source shows an older version than before; it is taken after three equal reads, or ask for a sync",
        )


def _earlier(one: str | None, other: str | None) -> bool:
    """Compare two Last-Modified headers; one that is no date proves nothing."""
    if one is None or other is None:
        return False
    try:
        return parsedate_to_datetime(one) < parsedate_to_datetime(other)
    except (ValueError, TypeError):
        return False


def _must_be_enough(request: RefreshRequest, read: Read) -> None:
    evidence = request.items.evidence
    readable = read.accepted.height + read.rejected.height
    if readable == 0:
        raise Fault(
            "SourceMalformed", Disposition.RETRY, "no row of the source can be read; check format and delimiter"
        )
    if read.rows < evidence.min_rows:
        message = f"the source has {read.rows} rows, evidence.minRows asks for {evidence.min_rows}"
        raise Fault("SourceTooSmall", Disposition.RETRY, message)
    before = request.previous.rows if request.previous else 0
    limit = evidence.max_shrink_percent
    if limit is not None and (before - read.rows) * 100 > limit * before:
        message = f"the source has {read.rows} rows after {before}; evidence.maxShrinkPercent allows {limit} % less"
        raise Fault("SourceTooSmall", Disposition.RETRY, message)
    if read.rows > request.limits.rows_max:
        raise Fault("SourceMalformed", Disposition.RETRY, f"the source has more than {request.limits.rows_max} rows")


def _placed(
    request: RefreshRequest, context: Context, heads: Heads, read: Read, texts: pl.LazyFrame, seen: Seen
) -> Rows:
    """Give every accepted row its partition, and write the tables."""
    narrow = read.accepted.with_columns(_homes(request, context, heads, read.accepted))
    named = _write_partitions(request, context, texts, narrow, ORDER)
    rejected = _write_rejected(request, context, read)
    previous = request.previous
    before = (previous.digest, *previous.superseded_digests) if previous else ()
    superseded = dict.fromkeys(each for each in before if each != seen.digest)
    invalid = read.rows - read.accepted.height
    head = RefreshHead(
        sequence=request.sequence,
        read_at=request.now,
        digest=seen.digest,
        etag=seen.version.etag,
        last_modified=seen.version.last_modified,
        configuration_digest=request.configuration_digest,
        partitions=named,
        departures=previous.departures if previous else None,
        superseded_digests=tuple(superseded)[:SUPERSEDED_MAX],
        rows=read.rows,
        valid=read.accepted.height,
        invalid=invalid,
    )
    stays = _stays(request.items, read.rejected)
    return Rows(narrow.select(*NARROW, PARTITION), stays, read.findings, rejected, read.complete, head)


def _stays(entry: ItemsEntry, rejected: pl.DataFrame) -> pl.DataFrame:
    """Rejected ids that do not count as gone."""
    keeps = entry.rejected_rows is RejectedRows.KEEP_LAST_GOOD
    return rejected.filter(pl.col(ID).is_not_null()) if keeps else rejected.clear()


def _write_rejected(request: RefreshRequest, context: Context, read: Read) -> str:
    """Write rejected rows, with what the rules found, so that a quiet look can say it again."""
    checks = [_rule_count(each).model_dump() for each in read.findings]
    key = table_key(request.prefix, Kind.REJECTED, "all")
    return write_table(context.store, key, read.rejected, {CHECKS: json.dumps(checks)})


def _rule_count(found: RuleFinding) -> RuleCount:
    return RuleCount(
        rule=found.rule, level=found.level, count=found.count, message=found.message, sample_ids=found.sample_ids
    )


def _write_partitions(
    request: RefreshRequest, context: Context, texts: pl.LazyFrame, placed: pl.DataFrame, key: str
) -> tuple[PartitionDesired, ...]:
    """Write the rows of every partition. `placed` says by `key` which rows, and where."""
    keys = {each.index: table_key(request.prefix, Kind.DESIRED, f"{each.index:03}") for each in request.partitions}
    with contextlib.ExitStack() as stack:
        targets = {index: stack.enter_context(context.store.creating(named)) for index, named in keys.items()}
        sink(texts, placed, key, targets, context.store.spool_directory())
    rows = dict(placed.group_by(PARTITION, maintain_order=True).len().iter_rows())
    return tuple(PartitionDesired(index=index, desired=named, rows=rows.get(index, 0)) for index, named in keys.items())


def _homes(request: RefreshRequest, context: Context, heads: Heads, rows: pl.DataFrame) -> pl.Series:
    """Place every row. What the last refresh placed counts as far as its partitions still exist."""
    held = partition.homes(heads.snapshot.filter("at_meta"))
    indices = {each.index for each in request.partitions}
    earlier = [each for each in request.previous.partitions if each.index in indices] if request.previous else []
    placed = [in_partition(read_table(context.store, each.desired, _PLACED), each.index) for each in earlier]
    known = (
        pl.concat(placed)
        if placed
        else pl.DataFrame(schema={ID: pl.String, "_group_hash": pl.UInt64, PARTITION: pl.UInt16})
    )
    ranges = [SlotRange(each.index, each.slot_from, each.slot_to) for each in request.partitions]
    return partition.assign(rows, held, partition.homes(known.rename({"_group_hash": "group_hash"})), ranges)


def _again(request: RefreshRequest, context: Context, heads: Heads) -> Rows:
    """Take the rows of the last accepted read once more."""
    previous = request.previous
    if previous is None:
        raise Fault("PreparingFailed", Disposition.DEFECT, "there is no accepted read yet that could be compared again")
    memory = memory_of(context.store, previous)
    rejected = read_or_empty(context.store, memory.rejected, REJECTED_SCHEMA)
    narrow = pl.concat(
        in_partition(read_or_empty(context.store, each.desired, NARROW), each.index) for each in previous.partitions
    )
    head = previous
    indices = {each.index for each in request.partitions}
    if indices != {each.index for each in previous.partitions} or _misplaced(narrow, heads):
        head, narrow = _moved(request, context, heads, previous, narrow)
    stays = _stays(request.items, rejected)
    return Rows(narrow, stays, _findings_again(context, memory.rejected), memory.rejected, memory.complete, head)


def _findings_again(context: Context, rejected: str | None) -> list[RuleFinding]:
    if rejected is None:
        return []
    found = json.loads(read_metadata(context.store, rejected).get(CHECKS, "[]"))
    counts = [RuleCount.model_validate(each) for each in found]
    return [RuleFinding(each.rule, each.level, each.count, each.message, each.sample_ids) for each in counts]


def _misplaced(narrow: pl.DataFrame, heads: Heads) -> bool:
    """Tell whether Meta holds an item elsewhere than the last refresh placed it."""
    held = heads.snapshot.filter("at_meta").select(ID, held_at=PARTITION)
    both = narrow.select(ID, PARTITION).join(held, on=ID, how="inner", maintain_order="none")
    return bool(both.select((pl.col(PARTITION) != pl.col("held_at")).any()).item())


def _moved(
    request: RefreshRequest, context: Context, heads: Heads, previous: RefreshHead, narrow: pl.DataFrame
) -> tuple[RefreshHead, pl.DataFrame]:
    """Place the rows of the last read anew, because the partitions or the homes are others now."""
    narrow = narrow.with_columns(_homes(request, context, heads, narrow))
    texts = pl.concat(
        pl.scan_parquet(existing(context.store, each.desired), glob=False) for each in previous.partitions
    )
    named = _write_partitions(request, context, texts, narrow, ID)
    return previous.model_copy(update={"partitions": named}), narrow


def _compare(request: RefreshRequest, context: Context, heads: Heads, rows: Rows) -> RefreshResult:
    outcome = advance(
        departures_of(context.store, request.previous),
        memory_of(context.store, request.previous).generations,
        heads.snapshot.filter("at_meta").unique(ID, keep="first", maintain_order=True),
        rows.narrow,
        rows.stays,
        _guard(request.guard, heads),
        Look(request.now, rows.complete, request.interval),
        request.catalog_id,
    )
    memory = Memory(outcome.generations, rows.rejected, rows.complete)
    key = write_departures(context.store, request.prefix, outcome.table, memory)
    head = rows.head.model_copy(update={"departures": key})
    policy = policy_of(request.guard)
    pending = pending_of(request.partitions, heads, rows.narrow, outcome.table, policy, request.now)
    return RefreshResult(
        head=head,
        pending=pending,
        checks=tuple(_rule_count(each) for each in rows.findings),
        held=_held(request, context, outcome, heads),
        watching=outcome.watching,
        newly_leaving=outcome.newly_leaving,
        newly_unsellable=outcome.newly_unsellable,
        released_digests=outcome.released,
        next_look_at=next_look_at(outcome.table, request.interval, request.guard.grace, request.now),
    )


def _guard(policy: GuardPolicy, heads: Heads) -> Guard:
    now_at_meta = int(heads.snapshot.get_column("at_meta").sum())
    prices = policy.max_price_change
    return Guard(
        max_delete_percent=policy.max_delete_percent,
        always_allow=policy.always_allow,
        max_deletes=policy.max_deletes,
        max_unsellable_percent=policy.max_out_of_stock_percent,
        price_change=PriceChange(prices.percent, prices.of_items_percent) if prices is not None else None,
        counted_leaving=policy.counted_leaving_24h,
        counted_unsellable=policy.counted_unsellable_24h,
        items=policy.items_max_7d or now_at_meta,
        approved=frozenset(policy.approved_digests),
    )


def _held(request: RefreshRequest, context: Context, outcome: Departures, heads: Heads) -> Held | None:
    if outcome.held_digest is None:
        return None
    key = f"{request.prefix}/held-{outcome.held_digest.removeprefix('sha256:')}.txt"
    context.store.write(key, "\n".join(outcome.held_ids).encode())
    kinds = outcome.table.filter(pl.col("stage") == Stage.HELD).get_column("kind")
    return Held(
        digest=outcome.held_digest,
        count=len(outcome.held_ids),
        leaving=int((kinds == Leaving.LEAVING).sum()),
        unsellable=int((kinds == Leaving.UNSELLABLE).sum()),
        prices=int((kinds == Leaving.PRICE).sum()),
        of=_guard(request.guard, heads).items,
        sample_ids=outcome.held_ids[:SAMPLES_MAX],
        ids=key,
    )
