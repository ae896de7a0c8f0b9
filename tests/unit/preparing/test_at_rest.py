"""Rows at rest that are put aside first: everything else says what it says when they are compared as well."""

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from controller.ports.preparing import Partition
from controller.preparing.comparing import Inputs, but_at_rest, compared
from controller.preparing.ranges import compared_all
from controller.products.compare import DeparturePolicy, at_rest, compare, tallied, tallied_new
from controller.products.fields import AVAILABILITY, ID, VOLATILE
from controller.products.open_rows import Sides, apart
from controller.products.partition import PARTITION
from controller.products.tables import DEPARTURES, NARROW, SNAPSHOT, Leaving, Stage, State, conform, known

NOW = datetime(2026, 1, 5, tzinfo=UTC)
PARTITIONS = tuple(Partition(index=index, slot_from=0, slot_to=0) for index in range(2))
POLICY = DeparturePolicy(timedelta(days=1), out_of_stock_first=True)
IDS = "abcdef"
DEVIATIONS: dict[str, dict[str, object]] = {
    "none": {},
    "nor here": {},
    "elsewhere": {PARTITION: 1},
    "price": {"price": "2.00 EUR"},
    "no availability": {AVAILABILITY: None},
    "static": {"static_hash": 8},
    "unknown static": {"static_hash": None},
    "unknown price": {known("price"): False},
    "not at Meta": {"at_meta": False},
    "refused": {"state": State.REFUSED},
    "answered": {"answered_hash": 9},
}


LEAVERS = st.dictionaries(st.sampled_from(IDS), st.sampled_from(Leaving), max_size=1)


def _table(rows: list[dict[str, object]], schema: pl.Schema) -> pl.DataFrame:
    whole = pl.Schema([*schema.items(), (PARTITION, pl.UInt16)])
    return pl.DataFrame([{name: row.get(name) for name in whole} for row in rows], schema=whole)


def _departures(leavers: dict[str, Leaving]) -> pl.DataFrame:
    rows = [{ID: each, "kind": kind, "stage": Stage.HELD} for each, kind in leavers.items()]
    return conform(pl.DataFrame(rows, schema={ID: pl.String, "kind": pl.String, "stage": pl.String}), DEPARTURES)


def _held(row: dict[str, object], deviation: str) -> dict[str, object]:
    """What the snapshot says of a row that is at rest, but for one thing."""
    same = {name: row.get(name) for name in (ID, PARTITION, *VOLATILE)} | {known(name): True for name in VOLATILE}
    own = {"at_meta": True, "state": State.ACKNOWLEDGED, "static_hash": row["_static_hash"], "sequence": 1}
    return same | own | DEVIATIONS[deviation]


def _sides(ids: str, deviations: dict[str, str], also: set[str], kept: set[tuple[str, int]]) -> Sides:
    """`deviations` of the rows that the snapshot has; `also`: ids of which it has another one in partition 1."""
    rows = [{ID: each, PARTITION: 0, AVAILABILITY: "in stock", "price": "1.00 EUR", "_static_hash": 7} for each in ids]
    held = [_held(row, deviations[str(row[ID])]) for row in rows if row[ID] in deviations]
    held += [_held({**row, PARTITION: 1}, "none") for row in rows if row[ID] in also]
    held = list({(row[ID], row[PARTITION]): row for row in held}.values())
    desired = [row for row in rows if deviations.get(str(row[ID])) != "nor here"]
    payload = pl.DataFrame(sorted(kept), schema={ID: pl.String, PARTITION: pl.UInt16}, orient="row")
    return Sides(_table(desired, NARROW), _table(held, SNAPSHOT), payload)


SIDES = st.builds(
    _sides,
    st.permutations(IDS).map("".join),
    st.dictionaries(st.sampled_from(IDS), st.sampled_from(sorted(DEVIATIONS))),
    st.sets(st.sampled_from(IDS), max_size=1),
    st.sets(st.tuples(st.sampled_from(IDS), st.sampled_from([0, 1]))),
)


@given(SIDES, LEAVERS)
def test_what_is_put_aside_is_at_rest(sides: Sides, leavers: dict[str, Leaving]) -> None:
    departures = _departures(leavers)
    compared_ = compare(sides.desired, sides.snapshot, departures, sides.payload_ids, POLICY, NOW)
    rest = compared_.filter(at_rest()).select(ID, PARTITION, "has_payload").collect()
    left, found = apart(sides, departures)
    alone = rest.filter(pl.col(ID).is_in(sides.snapshot.filter(~pl.col(ID).is_duplicated()).get_column(ID).implode()))
    assert sorted(found.rows()) == sorted(alone.select(PARTITION, "has_payload").rows())
    gone = set(alone.select(ID, PARTITION).rows())
    for before, after in ((sides.desired, left.desired), (sides.snapshot, left.snapshot)):
        assert after.rows() == [row for row in before.rows() if (row[0], row[-1]) not in gone]


@given(SIDES, LEAVERS)
def test_counts_and_what_is_not_at_rest_are_the_same(sides: Sides, leavers: dict[str, Leaving]) -> None:
    departures = _departures(leavers)
    expected = compared(Inputs(sides, {}), departures, PARTITIONS, POLICY, NOW, keep_open=True)
    inputs = but_at_rest([Inputs(sides, {})], departures, PARTITIONS, 1_000)
    assert inputs is not None
    pieces = compared_all([sides], departures, PARTITIONS, POLICY, NOW, keep_open=True)
    for found in (compared(inputs, departures, PARTITIONS, POLICY, NOW, keep_open=True), pieces):
        assert found.pending == expected.pending
        assert found.resting == expected.resting
        assert found.open is not None
        assert expected.open is not None
        assert found.open.equals(expected.open)


def test_too_many_rows_are_not_kept_in_memory() -> None:
    sides = _sides("ab", {}, set(), set())
    assert but_at_rest([Inputs(sides, {})], _departures({}), PARTITIONS, 1) is None


def test_where_meta_has_nothing_everything_is_a_creation() -> None:
    sides = _sides("abc", {}, set(), set())
    desired = sides.desired.with_columns(pl.Series(PARTITION, [1, 0, 1], dtype=pl.UInt16))
    plan = compare(desired, sides.snapshot, _departures({}), sides.payload_ids, POLICY, NOW)
    expected = tallied(plan).collect().sort(PARTITION)
    assert expected.get_column("creations").to_list() == [1, 2]
    found = tallied_new(desired).sort(PARTITION).select(expected.columns)
    assert found.equals(expected)
    assert found.schema == expected.schema
    assert tallied_new(desired.clear()).height == 0
