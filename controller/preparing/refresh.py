"""The step `Refresh`: read, map, check, place, compare; decide what may leave. Once for all partitions."""

from dataclasses import replace
from datetime import datetime

import polars as pl

from controller.faults import Fault
from controller.ports.preparing import (
    GuardPolicy,
    Held,
    RefreshHead,
    RefreshRequest,
    RefreshResult,
    RefusedRead,
    SourceCredentials,
)
from controller.ports.sources import Version
from controller.preparing import locales, overlay_reading, overlay_step
from controller.preparing.both_sides import (
    Everything,
    at_meta_of,
    compared_pieces,
    pieces_of,
)
from controller.preparing.comparing import (
    Compared,
    Inputs,
    keep_open,
)
from controller.preparing.context import Context
from controller.preparing.evidence import REFUSALS, refuse_older
from controller.preparing.findings import (
    rule_count,
    with_remarks,
)
from controller.preparing.following import changes, overlaid
from controller.preparing.full_read import again, read_all
from controller.preparing.heads import Memory, departures_of, memory_of, policy_of, write_departures
from controller.preparing.manifests import RowsManifest, manifest_key, write_manifest
from controller.preparing.overlay_reading import Taken
from controller.preparing.rows import Rows, Seen
from controller.preparing.source_rows import opened
from controller.preparing.spill import Spill
from controller.products.compare import REPEAT_AFTER
from controller.products.departures import Departures, Guard, Look, PriceChange, advance_all, next_look_at
from controller.products.fields import ID
from controller.products.open_rows import Sides
from controller.products.overlays import Overlaid
from controller.products.tables import Leaving, Stage
from controller.stores.local import storage_fault

SAMPLES_MAX = 10


def refresh(request: RefreshRequest, credentials: SourceCredentials, context: Context) -> RefreshResult:
    taken = overlay_reading.take(request, credentials, context)
    request = request.model_copy(update={"items": taken.named(request.items)})
    rows: Rows | RefusedRead | None
    if request.read:
        rows = _read(request, credentials, context, taken)
    elif taken.changed.height or taken.anew:
        rows = overlaid(request, context, taken)
    else:
        rows = again(request, context)
    if rows is None:
        return RefreshResult(needs_read=True, overlays=taken.results)
    if isinstance(rows, RefusedRead):
        return RefreshResult(refused=rows, overlays=taken.results)
    result = _compare(request, context, rows)
    assert result.head is not None
    heads = overlay_step.counted(context.store, result.head, request.previous, taken.heads)
    said = tuple(overlay_reading.remarks(context.store, heads))
    findings = with_remarks(request, context, result.head, said)
    named = locales.declared(request.items)
    head = result.head.model_copy(update={"overlays": heads, "findings": findings, "locales": named})
    pending = locales.with_localized(context.store, head, request.partitions, result.pending, request.now)
    update = {"head": head, "pending": pending, "checks": (*result.checks, *said), "overlays": taken.results}
    return result.model_copy(update=update | {"next_look_at": _next_look(request, head, result.next_look_at)})


def _next_look(request: RefreshRequest, head: RefreshHead, at: datetime | None) -> datetime | None:
    """Values for a language or country are compared once a day: some are due again, whatever the sources say."""
    if not head.locales:
        return at
    daily = request.now + REPEAT_AFTER
    return daily if at is None else min(at, daily)


def _read(
    request: RefreshRequest, credentials: SourceCredentials, context: Context, taken: Taken
) -> Rows | RefusedRead:
    digest = None
    scratch = context.store.spool_directory()
    with Spill(scratch) as spill:
        try:
            with opened(request, credentials, context) as (spooled, version):
                digest = spooled.digest
                seen = Seen(digest, version)
                over = overlay_reading.overlaid(context.store, taken.heads)
                if not (taken.anew or taken.changed.height):
                    quiet = _quiet(request, digest, version)
                    if quiet is not None:
                        return again(quiet, context)
                refuse_older(request, digest, version)
                if not (taken.anew or taken.changed.height):
                    changed = changes(request, context, spooled, seen, spill, over)
                    if changed is not None:
                        return changed
                return read_all(request, context, spooled, seen, Overlaid(over.layers))
        except Fault as fault:
            if fault.reason not in REFUSALS:
                raise
            return RefusedRead(reason=fault.reason, message=fault.message, digest=digest)
        except OSError as error:  # of our own disk: what a source says is a Fault by now
            raise storage_fault(error, "spooling the source") from error


