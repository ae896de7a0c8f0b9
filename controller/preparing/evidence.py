"""What a read of a source must show before it counts: enough rows, and nothing older than what was read before."""

from email.utils import parsedate_to_datetime

from controller.faults import Disposition, Fault
from controller.ports.preparing import RefreshRequest
from controller.ports.sources import Version
from controller.preparing.orphans import HELD

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


def refuse_older(request: RefreshRequest, digest: str, version: Version) -> None:
    """Refuse bytes that were superseded before, or that are older than those of the last read."""
    previous = request.previous
    if previous is None or request.accept_went_back or digest == previous.digest:
        return
    if request.items.source.config_map is not None:
        return  # read from the API server itself, which never shows an older one: somebody put it back
    if digest in previous.superseded_digests or is_later(previous.last_modified, version.last_modified):
        raise Fault(
            "SourceWentBack",
            Disposition.RETRY,
            "the source shows an older version than before; it is taken after three equal reads, or ask for a sync",
        )


def is_later(one: str | None, other: str | None) -> bool:
    """Compare two Last-Modified headers; one that is no date proves nothing."""
    if one is None or other is None:
        return False
    try:
        return parsedate_to_datetime(one) > parsedate_to_datetime(other)
    except (ValueError, TypeError):
        return False


def must_be_enough(request: RefreshRequest, rows: int, readable: int) -> None:
    """Refuse a read with fewer rows than were asked for."""
    evidence = request.items.evidence
    if readable == 0:
        raise Fault(
            "SourceMalformed", Disposition.RETRY, "no row of the source can be read; check format and delimiter"
        )
    if rows < evidence.min_rows:
        message = f"the source has {rows} rows, evidence.minRows asks for {evidence.min_rows}"
        raise Fault("SourceTooSmall", Disposition.RETRY, message)
    before = request.previous.rows if request.previous else 0
    limit = evidence.max_shrink_percent
    if limit is not None and (before - rows) * 100 > limit * before:
        message = f"the source has {rows} rows after {before}; evidence.maxShrinkPercent allows {limit} % less"
        raise Fault("SourceTooSmall", Disposition.RETRY, message)
    if rows > request.limits.rows_max:
        raise Fault("SourceMalformed", Disposition.RETRY, f"the source has more than {request.limits.rows_max} rows")
