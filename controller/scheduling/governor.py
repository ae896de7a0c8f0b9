"""What this process may send right now: the in-memory half of quotas, throttling and the lease.

The ledger holds what must survive; this object holds what was already reserved there and not yet used, what Meta's
headers said since, and whether the lease is still ours. It decides at the last possible moment: right before the first
byte of a call.
"""

import logging
from collections.abc import Callable
from datetime import timedelta

from controller.clock import Clock
from controller.faults import Disposition, Fault
from controller.ports.meta import Bucket, Call, Usage

LOG = logging.getLogger(__name__)

UNKNOWN_CATALOG_CALLS_PER_HOUR = 200
"""Meta: rate limits, platform layer, for one user. Calls before a catalog id is known are counted per app."""
THROTTLE_FALLBACK = timedelta(minutes=5)
"""Meta told no minutes."""
NEARLY_FULL_PERCENT = 95
"""A usage header this high closes the bucket for a minute: at 100 Meta starts to refuse."""

Scope = tuple[str, str, Bucket]
"""(app id, catalog id, bucket)"""

NO_CATALOG = ""
"""Catalog id of calls that belong to no catalog: they count for the app."""
NO_APP = ""
"""App id while it is not known yet."""


class LedgerGovernor:
    """Implements controller.ports.meta.Governor."""

    def __init__(self, clock: Clock, lease_valid: Callable[[], bool]) -> None:
        self._clock = clock
        self._lease_valid = lease_valid
        self._reserved: dict[Scope, int] = {}
        self._blocked: dict[Scope, float] = {}
        self._before_catalog: dict[str, list[float]] = {}
        self._news: set[Scope] = set()
        self.on_answer: Callable[[Call, bool], None] = lambda _call, _throttled: None
        """Told of every answer and whether it was throttled: for metrics."""

    def grant(self, scope: Scope, calls: int) -> None:
        """Calls that the ledger has reserved for this process."""
        self._reserved[scope] = self._reserved.get(scope, 0) + calls

    def remaining(self, scope: Scope) -> int:
        return self._reserved.get(scope, 0)

    def block(self, scope: Scope, until_unix: float) -> None:
        self._blocked[scope] = max(self._blocked.get(scope, 0.0), until_unix)

    def blocked_until(self, scope: Scope) -> float | None:
        """Unix time until which the bucket is closed, or None."""
        until = self._blocked.get(scope)
        return until if until is not None and until > self._clock.now().timestamp() else None

    def take_news(self) -> tuple[tuple[Scope, float], ...]:
        """Blocks that Meta told since the last call of this method; the caller writes them to the ledgers."""
        news = tuple((scope, self._blocked[scope]) for scope in sorted(self._news))
        self._news.clear()
        return news

    def admit(self, call: Call) -> None:
        if call.write and not self._lease_valid():
            raise Fault("LeaseLost", Disposition.RETRY, "this process no longer holds the lease; nothing was sent")
        now = self._clock.now()
        scope = _scope(call)
        until = self.blocked_until(scope)
        if until is not None:
            wait = timedelta(seconds=until - now.timestamp())
            raise Fault("RateLimited", Disposition.WAIT, f"Meta throttles {call.bucket}", retry_at=now + wait)
        if scope[1] == NO_CATALOG:
            self._admit_before_catalog(scope[0], now.timestamp())
            return
        left = self._reserved.get(scope, 0)
        if left <= 0:
            again = now + timedelta(minutes=1)
            message = f"the quota for {call.bucket} of catalog {call.catalog_id} is used up"
            raise Fault("QuotaExhausted", Disposition.WAIT, message, retry_at=again)
        self._reserved[scope] = left - 1

    def observe(self, call: Call, usage: Usage | None, throttled_minutes: int | None) -> None:
        self.on_answer(call, throttled_minutes is not None)
        now = self._clock.now().timestamp()
        scope = _scope(call)
        minutes = throttled_minutes
        if minutes is None and usage is not None and usage.regain_minutes > 0:
            minutes = usage.regain_minutes
        if minutes is not None:
            seconds = minutes * 60.0 if minutes > 0 else THROTTLE_FALLBACK.total_seconds()
            # One second more: Meta's clock and ours need not agree on where a minute ends.
            self._close(scope, now + seconds + 1.0)
            LOG.warning("throttled", extra={"bucket": call.bucket, "catalog": call.catalog_id, "minutes": minutes})
        elif usage is not None and usage.percent >= NEARLY_FULL_PERCENT:
            self._close(scope, now + 60.0)

    def _close(self, scope: Scope, until: float) -> None:
        self.block(scope, until)
        self._news.add(scope)

    def _admit_before_catalog(self, app: str, now: float) -> None:
        recent = [at for at in self._before_catalog.get(app, []) if at > now - 3600]
        if len(recent) >= UNKNOWN_CATALOG_CALLS_PER_HOUR:
            again = self._clock.now() + timedelta(seconds=recent[0] + 3600 - now)
            raise Fault("QuotaExhausted", Disposition.WAIT, "too many calls of this app in an hour", retry_at=again)
        self._before_catalog[app] = [*recent, now]


def _scope(call: Call) -> Scope:
    return (call.app_id or NO_APP, call.catalog_id or NO_CATALOG, call.bucket)
