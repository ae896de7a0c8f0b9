"""Quotas, and the headers that tell of them.

Catalog calls count per app and catalog in two buckets; calls that belong to no catalog count per app. The published
numbers for the batch bucket contradict each other, so the profile is a switch. Calls while throttled are counted too,
and prolong the block.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from hack.emulator import jsons, messages
from hack.emulator.documented import documented
from hack.emulator.messages import GraphError
from hack.emulator.routing import Bucket
from hack.emulator.switches import Switches

HOUR = 3_600.0
MINUTE = 60.0
FULL = 100  # per cent
PROFILES: dict[str, tuple[tuple[float, int], ...]] = {
    "100_per_hour_and_8_per_minute": ((HOUR, 100), (MINUTE, 8)),
    "200_per_hour": ((HOUR, 200),),
    "8_per_minute": ((MINUTE, 8),),
}
Key = tuple[str, int, str]  # app, catalog, bucket
CODES = {Bucket.BATCH: 80014, Bucket.MANAGEMENT: 80009, Bucket.PLATFORM: 4}
FORCED = {
    80014: messages.batch_limit,
    80009: messages.management_limit,
    4: messages.app_limit,
    17: messages.user_limit,
    613: messages.custom_limit,
}


def limits(bucket: str, switches: Switches) -> tuple[tuple[float, int], ...]:
    """(window in seconds, calls) pairs of a bucket."""
    if bucket == Bucket.BATCH:
        return PROFILES[switches.quota_profile]
    if bucket == Bucket.MANAGEMENT:
        return ((HOUR, int(switches.management_calls_per_hour)),)
    return ((HOUR, int(switches.platform_calls_per_hour)),)


@dataclass(slots=True)
class Block:
    """Calls are refused until then; those that come after `since` prolong it."""

    until: float
    code: int
    since: float


@dataclass(slots=True)
class Quotas:
    switches: Switches
    calls: dict[Key, "deque[float]"] = field(default_factory=dict)
    total: dict[Key, int] = field(default_factory=dict)
    blocks: dict[Key, Block] = field(default_factory=dict)

    def restore(self, seen: Iterable[tuple[Key, float]], blocks: jsons.Json) -> None:
        for key, at in seen:
            self.calls.setdefault(key, deque()).append(at)
            self.total[key] = self.total.get(key, 0) + 1
        for one in jsons.as_list(blocks):
            block = jsons.as_object(one)
            key = (
                jsons.as_text(block.get("app")),
                jsons.as_integer(block.get("catalog")),
                jsons.as_text(block.get("bucket")),
            )
            self.blocks[key] = Block(
                until=jsons.as_number(block.get("until")),
                code=jsons.as_integer(block.get("code")),
                since=jsons.as_number(block.get("since")),
            )

    def saved(self) -> jsons.Json:
        return [
            {
                "app": app,
                "catalog": catalog,
                "bucket": bucket,
                "until": block.until,
                "code": block.code,
                "since": block.since,
            }
            for (app, catalog, bucket), block in self.blocks.items()
        ]

    def block(self, key: Key, *, now: float, until: float, code: int) -> None:
        self.blocks[key] = Block(until=until, code=code, since=now)

    @documented(
        "limits.count",
        page="Rate Limits",
        section="Business Use Case Rate Limits",
        says=(
            "batch calls beyond the bucket's quota are error 80014, other catalog calls 80009, calls without a catalog"
            " 4; calls while throttled prolong the block"
        ),
    )
    def count(self, key: Key, now: float) -> tuple[GraphError, float] | None:
        """Counts a call; the error it gets and the minutes it is told, where it is over the limit."""
        seen = self.calls.setdefault(key, deque())
        while seen and seen[0] <= now - HOUR:
            seen.popleft()
        block = self.blocks.get(key)
        if block is not None and block.until <= now:
            del self.blocks[key]
            block = None
        regain = self._regain(key, now)
        seen.append(now)
        self.total[key] = self.total.get(key, 0) + 1
        if block is None and regain > 0:
            self.block(key, now=now, until=now + regain, code=CODES[Bucket(key[2])])
        elif block is not None and block.since < now:
            block.until += self.switches.throttle_penalty_seconds
        block = self.blocks.get(key)
        return (FORCED[block.code](), self.minutes(key, now)) if block is not None else None

    def _regain(self, key: Key, now: float) -> float:
        """Seconds until every window has room for one more call."""
        seen = self.calls.get(key, ())
        wait = 0.0
        for window, allowed in limits(key[2], self.switches):
            most = max(1, allowed)
            if len(seen) >= most:  # else no window can be full
                inside = [at for at in seen if at > now - window]
                wait = max(wait, inside[-most] + window - now) if len(inside) >= most else wait
        return wait

    def minutes(self, key: Key, now: float) -> float:
        block = self.blocks.get(key)
        wait = max(self._regain(key, now), block.until - now if block is not None else 0.0)
        return float(math.ceil(wait / MINUTE))

    @documented(
        "limits.header",
        page="Rate Limits",
        section="Headers",
        says=(
            "X-Business-Use-Case-Usage: a list under the object's id with whole percentages and the minutes until "
            "access is regained; absent at first"
        ),
    )
    def headers(self, key: Key, now: float) -> dict[str, str]:
        app, catalog, bucket = key
        blocked = key in self.blocks
        if not blocked and self.total.get(key, 0) <= self.switches.usage_header_after_calls:
            return {}
        share = max(self._share(key, now), FULL if blocked else 0)
        if bucket == Bucket.PLATFORM:
            usage: jsons.Object = {"call_count": share, "total_time": share // 2, "total_cputime": share // 2}
            return {"X-App-Usage": jsons.dump_text(usage)}
        row: jsons.Object = {
            "type": bucket,
            "call_count": share,
            "total_cputime": share // 4,
            "total_time": share // 4,
            "estimated_time_to_regain_access": int(self.minutes(key, now)) if blocked or share >= FULL else 0,
        }
        assert app, "catalog buckets belong to an app"
        return {"X-Business-Use-Case-Usage": jsons.dump_text({str(catalog): [row]})}

    def _share(self, key: Key, now: float) -> int:
        seen = self.calls.get(key, ())
        return max(
            (
                FULL * (len(seen) if window >= HOUR else sum(1 for at in seen if at > now - window)) // max(1, most)
                for window, most in limits(key[2], self.switches)
            ),
            default=0,
        )
