"""Meta's published limits, and what its answers say about how much of a quota is used.

Pure. The names of the quotas in the header are not published for catalogs, so an unknown type never counts as usage;
only an answer that *is* a throttling error falls back to whatever waiting time the header tells.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from controller.ports.meta import Bucket, Usage

BATCH_BYTES_MAX = 28_000_000
"""Meta: items_batch reference, "28 MB" for the whole payload; read as the smaller of its two meanings."""
FEED_FILE_BYTES_MAX = 4_000_000_000
"""Meta: scheduled data feed uploads (Business Help), 4 GB per file; the smaller meaning again."""

PAGE_ROWS = 100
"""Rows asked for per page of an ordinary edge. Meta promises no maximum; a smaller page than asked for is normal."""
ITEM_PAGE_ROWS = 250
"""Rows asked for per page of products: about 1 kB each, far below where Meta asks to reduce the amount of data."""
PAGES_MAX = 2_000
"""Pages read of one list before it counts as endless."""
FILTER_CHARACTERS_MAX = 6_000
"""Length of the encoded filter in the address of a read. Servers commonly refuse request lines above 8 KiB."""
FILTER_IDS_MAX = ITEM_PAGE_ROWS
"""Ids per filtered read: the answer then fits one page."""
RESPONSE_BYTES_MAX = 32 * 1024 * 1024
"""Largest answer that is read into memory; a page of 250 items with the longest descriptions is below 4 MiB."""
REPORT_BYTES_MAX = 2 * 1024 * 1024 * 1024
"""Largest error report that is streamed; about ten million rows."""
REPORT_ROW_CHARACTERS_MAX = 1024 * 1024
"""Longest row of an error report."""
REPORT_SECONDS_MAX = 1_800.0
"""Total time for downloading an error report."""

USAGE_HEADER = "x-business-use-case-usage"
APP_USAGE_HEADER = "x-app-usage"
USAGE_KEYS_MAX = 32
"""Meta: rate limits reference, objects per header."""

THROTTLED_MINUTES_DEFAULT = 1
"""Used when Meta throttles without saying for how long; whoever counts repetitions lengthens it."""
THROTTLED_MINUTES_MAX = 24 * 60
"""Longest wait that is believed; Meta's windows are an hour, so more is a mistake in the header."""

_BUCKET_TYPES = {"catalogbatch": Bucket.BATCH, "catalogmanagement": Bucket.MANAGEMENT}


@dataclass(frozen=True, slots=True)
class _Entry:
    object_id: str
    type: str
    usage: Usage


def read_usage(headers: Mapping[str, str], bucket: Bucket, catalog_id: str | None) -> Usage | None:
    """Return the usage of the quota that a call belongs to, or None where the headers do not tell.

    Where both layers could apply the business use case wins (Meta: rate limits), so the header of the app counts only
    for calls that concern no catalog.
    """
    entries = [entry for entry in _entries(headers) if _bucket_of(entry.type) is bucket]
    own = [entry for entry in entries if entry.object_id == catalog_id] or entries
    if own:
        return _largest(entry.usage for entry in own)
    return _app_usage(headers) if catalog_id is None else None


def read_throttled_minutes(headers: Mapping[str, str], bucket: Bucket, catalog_id: str | None) -> int:
    """Return how long a throttling error asks to stay away; the types of all entries count if ours is not there."""
    usage = read_usage(headers, bucket, catalog_id)
    if usage is None or usage.regain_minutes == 0:
        usage = _largest(entry.usage for entry in _entries(headers))
    told = usage.regain_minutes if usage is not None else 0
    return min(max(told, THROTTLED_MINUTES_DEFAULT), THROTTLED_MINUTES_MAX)


def _bucket_of(type_name: str) -> Bucket | None:
    return _BUCKET_TYPES.get(type_name.replace("_", "").replace(" ", "").casefold())


def _largest(usages: Iterator[Usage]) -> Usage | None:
    found = list(usages)
    if not found:
        return None
    return Usage(
        percent=max(usage.percent for usage in found),
        regain_minutes=max(usage.regain_minutes for usage in found),
    )


def _entries(headers: Mapping[str, str]) -> Iterator[_Entry]:
    """Yield the entries of the header, a list under each id; what has another shape is ignored."""
    document = _object(headers.get(USAGE_HEADER))
    for object_id, listed in list(document.items())[:USAGE_KEYS_MAX]:
        if not isinstance(listed, list):
            continue
        for entry in listed:
            if isinstance(entry, dict) and isinstance(entry.get("type"), str):
                yield _Entry(object_id, entry["type"], _usage(entry, "total_cputime", "total_time"))


def _app_usage(headers: Mapping[str, str]) -> Usage | None:
    document = _object(headers.get(APP_USAGE_HEADER))
    return _usage(document, "total_cputime", "total_time") if document else None


def _usage(entry: Mapping[str, object], *more: str) -> Usage:
    percent = max(_count(entry.get(key)) for key in ("call_count", *more))
    return Usage(percent=percent, regain_minutes=_count(entry.get("estimated_time_to_regain_access")))


def _count(value: object) -> int:
    """Read a whole number that is not negative; percentages have been seen with decimals, so they are rounded up."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    if not 0 <= value < 1_000_000:
        return 0
    return -int(-value // 1)


def _object(text: str | None) -> dict[str, object]:
    if text is None:
        return {}
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
