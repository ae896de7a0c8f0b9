"""Slots that never move, and homes that data never changes."""

from collections.abc import Sequence

import polars as pl
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from controller.ports.preparing import VOLATILE_FIELDS
from controller.products import fields, fingerprints, partition
from controller.products.partition import SlotRange

HALVES = (SlotRange(0, 0, 2_047), SlotRange(1, 2_048, 4_095))


def rows(items: Sequence[tuple[str, str | None]]) -> pl.DataFrame:
    frame = pl.DataFrame(items, schema={"id": pl.String, "item_group_id": pl.String}, orient="row")
    return frame.with_columns(_group_hash=fingerprints.group_hash(frame.columns)).with_columns(
        _slot=fingerprints.slot(pl.col("_group_hash"))
    )


def held(places: dict[int, Sequence[tuple[str, str | None]]]) -> pl.DataFrame:
    frames = [
        rows(each).select("id", pl.lit(index, dtype=pl.UInt16).alias("_partition"), group_hash="_group_hash")
        for index, each in places.items()
    ]
    schema = {"id": pl.String, "group_hash": pl.UInt64, "_partition": pl.UInt16}
    return partition.homes(pl.concat(frames, how="diagonal") if frames else pl.DataFrame(schema=schema))


def assign(
    items: Sequence[tuple[str, str | None]],
    at_meta: dict[int, Sequence[tuple[str, str | None]]] | None = None,
    placed: dict[int, Sequence[tuple[str, str | None]]] | None = None,
) -> list[int]:
    return partition.assign(rows(items), held(at_meta or {}), held(placed or {}), HALVES).to_list()


@pytest.mark.parametrize(("text", "slot"), [("SKU-1", 2013), ("00042", 2230), ("größe", 2669), ("G1", 3779)])
def test_known_slots(text: str, slot: int) -> None:
    assert rows([(text, None)]).get_column("_slot").item() == slot
    assert rows([("other", f" {text} ")]).get_column("_slot").item() == slot


@given(st.text(min_size=1).filter(lambda text: text.strip() == text))
def test_slots_are_the_top_12_bits_of_xxh3(text: str) -> None:
    assert rows([(text, None)]).get_column("_slot").item() == xxhash.xxh3_64_intdigest(text.encode()) >> 52


def test_hashes_tell_apart_what_concatenation_would_not() -> None:
    frame = pl.DataFrame({"title": ["ab", "a", None], "link": ["c", "bc", "abc"]})
    assert frame.select(fingerprints.static_hash(frame.columns)).to_series().n_unique() == 3


def test_a_column_without_values_changes_no_hash() -> None:
    frame = pl.DataFrame({"id": ["1"], "title": ["a"], "price": ["1 EUR"]})
    wider = frame.with_columns(color=pl.lit(None, dtype=pl.String))
    before = frame.select(fingerprints.static_hash(frame.columns)).item()
    assert wider.select(fingerprints.static_hash(wider.columns)).item() == before
    assert frame.with_columns(price=pl.lit("2 EUR")).select(fingerprints.static_hash(frame.columns)).item() == before


def test_a_stored_hash_never_changes() -> None:
    frame = pl.DataFrame({"id": ["1"], "title": ["a"], "brand": ["b"]})
    expected = xxhash.xxh3_64_intdigest(b"brand\x1eb\x1ftitle\x1ea")
    assert frame.select(fingerprints.static_hash(frame.columns)).item() == expected


TEXTS = st.one_of(st.none(), st.sampled_from(["", "a", "b\x1f", "ä"]))
FEW = st.lists(st.tuples(TEXTS, TEXTS, TEXTS, TEXTS), min_size=1, max_size=4)


@given(FEW)
def test_the_hashes_of_a_block_are_those_of_its_rows(values: list[tuple[str | None, ...]]) -> None:
    names = ("brand", "color", "title", "size")
    frame = pl.DataFrame([("1", *row) for row in values], schema=dict.fromkeys(("id", *names), pl.String), orient="row")
    expected = frame.select(fingerprints.static_hash(frame.columns)).to_series()
    assert fingerprints.static_hashes(frame, frame.columns).to_list() == expected.to_list()


LOW, HIGH = "n5", "n0"
"""Ids whose own slots lie in the lower and in the upper half."""


def test_new_items_go_by_their_slot_and_groups_by_their_groups() -> None:
    assert assign([(LOW, None), (HIGH, None)]) == [0, 1]
    assert assign([(LOW, HIGH), (HIGH, HIGH)]) == [1, 1]


def test_an_item_stays_where_meta_holds_it() -> None:
    assert assign([(LOW, None), (HIGH, LOW)], {1: [(LOW, None)], 0: [(HIGH, None)]}) == [1, 0]


def test_an_item_stays_where_the_last_refresh_placed_it() -> None:
    assert assign([(LOW, None)], placed={1: [(LOW, None)]}) == [1]
    assert assign([(LOW, None)], {0: [(LOW, None)]}, {1: [(LOW, None)]}) == [0]


def test_a_new_member_goes_to_the_lowest_home_of_its_group() -> None:
    assert assign([("new", HIGH)], {0: [("old", HIGH)], 1: [("older", HIGH)]}) == [0]
    assert assign([("new", HIGH), ("old", HIGH)], {0: [("old", None)]}) == [0, 0]


def test_both_lists_of_volatile_fields_are_one() -> None:
    assert fields.VOLATILE == VOLATILE_FIELDS


@pytest.mark.parametrize("rows_", [[(LOW, None), ("a", "g1"), ("b", "g2"), ("c", "new"), (HIGH, None)]])
def test_rows_seem_to_belong_where_they_will(rows_: list[tuple[str, str | None]]) -> None:
    at_meta: dict[int, Sequence[tuple[str, str | None]]] = {
        1: [(LOW, None), ("x", "g1")],
        0: [("y", "g1"), ("z", "g2")],
    }
    placed: dict[int, Sequence[tuple[str, str | None]]] = {1: [("b", "g2"), (LOW, None)]}
    homes = partition.Homes(held(at_meta), held(placed), HALVES)
    assert homes.place(rows(rows_)).tolist() == assign(rows_, at_meta, placed)
    alone = partition.Homes(held({}), held({}), (SlotRange(7, 0, 4_095),))
    assert alone.place(rows(rows_)).tolist() == [7] * len(rows_)
