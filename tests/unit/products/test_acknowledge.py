"""What counts as acknowledged: applied rows, field by field, and nothing else."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import polars as pl
import pytest

from controller.products import acknowledge, verify
from controller.products.acknowledge import Line
from controller.products.fields import VOLATILE
from controller.products.fingerprints import row_hash
from controller.products.tables import DELETES, SENT, SNAPSHOT, bit, conform, empty, known

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ALL = sum(bit(name) for name in VOLATILE)


def sent(
    *ids: str, full: bool = True, fields: Sequence[str] = VOLATILE, created: bool = True, price: str = "2.00 EUR"
) -> pl.DataFrame:
    frame = pl.DataFrame({"id": ids, "title": [f"Title {each}" for each in ids]}).with_columns(
        price=pl.lit(price),
        availability=pl.lit("in stock"),
        _partition=pl.lit(0),
        _full=pl.lit(full),
        _volatile=pl.lit(sum(bit(name) for name in fields)),
        _kept=pl.lit(value=False),
        _created=pl.lit(created),
        _sequence=pl.lit(7),
        _static_hash=pl.lit(11, dtype=pl.UInt64),
        _row_hash=pl.lit(99, dtype=pl.UInt64),
    )
    return pl.concat([conform(frame, SENT), frame.select("title")], how="horizontal")


def outcome(
    rows: pl.DataFrame,
    lines: Sequence[Line] = (),
    *,
    before: pl.DataFrame | None = None,
    applied: bool = True,
    unnamed: bool = False,
    read_back: Sequence[Mapping[str, object]] | None = None,
    replaced: bool = False,
) -> dict[str, dict[str, object]]:
    back = None
    if read_back is not None:
        content = "\n".join(json.dumps(each) for each in read_back)
        back = verify.compare_back(rows, verify.items(content.encode()))
    judged = acknowledge.judge(rows, acknowledge.answers(list(lines)), back, applied=applied, unnamed=unnamed)
    start = before if before is not None else empty(SNAPSHOT)
    after = acknowledge.next_snapshot(start, judged, empty(DELETES), NOW, replaced=replaced)
    return {str(row["id"]): row for row in after.to_dicts()}


def snapshot(*ids: str, static: int | None = 11, price: str = "1.00 EUR") -> pl.DataFrame:
    frame = pl.DataFrame({"id": ids}).with_columns(
        at_meta=pl.lit(value=True),
        state=pl.lit("Acknowledged"),
        static_hash=pl.lit(static, dtype=pl.UInt64),
        price=pl.lit(price),
        availability=pl.lit("in stock"),
        sequence=pl.lit(3),
        **{known(name): pl.lit(value=True) for name in VOLATILE},
    )
    return conform(frame, SNAPSHOT)


def unknown_fields(row: Mapping[str, object]) -> set[str]:
    return {name for name in VOLATILE if not row[known(name)]}


def test_an_applied_row_is_acknowledged_in_every_field() -> None:
    row = outcome(sent("a"))["a"]
    assert (row["state"], row["at_meta"], row["static_hash"], row["sequence"]) == ("Acknowledged", True, 11, 7)
    assert (row["price"], row["sale_price"], unknown_fields(row)) == ("2.00 EUR", None, set())
    assert row["answered_hash"] is None


def test_a_batch_touches_only_the_fields_it_carried() -> None:
    row = outcome(sent("a", full=False, fields=["price"], created=False), before=snapshot("a", "b"))["a"]
    assert (row["price"], row["availability"], row["static_hash"]) == ("2.00 EUR", "in stock", 11)
    assert row["state"] == "Acknowledged"


def test_a_refused_creation_is_remembered_and_not_at_meta() -> None:
    row = outcome(sent("a"), [Line("a", "fatal", "bad", None)])["a"]
    assert (row["state"], row["at_meta"], row["answered_hash"], row["answered_at"]) == ("Refused", False, 99, NOW)
    assert unknown_fields(row) == set(VOLATILE)


def test_a_refused_update_leaves_what_meta_had() -> None:
    row = outcome(sent("a"), [Line("a", "fatal", "bad", None)], before=snapshot("a"))["a"]
    assert (row["state"], row["at_meta"], row["price"], row["static_hash"]) == ("Refused", True, "1.00 EUR", 11)
    assert unknown_fields(row) == set()


def test_a_row_refused_by_a_deleting_replace_is_uncertain() -> None:
    row = outcome(sent("a"), [Line("a", "fatal", "bad", None)], before=snapshot("a"), replaced=True)["a"]
    assert (row["state"], row["at_meta"], row["static_hash"]) == ("Refused", True, None)
    assert unknown_fields(row) == set(VOLATILE)


def test_a_field_named_in_a_warning_is_not_acknowledged() -> None:
    rows = outcome(
        sent("a", "b", "c"),
        [
            Line("a", "warning", "odd price", "price"),
            Line("b", "warning", "odd title", "title"),
            Line("c", "warning", "advice", None),
        ],
    )
    assert unknown_fields(rows["a"]) == {"price"}
    assert (rows["a"]["state"], rows["a"]["static_hash"], rows["a"]["answered_hash"]) == ("Unknown", 11, 99)
    assert (rows["b"]["state"], rows["b"]["static_hash"], rows["b"]["answered_hash"]) == ("Unknown", None, 99)
    assert (rows["c"]["state"], rows["c"]["answered_hash"]) == ("Acknowledged", None)


def test_an_unknown_fate_makes_the_touched_fields_unknown_and_keeps_the_newest_value() -> None:
    row = outcome(sent("a", full=False, fields=["price"], created=False), before=snapshot("a"), applied=False)["a"]
    assert (row["state"], row["price"], unknown_fields(row), row["static_hash"]) == (
        "Unknown",
        "2.00 EUR",
        {"price"},
        11,
    )
    created = outcome(sent("b"), applied=False)["b"]
    assert (created["state"], created["at_meta"], created["static_hash"]) == ("Unknown", True, None)


def test_unnamed_refusals_make_rows_without_a_line_unknown() -> None:
    rows = outcome(sent("a", "b"), [Line("a", "fatal", "bad", None)], unnamed=True)
    assert (rows["a"]["state"], rows["b"]["state"]) == ("Refused", "Unknown")


def test_a_read_back_settles_what_it_proves() -> None:
    equal = {"id": "a", "title": "Title  a", "price": "2 EUR", "availability": "in stock", "sale_price": None}
    rows = outcome(
        sent("a", "b", "c"), unnamed=True, read_back=[equal, equal | {"id": "b", "title": "Title b", "price": "1 EUR"}]
    )
    assert (rows["a"]["state"], unknown_fields(rows["a"])) == ("Acknowledged", set())
    assert rows["b"]["state"] == "Unknown"
    assert rows["c"]["state"] == "Unknown"


def test_a_read_back_of_a_changed_row_proves_only_the_fields_it_shows() -> None:
    rows = sent("a", created=False).with_columns(_static_hash=pl.lit(12, dtype=pl.UInt64))
    equal = {"id": "a", "title": "Title a", "price": "2 EUR", "availability": "in stock"}
    row = outcome(rows, before=snapshot("a"), applied=False, read_back=[equal])["a"]
    assert unknown_fields(row) == set()
    assert row["static_hash"] is None
    assert row["state"] == "Unknown"


def test_messages_are_grouped_largest_first_and_bounded() -> None:
    lines = [Line(f"{number}", "fatal", f"m{number % 20:02}", None) for number in range(45)]
    groups = acknowledge.message_groups([*lines, Line("w", "warning", "m", None)], "fatal")
    assert len(groups) == acknowledge.GROUPS_MAX
    assert [group.count for group in groups[:6]] == [3, 3, 3, 3, 3, 2]
    assert groups[0].sample_ids == ("0", "20", "40")


@pytest.mark.parametrize(
    ("read", "verdict"),
    [
        ({"price": "2.00 EUR"}, True),
        ({"price": "2 EUR"}, True),
        ({"price": "2.01 EUR"}, False),
        ({"price": "2.00 USD"}, False),
        ({"price": None}, False),
        ({"title": "Title\na"}, True),
        ({"title": "Other"}, False),
        ({"quantity_to_sell_on_facebook": 5}, False),
        ({"sale_price": ""}, True),
        ({"unknown_to_us": "x"}, False),
        ({"unknown_to_us": "x", "price": "2 EUR"}, True),
    ],
)
def test_verification(read: dict[str, object], verdict: bool) -> None:
    content = json.dumps({"id": "a", **read}).encode()
    compared = verify.compare_back(sent("a"), verify.items(content))
    assert compared.select(verify.equal_rows(compared)).to_series().item() is verdict


def test_row_hashes_ignore_the_difference_of_null_and_blank() -> None:
    frame = pl.DataFrame({name: [None, ""] for name in VOLATILE}, schema=dict.fromkeys(VOLATILE, pl.String))
    assert frame.select(row_hash(pl.lit(1, dtype=pl.UInt64))).to_series().n_unique() == 1