def _quiet(request: RefreshRequest, digest: str, version: Version) -> RefreshRequest | None:
    """Return the request for a look at a source that stood still, or None where the rows are new."""
    previous = request.previous
    if previous is None or digest != previous.digest or request.configuration_digest != previous.configuration_digest:
        return None
    if previous.judge_again:
        return None
    seen = {"read_at": request.now, "etag": version.etag, "last_modified": version.last_modified}
    return request.model_copy(update={"previous": previous.model_copy(update=seen)})


def _compare(request: RefreshRequest, context: Context, rows: Rows) -> RefreshResult:
    guard = _guard(request.guard, rows.inputs)
    with pieces_of(rows.inputs) as pieces:
        outcome = advance_all(
            departures_of(context.store, request.previous),
            memory_of(context.store, request.previous).generations,
            (_present(each.sides) for each in pieces),
            rows.stays,
            guard,
            Look(request.now, rows.complete and rows.looked, request.interval),
            request.catalog_id,
        )
        memory = Memory(outcome.generations, rows.rejected, rows.complete)
        key = write_departures(context.store, request.prefix, outcome.table, memory)
        policy = policy_of(request.guard)
        keeps = rows.manifest is not None
        found = compared_pieces(
            rows.inputs, pieces, outcome.table, request.partitions, policy, request.now, keep_open=keeps
        )
    head = rows.head.model_copy(update={"departures": key})
    if rows.manifest is not None:
        head = _published(request, context, rows.manifest, found, head)
    return RefreshResult(
        head=head,
        pending=found.pending,
        checks=tuple(rule_count(each) for each in rows.findings),
        held=_held(request, context, outcome, guard),
        watching=outcome.watching,
        newly_leaving=outcome.newly_leaving,
        newly_unsellable=outcome.newly_unsellable,
        released_digests=outcome.released,
        next_look_at=next_look_at(outcome.table, request.interval, request.guard.grace, request.now),
    )


def _present(sides: Sides) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What Meta holds, each id once, and what the source has."""
    return sides.snapshot.filter("at_meta").unique(ID, keep="first", maintain_order=True), sides.desired


def _published(
    request: RefreshRequest, context: Context, manifest: RowsManifest, found: Compared, head: RefreshHead
) -> RefreshHead:
    """Write the manifest that stands for the rows of every partition."""
    kept = keep_open(context, request.prefix, found, manifest.identity, request.partitions)
    key = manifest_key(request.prefix, "rows", "all")
    write_manifest(context.store, key, replace(manifest, open=kept))
    named = tuple(each.model_copy(update={"desired": key}) for each in head.partitions)
    return head.model_copy(update={"partitions": named})


def _guard(policy: GuardPolicy, inputs: Inputs | Everything) -> Guard:
    prices = policy.max_price_change
    return Guard(
        max_delete_percent=policy.max_delete_percent,
        always_allow=policy.always_allow,
        max_deletes=policy.max_deletes,
        max_unsellable_percent=policy.max_out_of_stock_percent,
        price_change=PriceChange(prices.percent, prices.of_items_percent) if prices is not None else None,
        counted_leaving=policy.counted_leaving_24h,
        counted_unsellable=policy.counted_unsellable_24h,
        items=policy.items_max_7d or at_meta_of(inputs),
        approved=frozenset(policy.approved_digests),
    )


def _held(request: RefreshRequest, context: Context, outcome: Departures, guard: Guard) -> Held | None:
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
        of=guard.items,
        sample_ids=outcome.held_ids[:SAMPLES_MAX],
        ids=key,
    )
