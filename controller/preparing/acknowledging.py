"""The steps behind an answer: `Acknowledge`, `Verify`, `SentIDs` and `Rebuild`."""

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from controller.ports.preparing import (
    AcknowledgeRequest,
    AcknowledgeResult,
    ErrorGroup,
    Fate,
    Method,
    Partition,
    RebuildRequest,
    RebuildResult,
    Receipt,
    SentIDsRequest,
    SentIDsResult,
    VerifyRequest,
    VerifyResult,
)
from controller.preparing import locales_answering
from controller.preparing.context import Context
from controller.preparing.heads import scan_snapshot
from controller.preparing.kept import Kept, kept, write_kept
from controller.preparing.locales import with_localized
from controller.preparing.manifests import part_of
from controller.preparing.next_heads import Change, published, snapshot_rows_of
from controller.preparing.objects import read_table, reading, scan_or_empty, sink_table, table_key, write_table
from controller.preparing.sent import Sent, opened
from controller.preparing.slicing import SLICE_ROWS, Scratch, Sliced
from controller.products import acknowledge, verify
from controller.products.acknowledge import TAKEN, Line, MessageGroup
from controller.products.encode import ids_document
from controller.products.fields import GROUP, ID, VOLATILE
from controller.products.fingerprints import group_hash
from controller.products.tables import DELETES, SNAPSHOT, Kind, State, conform, empty, known
from controller.stores.local import LocalStore, lost


def run(request: AcknowledgeRequest, context: Context, slice_rows: int = SLICE_ROWS) -> AcknowledgeResult:
    """Make the next heads. `slice_rows`: so many rows are judged at once; it changes no result."""
    if request.locale is not None:
        return locales_answering.acknowledge_locale(request, context)
    answered = [_answered(context.store, each) for each in request.receipts if each.fate is not Fate.NEVER_ACCEPTED]
    tally = Counter[str]()
    if request.method is Method.REPLACE_FEED:
        changes = [_replaced(request, context, each, answered, tally, slice_rows) for each in request.partitions]
    else:
        changes = _changed(request, context, answered, tally)
    partitions, pending = published(request, context, changes, slice_rows)
    if request.method is Method.REPLACE_FEED and (request.refresh.locales or any(each.locales for each in partitions)):
        # Items came and went; other methods only change some.
        partitions = list(locales_answering.without_gone(request, context, partitions))
        pending = with_localized(context.store, request.refresh, partitions, pending, request.now)
    lines = [line for each in answered for line in each.lines]
    return AcknowledgeResult(
        partitions=tuple(partitions),
        pending=pending,
        accepted=sum(tally[outcome] for outcome in TAKEN),
        refused=tally["refused"],
        unknown=tally["unknown"],
        errors=_groups(acknowledge.message_groups(lines, "fatal")),
        warnings=_groups(acknowledge.message_groups(lines, "warning")),
    )


