"""Large files take the fast path, and come to the same as small ones."""

import gzip
from pathlib import Path
from random import Random
from typing import Any

import pytest

from hack.emulator import measure
from hack.emulator.effects import SCATTER_ROWS_MAX
from tests.contract.emulator.driver import Meta, feed_file, item

ROWS = SCATTER_ROWS_MAX + 3_000
MEMORY_BYTES_MAX = 3 * 2**30


def rows_of(rng: Random) -> tuple[list[dict[str, str]], dict[str, str]]:
    """A large file with everything in it, and the prices that must come of it."""
    rows: list[dict[str, str]] = []
    expected: dict[str, str] = {}
    for number in range(ROWS):
        rid = f"{number:07d}" if number % 100 else f"ä-{number}"
        price = f"{rng.randrange(1, 900)}.{rng.randrange(100):02d} EUR"
        values = {"title": f'Title "{number}"\nsecond line' if number % 7 == 0 else f"Title {number}", "sale_price": ""}
        if number % 50 == 1:
            rows.append(item(rid, price="cheap", **values))
            continue
        rows.append(item(rid, price=price, **values))
        if number % 1000 == 3:
            rows.append(item(rid, price="1.00 EUR", **values))
            continue
        expected[rid] = price
    return rows, expected


@pytest.fixture
def front() -> str:
    return "in_process"


async def prices(meta: Meta, catalog: str) -> dict[str, str]:
    world = meta.emulator.world
    found: dict[str, str] = {}
    after = 0
    while page := world.items.page(int(catalog), None, after=after, limit=5_000):
        found |= {one.rid: world.items.value(one.layout, one.row, "price") for one in page}
        after = page[-1].n
    return found


@pytest.mark.parametrize("packed", [False, True])
async def test_a_large_replace_upload_comes_to_what_its_rows_say(make: Any, packed: bool) -> None:
    meta: Meta = await make(switches={"omitted_fields_in_replace": "full"})
    catalog, feed = await meta.catalog_and_feed()
    other = await meta.feed(catalog, "Other")
    await meta.upload(other, [item("0000007")])
    rows, expected = rows_of(Random(1))
    rows[12]["previous_id"] = "\u0085"
    expected["0000007"] = "12.50 EUR"
    first = await meta.session(await meta.upload(feed, rows, packed=packed))
    assert await prices(meta, catalog) == expected
    invalid = sum(1 for row in rows if row["price"] == "cheap")
    doubled = 2 * (len(rows) - ROWS)
    assert first["num_detected_items"] == len(rows)
    assert first["num_invalid_items"] == invalid + doubled + 1
    assert first["num_persisted_items"] == len(rows) - invalid - doubled - 1

    kept = [row for row in rows if row["id"] in expected and row["id"] != "0000007"][: SCATTER_ROWS_MAX + 1]
    kept[5]["price"] = "7.77 EUR"
    second = await meta.session(await meta.upload(feed, kept, packed=packed))
    found = await prices(meta, catalog)
    assert found == {row["id"]: row["price"] for row in kept} | {"0000007": "12.50 EUR"}
    assert second["num_deleted_items"] == len(expected) - len(kept) - 1
    assert second["num_invalid_items"] == 0
    audit = await meta.audit()
    assert audit["overlaps"] == 0
    assert audit["counts"]["items_lost"] == second["num_deleted_items"]


async def test_a_large_update_upload_merges_every_row(make: Any) -> None:
    meta: Meta = await make()
    catalog, feed = await meta.catalog_and_feed()
    rows = [item(f"{n}", title=f"Title {n}") for n in range(ROWS)]
    await meta.upload(feed, rows)
    changes = [{"id": f"{n}", "price": f"{n}.50 EUR", "sale_price": ""} for n in range(1, ROWS)]
    done = await meta.session(await meta.upload(feed, changes, update_only=True))
    assert (done["num_persisted_items"], done["num_deleted_items"]) == (ROWS - 1, 0)
    found = await prices(meta, catalog)
    assert found["0"] == "12.50 EUR"
    assert all(found[f"{n}"] == f"{n}.50 EUR" for n in range(1, ROWS))


async def test_a_file_that_is_cut_off_far_inside_changes_nothing(make: Any) -> None:
    meta: Meta = await make()
    catalog, feed = await meta.catalog_and_feed()
    content = gzip.compress(feed_file([item(f"{n}") for n in range(ROWS)]))[:-20]
    done = await meta.session(await meta.upload(feed, content))
    assert (done["num_persisted_items"], done["num_detected_items"], done["error_count"]) == (0, 0, 1)
    assert await meta.truth(catalog) == {}
    assert (await meta.control("GET", "/stats"))["effects_pending"] == 0


@pytest.mark.soak
@pytest.mark.parametrize("durable", [False, True])
def test_a_million_rows_fit_into_three_gibibytes(tmp_path: Path, durable: bool) -> None:
    figures = measure.measure(1_000_000, tmp_path / "state" if durable else None, tmp_path)
    for one in figures:
        assert one.counters["num_persisted_items"] == 1_000_000
        assert one.peak_rss_bytes <= MEMORY_BYTES_MAX
