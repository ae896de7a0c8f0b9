"""Bodies of batches: full while rows wait, never over a limit, one minimal request per product."""

import json

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from controller.ports.preparing import Limits
from controller.products.encode import BATCH_HEAD, BATCH_TAIL, Body, batch_bodies
from controller.products.fields import VOLATILE
from controller.products.tables import SENT, bit, conform

FILLED_MIN = 0.95
LIMITS = Limits()


def sent(rows: list[dict[str, str | None]]) -> pl.DataFrame:
    """Rows of a batch that say the fields they name."""
    masks = [sum(bit(name) for name in row if name != "id") for row in rows]
    frame = pl.DataFrame(
        {name: [row.get(name) for row in rows] for name in ("id", *VOLATILE)},
        schema_overrides=dict.fromkeys(VOLATILE, pl.String),
    )
    return conform(frame.with_columns(_volatile=pl.Series(masks, dtype=pl.UInt8)), SENT)


def filled(body: Body, rows_max: int, bytes_max: int) -> float:
    return max((body.end - body.start) / rows_max, len(body.content) / bytes_max)


def requests(bodies: list[Body]) -> list[dict[str, object]]:
    return [each for body in bodies for each in json.loads(body.content)["requests"]]


def test_rows_near_the_byte_limit_fill_bodies_to_it() -> None:
    """As wide as a value may be: some 6,000 bytes a row, of which fewer than 5,000 fit."""
    long = "2026-01-01T00:00+00:00/2026-12-31T00:00+00:00" * 130
    rows: list[dict[str, str | None]] = [
        {"id": f"{number:06}", "sale_price_effective_date": long[: 5_500 + number % 400]} for number in range(12_000)
    ]
    bodies, more = batch_bodies(
        sent(rows), rows_max=LIMITS.batch_rows_max, bytes_max=LIMITS.batch_bytes_max, bodies_max=99
    )
    assert not more
    assert len(bodies) == 3
    assert all(len(body.content) <= LIMITS.batch_bytes_max for body in bodies)
    assert all(len(body.content) >= FILLED_MIN * LIMITS.batch_bytes_max for body in bodies[:-1])
    assert all(body.end - body.start < LIMITS.batch_rows_max for body in bodies)
    assert [each["data"]["id"] for each in requests(bodies)] == [row["id"] for row in rows]  # type: ignore[index]


def test_rows_of_usual_width_fill_bodies_by_number() -> None:
    rows: list[dict[str, str | None]] = [{"id": f"{number:06}", "price": "9.99 EUR"} for number in range(12_345)]
    bodies, _ = batch_bodies(
        sent(rows), rows_max=LIMITS.batch_rows_max, bytes_max=LIMITS.batch_bytes_max, bodies_max=99
    )
    assert [body.end - body.start for body in bodies] == [5_000, 5_000, 2_345]


def test_a_request_has_only_what_changed_and_says_clearing() -> None:
    bodies, _ = batch_bodies(
        sent(
            [
                {"id": "a", "sale_price": None, "sale_price_effective_date": None},
                {"id": "b", "quantity_to_sell_on_facebook": "7"},
                {"id": "c", "quantity_to_sell_on_facebook": None, "price": "1.00 KWD"},
            ]
        ),
        rows_max=9,
        bytes_max=9_999,
        bodies_max=9,
    )
    assert requests(bodies) == [
        {"method": "UPDATE", "data": {"id": "a", "sale_price": "", "sale_price_effective_date": ""}},
        {"method": "UPDATE", "data": {"id": "b", "quantity_to_sell_on_facebook": 7}},
        {"method": "UPDATE", "data": {"id": "c", "price": "1.00 KWD", "quantity_to_sell_on_facebook": ""}},
    ]


ROWS = st.lists(st.integers(1, 60), min_size=1, max_size=80)


@given(ROWS, st.integers(1, 20), st.integers(200, 2_000), st.integers(1, 9))
def test_every_body_but_the_last_has_no_room_for_the_next_row(
    widths: list[int], rows_max: int, bytes_max: int, bodies_max: int
) -> None:
    rows: list[dict[str, str | None]] = [
        {"id": f"é{number}", "price": "9" * width} for number, width in enumerate(widths)
    ]
    bodies, more = batch_bodies(sent(rows), rows_max=rows_max, bytes_max=bytes_max, bodies_max=bodies_max)
    said = requests(bodies)
    assert [each["data"]["id"] for each in said] == [row["id"] for row in rows[: len(said)]]  # type: ignore[index]
    assert more is (len(said) < len(rows))
    assert not more or len(bodies) == bodies_max
    everything, _ = batch_bodies(sent(rows), rows_max=1, bytes_max=10**9, bodies_max=10**9)
    lone = [len(body.content) - len(BATCH_HEAD) - len(BATCH_TAIL) for body in everything]
    for body in bodies:
        count = body.end - body.start
        assert count <= rows_max
        assert len(body.content) <= bytes_max
        if body.end < len(rows):
            assert count == rows_max or len(body.content) + 1 + lone[body.end] > bytes_max