@dataclass(frozen=True, slots=True)
class Answered:
    """A body that Meta may have, with what was said about it."""

    receipt: Receipt
    sent: Sent
    lines: list[Line]
    answer: pl.DataFrame
    back: pl.DataFrame | None

    def judged(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Judge rows of the body by their narrow columns."""
        applied = self.receipt.fate is Fate.APPLIED
        unnamed = self.receipt.unnamed_refused > 0
        return acknowledge.judge(rows, self.answer, self.back, applied=applied, unnamed=unnamed)


def _answered(store: LocalStore, receipt: Receipt) -> Answered:
    sent = opened(store, receipt.sent)
    lines = _lines(store, receipt.results)
    back = None
    if receipt.read_back is not None:
        read = verify.items(_content(store, receipt.read_back))
        back = verify.compare_back(sent.with_texts(store, read, verify.COMPARABLE), read)
    # A warning that recommends a field we did not send takes nothing back of what was sent.
    about_us = [line for line in lines if line.severity == "fatal" or line.field is None or line.field in sent.columns]
    return Answered(receipt, sent, lines, acknowledge.answers(about_us), back)


def _changed(
    request: AcknowledgeRequest, context: Context, answered: Sequence[Answered], tally: Counter[str]
) -> list[Change]:
    """Make heads after bodies that say some rows; the others stay as they are."""
    store = context.store
    indices = [each.index for each in request.partitions]
    judged = [each.judged(each.sent.rows.collect()).filter(pl.col("_partition").is_in(indices)) for each in answered]
    rows = pl.concat(judged, how="diagonal") if judged else None
    changes = []
    for document in request.partitions:
        mine = rows.filter(pl.col("_partition") == document.index) if rows is not None else None
        if mine is None or not mine.height:
            changes.append(Change(document, document.payload))
            continue
        tally.update(mine.get_column("outcome").to_list())
        before = snapshot_rows_of(store, document.snapshot, mine.select(ID))
        following = acknowledge.next_snapshot(before, mine, empty(DELETES), request.now, replaced=False)
        whole = mine.filter(pl.col("_full") & pl.col("outcome").is_in(TAKEN)).select(ID)
        payload = _payload_with(request, store, document, answered, whole) if whole.height else document.payload
        changes.append(Change(document, payload, following, kept=whole))
    return changes


def _payload_with(
    request: AcknowledgeRequest, store: LocalStore, document: Partition, answered: Sequence[Answered], ids: pl.DataFrame
) -> str | None:
    """What is kept after some complete rows were taken."""
    taken = [
        (
            each.sent.complete.index.join(ids.lazy(), on=ID, how="semi", maintain_order="left").collect(),
            each.sent.complete.tables,
        )
        for each in answered
        if each.sent.complete is not None
    ]
    return write_kept(store, request.prefix, f"{document.index:03}", taken, kept(store, document.payload))


def _replaced(
    request: AcknowledgeRequest,
    context: Context,
    document: Partition,
    answered: Sequence[Answered],
    tally: Counter[str],
    slice_rows: int,
) -> Change:
    """Make the head after a full send: it said every row that stays, so all of the snapshot is written anew."""
    if not answered:
        return Change(document, document.payload)
    (one,) = answered
    store = context.store
    applied = one.receipt.fate is Fate.APPLIED
    replaced = not request.update_only
    deletes = scan_or_empty(store, request.deletes if replaced and applied else None, DELETES)
    tables = {"sent": one.sent.rows, "snapshot": scan_snapshot(store, document.snapshot), "deletes": deletes}
    untaken: list[pl.DataFrame] = []
    found: list[pl.LazyFrame] = []
    with tempfile.TemporaryDirectory(prefix="acknowledge-", dir=store.spool_directory()) as name:
        scratch = Scratch(Path(name))
        ranges = Sliced(tables, scratch.directory("sides"), slice_rows)
        for rows in ranges:
            judged = one.judged(rows["sent"])
            tally.update(dict(judged.get_column("outcome").value_counts().iter_rows()))
            untaken.append(judged.filter(~pl.col("outcome").is_in(TAKEN)).select(ID))
            following = acknowledge.next_snapshot(
                rows["snapshot"], judged, rows["deletes"], request.now, replaced=replaced
            )
            following = acknowledge.forget_unsent(following, judged) if applied else following
            found.append(following.lazy() if ranges.count == 1 else scratch.put_by(following))
        snapshot = pl.concat(found)
        height = int(snapshot.select(pl.len()).collect().item())
        key = table_key(request.prefix, Kind.SNAPSHOT, f"{document.index:03}")
        sink_table(store, key, snapshot, height)
    payload = _next_payload(request, store, document, one, pl.concat(untaken), deletes)
    return Change(document, payload, whole=part_of(store, key, height))


def _next_payload(
    request: AcknowledgeRequest,
    store: LocalStore,
    document: Partition,
    one: Answered,
    untaken: pl.DataFrame,
    deletes: pl.LazyFrame,
) -> str | None:
    """The index of what was sent is what is kept where Meta took all of it; otherwise a new one is written."""
    earlier = kept(store, document.payload)
    before = earlier.index.join(deletes, on=ID, how="anti", maintain_order="left")
    beside = before.join(one.sent.rows.select(ID), on=ID, how="anti").select(pl.len()).collect().item()
    if one.sent.complete is not None and not untaken.height and not beside:
        return one.receipt.sent
    if one.sent.complete is None:
        taken = []
    else:
        chosen = one.sent.complete.index.join(untaken.lazy(), on=ID, how="anti", maintain_order="left")
        taken = [(chosen.collect(), one.sent.complete.tables)]
    return write_kept(store, request.prefix, f"{document.index:03}", taken, Kept(before, earlier.tables))


def _lines(store: LocalStore, key: str | None) -> list[Line]:
    if key is None:
        return []
    found = (json.loads(line) for line in _content(store, key).splitlines() if line.strip())
    return [Line(str(row["id"]), row["severity"], row["message"], row.get("field")) for row in found]


def _content(store: LocalStore, key: str) -> bytes:
    content = store.read(key)
    if content is None:
        raise lost(f"{key} is missing in the store")
    return content


def _groups(groups: Sequence[MessageGroup]) -> tuple[ErrorGroup, ...]:
    return tuple(
        ErrorGroup(
            message=each.message,
            severity="fatal" if each.severity == "fatal" else "warning",
            count=each.count,
            sample_ids=each.sample_ids,
        )
        for each in groups
    )


def verify_sent(request: VerifyRequest, context: Context) -> VerifyResult:
    """Compare what was sent with what was read back."""
    if all(map(locales_answering.is_localized, request.sent)):
        return locales_answering.verified(request, context.store)
    read = verify.items(_content(context.store, request.read_back))
    total = found = equal = proven = 0
    for key in request.sent:
        sent = opened(context.store, key)
        rows = sent.with_texts(context.store, read, verify.COMPARABLE)
        compared = verify.compare_back(rows, read)
        total += int(sent.rows.select(pl.len()).collect().item())
        found += int(compared.get_column(verify.FOUND).sum())
        same = compared.filter(verify.equal_rows(compared))
        equal += same.height
        proven += sum(verify.proven(same, rows, each) for each in _before(request, context.store, same))
    return VerifyResult(equal=equal, proven=proven, different=found - equal, missing=total - found)


def _before(request: VerifyRequest, store: LocalStore, rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """What Meta was known to have of some rows."""
    ids = rows.lazy().select(ID)
    for each in request.partitions:
        with reading():
            yield scan_snapshot(store, each.snapshot).join(ids, on=ID, how="semi").collect(engine="streaming")


def list_sent(request: SentIDsRequest, context: Context) -> SentIDsResult:
    """List ids of sent tables."""
    frames = [_sent_ids(context.store, key) for key in request.sent]
    ids = pl.concat(frames).get_column(ID).unique().sort().to_list() if frames else []
    key = f"{request.prefix}/ids.json"
    context.store.write(key, ids_document(ids))
    return SentIDsResult(ids=key, count=len(ids))


def _sent_ids(store: LocalStore, key: str) -> pl.DataFrame:
    if locales_answering.is_localized(key):
        return read_table(store, key, [ID])
    return opened(store, key).rows.select(ID).collect()


def rebuild(request: RebuildRequest, context: Context) -> RebuildResult:
    """Make heads from Meta's own listings: everything is there, nothing is known for sure, no rows are kept."""
    listings = {each.index: each.listing for each in request.listings}
    partitions = []
    total = 0
    for each in request.partitions:
        if each.index not in listings:
            partitions.append(each)
            continue
        found = verify.items(_content(context.store, listings[each.index]))
        snapshot = _rebuilt(found.filter(pl.col(ID).is_not_null()))
        total += snapshot.height
        key = write_table(context.store, table_key(request.prefix, Kind.SNAPSHOT, f"{each.index:03}"), snapshot)
        locales = locales_answering.unknown(context.store, request.prefix, each, snapshot.get_column(ID))
        partitions.append(each.model_copy(update={"snapshot": key, "payload": None, "locales": locales}))
    return RebuildResult(partitions=tuple(partitions), items=total)


def _rebuilt(listed: pl.DataFrame) -> pl.DataFrame:
    rows = listed.with_columns(
        at_meta=pl.lit(value=True),
        state=pl.lit(State.UNKNOWN.value),
        group_hash=group_hash([GROUP]),
        sequence=pl.lit(0),
        **{known(name): pl.lit(value=False) for name in VOLATILE},
    )
    return conform(rows, SNAPSHOT).sort(ID)
