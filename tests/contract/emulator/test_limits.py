"""Quotas and the headers that tell of them."""

import json
from typing import Any

import pytest

from tests.contract.emulator.claims import claims
from tests.contract.emulator.driver import Answer, Meta, update


def usage(answer: Answer, catalog: str) -> dict[str, Any]:
    rows = json.loads(answer.headers["x-business-use-case-usage"])[catalog]
    assert len(rows) == 1
    return dict(rows[0])


async def send(meta: Meta, catalog: str) -> Answer:
    return await meta.batch(catalog, [update("A", price="1.00 EUR")])


@claims("limits.count", "limits.header", "switch.quota_profile")
@pytest.mark.parametrize(
    ("profile", "most", "window"),
    [("100_per_hour_and_8_per_minute", 8, 60), ("8_per_minute", 8, 60), ("200_per_hour", 200, 3600)],
)
async def test_the_batch_bucket(make: Any, profile: str, most: int, window: int) -> None:
    meta: Meta = await make(switches={"quota_profile": profile})
    catalog = await meta.catalog()
    for _ in range(most):
        assert (await send(meta, catalog)).status == 200
    refused = await send(meta, catalog)
    assert (refused.status, refused.code) == (400, 80014)
    told = usage(refused, catalog)
    assert told["type"] == "catalog_batch"
    assert told["call_count"] >= 100
    assert 1 <= told["estimated_time_to_regain_access"] <= window // 60 + 1
    assert (await meta.get(f"/{catalog}")).status == 200, "other calls have a bucket of their own"
    meta.wait(window + 1)
    assert (await send(meta, catalog)).status == 200


@claims("limits.count")
async def test_the_hourly_limit_holds_below_the_minute_limit(meta: Meta) -> None:
    catalog = await meta.catalog()
    for _ in range(100):
        assert (await send(meta, catalog)).status == 200
        meta.wait(10)
    refused = await send(meta, catalog)
    assert refused.code == 80014
    assert usage(refused, catalog)["estimated_time_to_regain_access"] > 30


@claims("limits.count")
async def test_calls_while_throttled_prolong_the_block(meta: Meta) -> None:
    catalog = await meta.catalog()
    for _ in range(8):
        await send(meta, catalog)
    told = [0]
    for _ in range(5):
        meta.wait(15)
        refused = await send(meta, catalog)
        assert refused.code == 80014
        told.append(usage(refused, catalog)["estimated_time_to_regain_access"])
    assert told[-1] > told[1], "every call makes it longer"
    meta.wait(told[-1] * 60 + 1)
    assert (await send(meta, catalog)).status == 200


@claims("limits.count")
async def test_buckets_are_per_catalog(meta: Meta) -> None:
    one, two = await meta.catalog("One"), await meta.catalog("Two")
    answers = [await send(meta, one) for _ in range(9)]
    assert answers[-1].code == 80014
    assert (await send(meta, two)).status == 200


@claims("limits.count", "switch.management_calls_per_hour")
async def test_status_reads_count_as_management(make: Any) -> None:
    meta: Meta = await make(switches={"management_calls_per_hour": 5})
    catalog = await meta.catalog()
    handle = (await send(meta, catalog))["handles"][0]
    for _ in range(5):
        assert (await meta.get(f"/{catalog}/check_batch_request_status", handle=handle)).status == 200
    refused = await meta.get(f"/{catalog}/check_batch_request_status", handle=handle)
    assert refused.code == 80009
    assert usage(refused, catalog)["type"] == "catalog_management"


@claims("limits.count", "limits.header", "switch.platform_calls_per_hour")
async def test_calls_without_a_catalog_count_per_app(make: Any) -> None:
    meta: Meta = await make(switches={"platform_calls_per_hour": 3})
    for _ in range(3):
        assert (await meta.get("/me")).status == 200
    refused = await meta.get("/me")
    assert refused.code == 4
    assert json.loads(refused.headers["x-app-usage"])["call_count"] >= 100


@claims("switch.usage_header_after_calls", "limits.header")
async def test_the_header_is_absent_at_first(make: Any) -> None:
    meta: Meta = await make(switches={"usage_header_after_calls": 3})
    catalog = await meta.catalog()
    present = ["x-business-use-case-usage" in (await meta.get(f"/{catalog}")).headers for _ in range(5)]
    assert present == [False, False, False, True, True]


@claims("switch.throttle_penalty_seconds", "limits.count")
async def test_a_forced_throttle_lasts_the_minutes_it_tells(make: Any) -> None:
    meta: Meta = await make(switches={"throttle_penalty_seconds": 60})
    catalog = await meta.catalog()
    await meta.arm("throttle", path="items_batch", minutes=5)
    first = await send(meta, catalog)
    assert first.code == 80014
    told = usage(first, catalog)["estimated_time_to_regain_access"]
    assert told == 5
    meta.wait(60)
    second = await send(meta, catalog)
    assert usage(second, catalog)["estimated_time_to_regain_access"] >= told, "a call meanwhile prolongs it"
    meta.wait(8 * 60)
    assert (await send(meta, catalog)).status == 200


@pytest.mark.parametrize("code", [80014, 80009, 4, 17, 613])
async def test_every_kind_of_throttle_can_be_forced(meta: Meta, code: int) -> None:
    catalog = await meta.catalog()
    await meta.arm("throttle", path=f"^/v26.0/{catalog}$", code=code, minutes=2)
    assert (await meta.get(f"/{catalog}")).code == code
