"""Looking at overlays: each at its own interval, with its own failures. A step reads those that changed, together."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from controller.api.v1alpha1.catalog_ledger import ItemsRecord, OverlayRecord, OverlayRepeat
from controller.api.v1alpha1.items import ItemsEntry, Overlay
from controller.faults import Fault
from controller.planning.catalog_status import OverlayView
from controller.ports import preparing as documents
from controller.ports.sources import Version
from controller.reconcile.context import Context
from controller.reconcile.source_credentials import read_credentials

WENT_BACK_ACCEPTED_AFTER = 3
"""Equal reads of an older version after which it is believed."""
RETRY_MIN = timedelta(seconds=30)


@dataclass(slots=True)
class OverlaySight:
    """What this process remembers of one overlay beyond the ledger. Lost at restart, found again at a look."""

    looked_at: datetime | None = None
    refused: Fault | None = None
    failures: int = 0
    retry_at: datetime | None = None

    def due_at(self, overlay: Overlay, now: datetime) -> datetime:
        if self.retry_at is not None:
            return self.retry_at
        return now if self.looked_at is None else self.looked_at + overlay.interval

    def accept(self, now: datetime) -> None:
        self.looked_at, self.refused, self.failures, self.retry_at = now, None, 0, None

    def refuse(self, overlay: Overlay, fault: Fault, now: datetime) -> None:
        self.refused = fault
        self.failures += 1
        self.retry_at = fault.retry_at or now + backoff(self.failures, overlay.interval)


def backoff(failures: int, interval: timedelta) -> timedelta:
    """How long to wait after so many failures in a row."""
    doubled: timedelta = RETRY_MIN * 2 ** min(failures - 1, 8)
    return min(doubled, max(interval, RETRY_MIN))


def overlay_digest(entry: ItemsEntry, overlay: Overlay) -> str:
    """Everything that decides what the cells of an overlay mean. When it changes, its values are gathered anew."""
    wire = overlay.model_dump(mode="json", by_alias=True, exclude={"interval", "evidence"})
    return hashlib.sha256(json.dumps([wire, entry.currency], sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def as_source(entry: ItemsEntry, overlay: Overlay) -> ItemsEntry:
    """An overlay as whoever reads credentials sees it: an entry of its own."""
    name = f"{entry.name}].overlays[{overlay.name}"  # spec.items[products].overlays[stock].source…
    return ItemsEntry.model_construct(name=name, source=overlay.source, evidence=overlay.evidence)


def known_version(items: ItemsRecord, entry: ItemsEntry, overlay: Overlay) -> Version | None:
    """Which version was read last, under the declaration that is in force."""
    record = record_of(items, overlay.name)
    if record is None or record.configuration_digest != overlay_digest(entry, overlay):
        return None
    return Version(record.etag, record.last_modified)


def due_at(items: ItemsRecord, entry: ItemsEntry, overlay: Overlay, sight: OverlaySight, now: datetime) -> datetime:
    """When an overlay is to be looked at. One whose meaning changed alone, without the rows, is read at once."""
    record = record_of(items, overlay.name)
    changed = record is not None and record.configuration_digest != overlay_digest(entry, overlay)
    return now if changed and sight.retry_at is None else sight.due_at(overlay, now)


def locales_changed(items: ItemsRecord, entry: ItemsEntry) -> bool:
    """Tell whether the spec names other languages and countries than what was compared last."""
    known = items.refresh.locales if items.refresh is not None else ()
    named = [(each.name, each.locale.language, each.locale.country) for each in known]
    return named != [
        (each.name, each.override.language, each.override.country)
        for each in entry.overlays
        if each.override is not None
    ]


def record_of(items: ItemsRecord, name: str) -> OverlayRecord | None:
    known = items.refresh.overlays if items.refresh is not None else ()
    return next((each for each in known if each.name == name), None)


async def credentials_of(
    context: Context, namespace: str, entry: ItemsEntry, overlay: Overlay
) -> documents.SourceCredentials:
    return await read_credentials(context, namespace, as_source(entry, overlay))


def request_of(items: ItemsRecord, entry: ItemsEntry, overlay: Overlay, *, forced: bool) -> documents.OverlayRequest:
    repeat = next((each for each in items.overlays if each.name == overlay.name), None)
    believed = repeat is not None and repeat.count >= WENT_BACK_ACCEPTED_AFTER
    return documents.OverlayRequest(
        name=overlay.name,
        configuration_digest=overlay_digest(entry, overlay),
        accept_went_back=forced or believed,
    )


def with_results(items: ItemsRecord, entry: ItemsEntry, results: Iterable[documents.OverlayResult]) -> ItemsRecord:
    """Count equal reads of older versions."""
    known = {each.name: each for each in items.overlays}
    for result in results:
        before = known.pop(result.name, None)
        refused = result.refused
        if refused is None or refused.reason != "SourceWentBack" or refused.digest is None:
            continue
        same = before is not None and before.digest == refused.digest
        count = before.count + 1 if before is not None and same else 1
        known[result.name] = OverlayRepeat(name=result.name, digest=refused.digest, count=count)
    names = {each.name for each in entry.overlays}
    return items.model_copy(update={"overlays": tuple(known[name] for name in sorted(known.keys() & names))})


def views(entry: ItemsEntry, sights: dict[str, OverlaySight], items: ItemsRecord | None) -> tuple[OverlayView, ...]:
    """What status says of the overlays."""
    found = []
    for overlay in entry.overlays:
        sight = sights.get(overlay.name, OverlaySight())
        record = record_of(items, overlay.name) if items is not None else None
        looked_at = sight.looked_at or (record.read_at if record is not None else None)
        found.append(OverlayView(overlay.name, overlay.interval, record, sight.refused, sight.retry_at, looked_at))
    return tuple(found)
