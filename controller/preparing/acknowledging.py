"""The steps behind an answer: `Acknowledge`, `Verify`, `SentIDs` and `Rebuild`."""

import json
from collections.abc import Sequence

import polars as pl

from controller.ports.preparing import (
    AcknowledgeRequest,
    AcknowledgeResult,
    ErrorGroup,
    Fate,
    Method,
    Partition,
    Pending,
    RebuildRequest,
    RebuildResult,
    Receipt,
    SentIDsRequest,
    SentIDsResult,
    VerifyRequest,
    VerifyResult,
)
from controller.preparing.context import Context
from controller.preparing.heads import IDS, payload_of, snapshot_rows
from controller.preparing.next_heads import Change, published, snapshot_rows_of
from controller.preparing.objects import columns_of, read_or_empty, read_table, table_key, write_table
from controller.products import acknowledge, verify
from controller.products.acknowledge import TAKEN, Line, MessageGroup
from controller.products.encode import ids_document
from controller.products.fields import GROUP, ID, VOLATILE
from controller.products.fingerprints import group_hash
from controller.products.tables import DELETES, SENT, SNAPSHOT, Kind, State, conform, empty, known
from controller.stores.local import LocalStore, lost


def run(request: AcknowledgeRequest, context: Context) -> AcknowledgeResult:
    store = context.store
    lines: list[Line] = []
    judged: list[pl.DataFrame] = []
    for receipt in request.receipts:
        if receipt.fate is Fate.NEVER_ACCEPTED:
            continue
        said = _lines(store, receipt.results)
        lines += said
        judged.append(_judged(store, receipt, said))
    indices = [each.index for each in request.partitions]
    rows = pl.concat(judged, how="diagonal") if judged else None
    if rows is not None:
        rows = rows.filter(pl.col("_partition").is_in(indices))
    changes = [_next(request, context, each, rows) for each in request.partitions]
    partitions, pending = published(request, context, changes)
    return _result(partitions, pending, rows, lines)


def _result(
    partitions: list[Partition],
    pending: tuple[Pending, ...],
    rows: pl.DataFrame | None,
    lines: list[Line],
) -> AcknowledgeResult:
    outcomes = rows.get_column("outcome") if rows is not None else pl.Series([], dtype=pl.String)
    return AcknowledgeResult(
        partitions=tuple(partitions),
        pending=pending,
        accepted=int(outcomes.is_in(TAKEN).sum()),
        refused=int((outcomes == "refused").sum()),
        unknown=int((outcomes == "unknown").sum()),
        errors=_groups(acknowledge.message_groups(lines, "fatal")),
        warnings=_groups(acknowledge.message_groups(lines, "warning")),
    )


def _judged(store: LocalStore, receipt: Receipt, lines: list[Line]) -> pl.DataFrame:
    """Judge the rows of one body by their narrow columns; the texts are read only to compare them with a read-back."""
    columns = columns_of(store, receipt.sent)
    sent = read_table(store, receipt.sent, list(SENT) if receipt.read_back is None else None)
    back = None
    if receipt.read_back is not None:
        back = verify.compare_back(sent, verify.items(_content(store, receipt.read_back)))
    # A warning that recommends a field we did not send takes nothing back of what was sent.
    about_us = [line for line in lines if line.severity == "fatal" or line.field is None or line.field in columns]
    return acknowledge.judge(
        sent.select(SENT.names()),
        acknowledge.answers(about_us),
        back,
        applied=receipt.fate is Fate.APPLIED,
        unnamed=receipt.unnamed_refused > 0,
    )


def _next(request: AcknowledgeRequest, context: Context, document: Partition, rows: pl.DataFrame | None) -> Change:
    """Make the next head of one partition; without rows, and with nothing removed, nothing changes."""
    mine = rows.filter(pl.col("_partition") == document.index) if rows is not None else None
    if mine is None or not (mine.height or request.deletes):
        return Change(document, document.payload, None, whole=False)
    full = request.method is not Method.ITEMS_BATCH
    if not full:
        before = snapshot_rows_of(context.store, document.snapshot, mine.select(ID))
        following = acknowledge.next_snapshot(before, mine, empty(DELETES), request.now, replaced=False)
        return Change(document, document.payload, following, whole=False)
    before = snapshot_rows(context.store, document.snapshot)
    applied = all(each.fate is Fate.APPLIED for each in request.receipts)
    replaced = not request.update_only
    deleted = read_or_empty(context.store, request.deletes, DELETES) if replaced and applied else empty(DELETES)
    snapshot = acknowledge.next_snapshot(before, mine, deleted, request.now, replaced=replaced)
    if applied:
        snapshot = acknowledge.forget_unsent(snapshot, mine)
    return Change(document, _next_payload(request, context, document, mine, deleted), snapshot, whole=True)


def _next_payload(
    request: AcknowledgeRequest, context: Context, document: Partition, rows: pl.DataFrame, deleted: pl.DataFrame
) -> str | None:
    """The table of what was sent is the payload where Meta took all of it; otherwise a new one is written."""
    sent = [each.sent for each in request.receipts if each.fate is not Fate.NEVER_ACCEPTED]
    known_ids = read_or_empty(context.store, document.payload, IDS)
    earlier = known_ids.join(rows.select(ID), on=ID, how="anti").join(deleted, on=ID, how="anti")
    all_taken = bool(rows.get_column("outcome").is_in(TAKEN).all())
    if all_taken and not earlier.height and len(sent) == 1:
        return sent[0]
    taken = rows.filter(pl.col("outcome").is_in(TAKEN)).select(ID)
    accepted = [read_table(context.store, key).join(taken, on=ID, how="semi", maintain_order="left") for key in sent]
    payload = acknowledge.next_payload(payload_of(context.store, document), accepted, deleted)
    if not payload.height:
        return None
    return write_table(context.store, table_key(request.prefix, Kind.PAYLOAD, f"{document.index:03}"), payload)


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
    read = verify.items(_content(context.store, request.read_back))
    compared = [verify.compare_back(read_table(context.store, key), read) for key in request.sent]
    equal = sum(int(each.select(verify.equal_rows(each).sum()).item()) for each in compared)
    missing = sum(int((~each.get_column(verify.FOUND)).sum()) for each in compared)
    total = sum(each.height for each in compared)
    return VerifyResult(equal=equal, different=total - equal - missing, missing=missing)


def list_sent(request: SentIDsRequest, context: Context) -> SentIDsResult:
    """List ids of sent tables."""
    frames = [conform(read_table(context.store, key, [ID]), pl.Schema({ID: SENT[ID]})) for key in request.sent]
    ids = pl.concat(frames).get_column(ID).unique().sort().to_list() if frames else []
    key = f"{request.prefix}/ids.json"
    context.store.write(key, ids_document(ids))
    return SentIDsResult(ids=key, count=len(ids))


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
        partitions.append(each.model_copy(update={"snapshot": key, "payload": None}))
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
