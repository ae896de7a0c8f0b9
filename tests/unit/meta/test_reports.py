"""Error reports: CSV as a stream."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.faults import Fault
from controller.meta import limits
from controller.meta.protocol import Request
from controller.meta.reports import read_problems
from controller.ports.meta import Problem

REQUEST = Request("download_error_report", "download an error report of catalog 1", "GET", "")
ROWS = (
    "Retailer ID,Error message,Severity,Field names,Affected capabilities,Blocks\r\n"
    'A-1,"A required field is missing: price.",FATAL,price,ads,true\r\n'
    '"B ""2""","two\nlines, one message",WARNING,"image_url","ads, shops",false\r\n'
    "\r\n"
    'C-3,Grüße,WARNING,"brand, gtin",ads,false'
)
PROBLEMS = [
    Problem("fatal", "A required field is missing: price.", "A-1", "price"),
    Problem("warning", "two lines, one message", 'B "2"', "image_link"),
    Problem("warning", "Grüße", "C-3", None),
]


async def parse(content: bytes, step: int = 10_000) -> list[Problem]:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), step):
            yield content[start : start + step]

    return [problem async for problem in read_problems(pieces(), REQUEST)]


@given(st.integers(min_value=1, max_value=60))
async def test_rows_however_they_are_cut(step: int) -> None:
    assert await parse(("\ufeff" + ROWS).encode(), step) == PROBLEMS


async def test_without_headings_the_documented_order_counts() -> None:
    assert await parse(ROWS.split("\r\n", 1)[1].encode()) == PROBLEMS


async def test_headings_in_another_order() -> None:
    text = "severity,property,id,description\nWARNING,url,A,odd\n"
    assert await parse(text.encode()) == [Problem("warning", "odd", "A", "link")]


async def test_empty_reports() -> None:
    assert await parse(b"") == []
    assert await parse(ROWS.split("\r\n", 1)[0].encode()) == []


async def test_endless_row_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Fault, match="ContractViolation"):
        await parse(b'"' + b"x" * (limits.REPORT_ROW_CHARACTERS_MAX + 1))


async def test_bytes_that_are_no_text_do_not_stop_the_report() -> None:
    assert [problem.item_id for problem in await parse(b"A\xff,bad,FATAL,price\nB,bad,FATAL,price\n")] == [
        "A\ufffd",
        "B",
    ]
