"""Usage headers."""

import json

import pytest

from controller.meta.limits import THROTTLED_MINUTES_MAX, read_throttled_minutes, read_usage
from controller.ports.meta import Bucket, Usage


def header(**objects: list[dict[str, object]]) -> dict[str, str]:
    return {"x-business-use-case-usage": json.dumps({key.lstrip("_"): value for key, value in objects.items()})}


def entry(kind: str, calls: float, minutes: float = 0, **more: float) -> dict[str, object]:
    return {"type": kind, "call_count": calls, "estimated_time_to_regain_access": minutes, **more}


def test_entry_of_the_bucket_under_the_id() -> None:
    headers = header(_1=[entry("catalog_management", 20), entry("catalog_batch", 60, 5, total_time=71)])
    assert read_usage(headers, Bucket.BATCH, "1") == Usage(71, 5)
    assert read_usage(headers, Bucket.MANAGEMENT, "1") == Usage(20, 0)


def test_other_objects_count_only_where_the_catalog_is_not_listed() -> None:
    headers = header(_1=[entry("catalog_batch", 10)], _2=[entry("catalog_batch", 90, 3)])
    assert read_usage(headers, Bucket.BATCH, "1") == Usage(10, 0)
    assert read_usage(headers, Bucket.BATCH, "3") == Usage(90, 3)


def test_unknown_types_never_count_as_usage() -> None:
    headers = header(_1=[entry("ads_management", 100, 60)])
    assert read_usage(headers, Bucket.BATCH, "1") is None


def test_unknown_types_tell_the_wait_of_a_throttling_error() -> None:
    headers = header(_1=[entry("something_new", 100, 60)])
    assert read_throttled_minutes(headers, Bucket.BATCH, "1") == 60
    assert read_throttled_minutes({}, Bucket.BATCH, "1") == 1
    assert read_throttled_minutes(header(_1=[entry("catalog_batch", 100, 10**5)]), Bucket.BATCH, "1") == (
        THROTTLED_MINUTES_MAX
    )


def test_header_of_the_app_counts_only_without_a_catalog() -> None:
    headers = {"x-app-usage": '{"call_count": 28, "total_time": 25, "total_cputime": 31}'}
    assert read_usage(headers, Bucket.MANAGEMENT, None) == Usage(31, 0)
    assert read_usage(headers, Bucket.MANAGEMENT, "1") is None


def test_decimals_are_rounded_up() -> None:
    assert read_usage(header(_1=[entry("catalog_batch", 9.67, 1.2)]), Bucket.BATCH, "1") == Usage(10, 2)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "7",
        "{",
        "{" * 10_000,
        '{"1": 5}',
        '{"1": [5]}',
        '{"1": [{"type": 7}]}',
        '{"1": {"type": "catalog_batch"}}',
    ],
)
def test_what_has_another_shape_is_ignored(text: str) -> None:
    assert read_usage({"x-business-use-case-usage": text, "x-app-usage": text}, Bucket.BATCH, "1") is None
    assert read_throttled_minutes({"x-business-use-case-usage": text}, Bucket.BATCH, "1") == 1


def test_counts_that_are_no_counts_are_zero() -> None:
    headers = header(
        _1=[entry("catalog_batch", -4), {"type": "catalog_batch", "call_count": "many", "total_time": True}]
    )
    assert read_usage(headers, Bucket.BATCH, "1") == Usage(0, 0)
