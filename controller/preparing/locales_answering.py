"""The steps behind an answer to a localised batch, and what becomes of its values when the items themselves change."""

import json
from collections import Counter
from collections.abc import Sequence

import polars as pl

from controller.ports.locales import Locale, LocaleHead
from controller.ports.preparing import (
    AcknowledgeRequest,
    AcknowledgeResult,
    ErrorGroup,
    Fate,
    Partition,
    Pending,
    Receipt,
    VerifyRequest,
    VerifyResult,
)
from controller.preparing.context import Context
from controller.preparing.heads import scan_snapshot
from controller.preparing.locales import pending_of, snapshot_key
from controller.preparing.objects import (
    read_or_empty,
    reading,
    rows_in,
    scan_or_empty,
    scan_table,
    sink_table,
    table_key,
    write_table,
)
from controller.products import acknowledge, localized
from controller.products.acknowledge import Line
from controller.products.fields import ID
from controller.products.partition import PARTITION
from controller.products.tables import LOCALE, LOCALE_SENT, Kind
from controller.stores.local import LocalStore, lost

TAKEN = ("applied", "confirmed", "warned")


def is_localized(sent: str) -> bool:
    """Tell whether a table says values for one language or country."""
    return sent.rsplit("/", 1)[-1].startswith(f"{Kind.LOCALE_SENT.value}-")


def acknowledge_locale(request: AcknowledgeRequest, context: Context) -> AcknowledgeResult:
    """Make the next snapshots of one localization. Of what is pending, only `localized` is counted."""
    store = context.store
    answered = [each for each in request.receipts if each.fate is not Fate.NEVER_ACCEPTED]
    lines = [line for each in answered for line in _lines(store, each.results)]
    judged = [_judged(store, each) for each in answered]
    rows = pl.concat(judged) if judged else None
    tally = Counter[str]()
    partitions = []
    for document in request.partitions:
        mine = rows.filter(pl.col(PARTITION) == document.index) if rows is not None else None
        if mine is None or not mine.height:
            partitions.append(document)
            continue
        tally.update(mine.get_column("outcome").to_list())
        partitions.append(_followed(request, store, document, mine))
    return AcknowledgeResult(
        partitions=tuple(partitions),
        pending=tuple(
            Pending(index=each.index, localized=pending_of(store, request.refresh, each, request.now))
            for each in partitions
        ),
        accepted=sum(tally[outcome] for outcome in TAKEN),
        refused=tally["refused"],
        unknown=tally["unknown"],
        errors=_groups(lines, "fatal"),
        warnings=_groups(lines, "warning"),
    )


def _judged(store: LocalStore, receipt: Receipt) -> pl.DataFrame:
    back = localized.read_back(_content(store, receipt.read_back)) if receipt.read_back is not None else None
    answer = localized.Answer(
        lines=_lines(store, receipt.results),
        back=back,
        applied=receipt.fate is Fate.APPLIED,
        unnamed=receipt.unnamed_refused > 0,
    )
    return localized.judge_sent(read_or_empty(store, receipt.sent, LOCALE_SENT), answer)


def _followed(request: AcknowledgeRequest, store: LocalStore, document: Partition, mine: pl.DataFrame) -> Partition:
    """Write the snapshot of one partition anew; when nothing of it is left, and nobody names it, it is gone."""
    assert request.locale is not None
    before = snapshot_key(document, request.locale)
    held = scan_or_empty(store, before, LOCALE)
    ids = mine.lazy().select(ID)
    with reading():
        known = held.join(ids, on=ID, how="semi").collect(engine="streaming")
        fresh = localized.next_rows(known, mine, request.now)
        others = held.join(ids, on=ID, how="anti", maintain_order="left")
        key = _key(request.prefix, document, request.locale)
        expected = (rows_in(store, before) if before is not None else 0) + fresh.height
        sink_table(store, key, pl.concat([others, fresh.lazy()]), expected)
        empty = not rows_in(store, key)
    kept = [each for each in document.locales if each.locale != request.locale]
    named = any(each.locale == request.locale for each in request.refresh.locales)
    if named or not empty:
        kept.append(LocaleHead(name=request.overlay or "", locale=request.locale, snapshot=key))
    return document.model_copy(update={"locales": tuple(kept)})


def without_gone(
    request: AcknowledgeRequest, context: Context, partitions: Sequence[Partition]
) -> tuple[Partition, ...]:
    """Forget the values of items that left: made anew, an item has none."""
    return tuple(_without_gone(request, context.store, each) if each.locales else each for each in partitions)


def _without_gone(request: AcknowledgeRequest, store: LocalStore, document: Partition) -> Partition:
    items = scan_snapshot(store, document.snapshot).filter("at_meta").select(ID)
    heads = []
    for each in document.locales:
        held = scan_table(store, each.snapshot)
        with reading():
            before = rows_in(store, each.snapshot)
            stays = held.join(items, on=ID, how="semi", maintain_order="left")
            count = int(stays.select(pl.len()).collect(engine="streaming").item())
            if count == before:
                heads.append(each)
                continue
            key = _key(request.prefix, document, each.locale)
            sink_table(store, key, stays, count)
        heads.append(each.model_copy(update={"snapshot": key}))
    return document.model_copy(update={"locales": tuple(heads)})


def unknown(store: LocalStore, prefix: str, document: Partition, ids: pl.Series) -> tuple[LocaleHead, ...]:
    """Heads of a partition of which nobody knows what its items hold."""
    rows = localized.unknown_rows(ids)
    found = []
    for each in document.locales:
        key = write_table(store, _key(prefix, document, each.locale), rows)
        found.append(each.model_copy(update={"snapshot": key}))
    return tuple(found)


def verified(request: VerifyRequest, store: LocalStore) -> VerifyResult:
    """Compare what bodies said with what was read back."""
    held = localized.read_back(_content(store, request.read_back))
    equal = proven = different = missing = 0
    for key in request.sent:
        rows = read_or_empty(store, key, LOCALE_SENT)
        known = _known(request, store, rows)
        otherwise = localized.DELETED if request.partitions else None
        for item, said, target in rows.select(ID, "_said", "_row_hash").iter_rows():
            if item not in held:
                missing += 1
            elif localized.same_as_read(json.loads(said), held[item]):
                equal += 1
                proven += known.get(item, otherwise) not in (None, target)
            else:
                different += 1
    return VerifyResult(equal=equal, proven=proven, different=different, missing=missing)


def _known(request: VerifyRequest, store: LocalStore, sent: pl.DataFrame) -> dict[str, int | None]:
    """Hashes of what Meta was known to have; None where nobody knew. Of what was never sent Meta has nothing."""
    found: dict[str, int | None] = {}
    for each in request.partitions:
        key = snapshot_key(each, request.locale) if request.locale is not None else None
        rows = scan_or_empty(store, key, LOCALE).join(sent.lazy().select(ID), on=ID, how="semi")
        with reading():
            found |= dict(rows.select(ID, "row_hash").collect(engine="streaming").iter_rows())
    return found


def _key(prefix: str, document: Partition, locale: Locale) -> str:
    word = f"{locale.language or ''}-{locale.country or ''}"
    return table_key(prefix, Kind.LOCALE, f"{document.index:03}-{word}")


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


def _groups(lines: Sequence[Line], severity: str) -> tuple[ErrorGroup, ...]:
    return tuple(
        ErrorGroup(
            message=each.message,
            severity="fatal" if each.severity == "fatal" else "warning",
            count=each.count,
            sample_ids=each.sample_ids,
        )
        for each in acknowledge.message_groups(list(lines), severity)
    )
