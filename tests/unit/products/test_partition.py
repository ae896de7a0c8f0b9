"""Slots that never move, and homes that data never changes."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from controller.ports.preparing import VOLATILE_FIELDS
from controller.products import fields, fingerprints, partition, raw
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


IDS = st.sampled_from([LOW, HIGH, "a", "b", "c", "d", "e"])
GROUPS = st.sampled_from([None, "g1", "g2", "g3"])
Places = dict[int, Sequence[tuple[str, str | None]]]
ITEMS = st.dictionaries(IDS, GROUPS).map(lambda found: list(found.items()))


def known(places: Places) -> pl.DataFrame:
    return partition.hashed(held(places).lazy())


@given(ITEMS, st.tuples(ITEMS, ITEMS), st.tuples(ITEMS, ITEMS), st.integers(1, 4))
def test_block_by_block_rows_come_to_where_all_together_belong(
    items: list[tuple[str, str | None]],
    at_meta: tuple[list[tuple[str, str | None]], ...],
    placed: tuple[list[tuple[str, str | None]], ...],
    size: int,
) -> None:
    there: Places = dict(enumerate(at_meta))
    before: Places = dict(enumerate(placed))
    homes = partition.Homes(known(there), known(before), HALVES)
    frame = rows(items).with_columns(key=fingerprints.xxh3(pl.col("id")), group=pl.col("_group_hash").fill_null(0))
    blocks = [homes.place(block) for block in frame.iter_slices(size)]
    seeming = np.concatenate([np.empty(0, np.uint16), *blocks])
    found = homes.settle(frame.get_column("key").to_numpy(), frame.get_column("group").to_numpy(), seeming)
    assert found.tolist() == assign(items, there, before)


def test_with_one_partition_everything_lives_there() -> None:
    alone = partition.Homes(partition.no_homes(), partition.no_homes(), (SlotRange(7, 0, 4_095),))
    assert alone.place(rows([(LOW, None), ("a", "g1")])).tolist() == [7, 7]


@given(st.lists(st.integers(0, 9)), st.lists(st.integers(0, 9)), st.integers(1, 4))
def test_what_is_among_the_chosen(values: list[int], chosen: list[int], piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw, "AMONG_PIECE", piece)
        found = raw.among(np.array(values, np.uint64), np.array(chosen, np.uint64))
    assert found.tolist() == [each in chosen for each in values]
