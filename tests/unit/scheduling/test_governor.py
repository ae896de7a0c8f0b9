"""Right before the first byte: lease, throttling, and what was reserved."""

import asyncio
from datetime import datetime, timedelta

import pytest

from controller.faults import Disposition, Fault
from controller.ports.meta import Bucket, Call, Usage
from controller.scheduling.governor import UNKNOWN_CATALOG_CALLS_PER_HOUR, LedgerGovernor
from tests.virtual_time import SimulatedClock

SCOPE = ("app", "1", Bucket.MANAGEMENT)


class Lease:
    valid = True


def call(*, write: bool = False, bucket: Bucket = Bucket.MANAGEMENT, catalog: str | None = "1") -> Call:
    return Call("read_catalog", bucket, "app", catalog, write)


def governor(lease: Lease | None = None) -> LedgerGovernor:
    held = lease or Lease()
    return LedgerGovernor(SimulatedClock(asyncio.get_running_loop()), lambda: held.valid)


def refusal(of: LedgerGovernor, what: Call) -> Fault:
    with pytest.raises(Fault) as raised:
        of.admit(what)
    return raised.value


async def test_every_call_uses_up_what_the_ledger_reserved() -> None:
    calls = governor()
    assert refusal(calls, call()).reason == "QuotaExhausted"
    calls.grant(SCOPE, 2)
    calls.admit(call())
    calls.admit(call())
    fault = refusal(calls, call())
    assert (fault.reason, fault.disposition) == ("QuotaExhausted", Disposition.WAIT)
    assert refusal(calls, call(bucket=Bucket.BATCH)).reason == "QuotaExhausted", "another bucket is another quota"


async def test_without_the_lease_nothing_is_written() -> None:
    lease = Lease()
    calls = governor(lease)
    calls.grant(SCOPE, 5)
    lease.valid = False
    assert refusal(calls, call(write=True)).reason == "LeaseLost"
    calls.admit(call())
    assert calls.remaining(SCOPE) == 4, "a refused call uses up nothing"


async def test_throttling_closes_the_bucket_for_as_long_as_told_and_is_news() -> None:
    calls = governor()
    calls.grant(SCOPE, 5)
    calls.observe(call(), None, 7)
    fault = refusal(calls, call())
    assert fault.reason == "RateLimited"
    assert fault.retry_at is not None
    (news,) = calls.take_news()
    assert news[0] == SCOPE
    assert calls.take_news() == ()
    await asyncio.sleep(7 * 60)
    assert refusal(calls, call()).reason == "RateLimited"
    await asyncio.sleep(2)
    calls.admit(call())


async def test_throttling_without_minutes_waits_five() -> None:
    calls = governor()
    calls.grant(SCOPE, 5)
    calls.observe(call(), None, 0)
    await asyncio.sleep(299)
    assert refusal(calls, call()).reason == "RateLimited"
    await asyncio.sleep(3)
    calls.admit(call())


@pytest.mark.parametrize(
    ("usage", "seconds"),
    [(Usage(50, 0), 0), (Usage(95, 0), 60), (Usage(10, 3), 181)],
    ids=["half", "nearly full", "told to regain"],
)
async def test_the_usage_header_is_believed(usage: Usage, seconds: int) -> None:
    calls = governor()
    calls.grant(SCOPE, 5)
    calls.observe(call(), usage, None)
    if seconds:
        assert refusal(calls, call()).reason == "RateLimited"
        await asyncio.sleep(seconds + 1)
    calls.admit(call())


async def test_a_block_from_the_ledger_is_never_shortened() -> None:
    calls = governor()
    calls.grant(SCOPE, 5)
    now = SimulatedClock(asyncio.get_running_loop()).now()
    calls.block(SCOPE, (now + timedelta(minutes=10)).timestamp())
    calls.block(SCOPE, (now + timedelta(minutes=1)).timestamp())
    until = calls.blocked_until(SCOPE)
    assert until is not None
    assert datetime.fromtimestamp(until, now.tzinfo) == now + timedelta(minutes=10)


async def test_calls_that_belong_to_no_catalog_are_counted_for_the_app() -> None:
    calls = governor()
    for _ in range(UNKNOWN_CATALOG_CALLS_PER_HOUR):
        calls.admit(call(catalog=None))
    fault = refusal(calls, call(catalog=None))
    assert fault.reason == "QuotaExhausted"
    await asyncio.sleep(3601)
    calls.admit(call(catalog=None))
