"""Gathering what an overlay ever said, and laying it over rows."""

from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.products import overlays, rules
from controller.products.overlays import Layer, Overlaid, findings, gather
from controller.products.raw import Hashes

FIELDS = ("price", "availability")


def frame(*rows: tuple[str | None, ...], fields: Sequence[str] = FIELDS) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(("id", *fields), pl.String), orient="row")


def layer(name: str, *rows: tuple[str | None, ...], fields: Sequence[str] = FIELDS) -> Layer:
    return Layer(name, tuple(fields), frame(*rows, fields=fields))


def said(table: pl.DataFrame) -> dict[str, tuple[str | None, ...]]:
    return {row[0]: row[1:] for row in table.iter_rows()}


def test_values_are_kept_until_there_are_newer_ones() -> None:
    before = frame(("a", "1", "in stock"), ("b", "2", None))
    found = gather(before, frame(("b", None, "out of stock"), ("c", "3", None)), FIELDS, clears=False)
    assert said(found.table) == {"a": ("1", "in stock"), "b": ("2", "out of stock"), "c": ("3", None)}
    assert sorted(found.changed.get_column("id")) == ["b", "c"]


def test_an_empty_cell_may_end_a_value() -> None:
    found = gather(frame(("a", "1", None)), frame(("a", None, "in stock"), ("b", None, None)), FIELDS, clears=True)
    assert said(found.table) == {"a": ("", "in stock"), "b": ("", "")}


def test_an_empty_row_says_nothing() -> None:
    found = gather(frame(), frame(("a", None, None), (None, "1", None)), FIELDS, clears=False)
    assert (found.table.height, found.changed.height) == (0, 0)


def test_of_rows_with_one_id_the_last_value_counts() -> None:
    found = gather(
        frame(), frame(("a", "1", None), ("b", "9", None), ("a", "2", "x"), ("a", None, None)), FIELDS, clears=False
    )
    assert said(found.table) == {"a": ("2", "x"), "b": ("9", None)}
    assert (found.repeated, found.sample_repeated) == (2, ("a",))


def test_what_is_said_again_is_no_change() -> None:
    before = frame(("a", "1", ""), ("b", "2", None))
    assert gather(before, before, FIELDS, clears=False).changed.height == 0
    assert gather(before, frame(("a", "1", None)), FIELDS, clears=True).changed.height == 0


CELL = st.sampled_from([None, "1", "2"])
ROW = st.tuples(st.sampled_from("abcd"), CELL, CELL)


@pytest.mark.parametrize("clears", [False, True])
@given(reads=st.lists(st.lists(ROW, max_size=5), max_size=5))
def test_gathering_follows_the_plain_reading(
    reads: list[list[tuple[str, str | None, str | None]]], *, clears: bool
) -> None:
    table = frame()
    plain: dict[str, dict[str, str]] = {}
    for rows in reads:
        found = gather(table, frame(*rows), FIELDS, clears=clears)
        before = {name: dict(values) for name, values in plain.items()}
        now: dict[str, dict[str, str | None]] = {}
        for name, *cells in rows:
            for field, cell in zip(FIELDS, cells, strict=True):
                known = now.setdefault(name, dict.fromkeys(FIELDS))
                known[field] = cell if cell is not None else known[field]
        for name, values in now.items():
            for field, value in values.items():
                if value is not None or clears:
                    plain.setdefault(name, {})[field] = value or ""
        table = found.table
        assert said(table) == {
            name: tuple(values.get(field) for field in FIELDS) for name, values in plain.items() if values
        }
        assert set(found.changed.get_column("id")) == {name for name in plain if plain[name] != before.get(name)}


def test_the_last_listed_overlay_wins_field_by_field() -> None:
    over = Overlaid((layer("one", ("a", "1", "x"), ("b", "1", None)), layer("two", ("a", "2", None))))
    rows = over.onto(frame(("a", "0", "0"), ("b", "0", "0"), ("c", "0", "0"), (None, "0", "0")))
    assert rows.rows() == [("a", "2", "x"), ("b", "1", "0"), ("c", "0", "0"), (None, "0", "0")]


def test_a_cleared_value_clears_what_is_below_it() -> None:
    over = Overlaid((layer("one", ("a", "1", None)), layer("two", ("a", "", None))))
    assert over.onto(frame(("a", "0", "0"))).rows() == [("a", None, "0")]


def test_a_field_that_no_row_has_is_added() -> None:
    over = Overlaid((layer("labels", ("a", "new"), fields=["custom_label_0"]),))
    rows = over.onto(frame(("a", "0", "0"), ("b", "0", "0")))
    assert rows.get_column("custom_label_0").to_list() == ["new", None]


def test_ids_with_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """No two known ids share a 64-bit hash, so the hash is made worse."""
    good = overlays.hashes_of

    def worse(ids: pl.Series, salt: str = "") -> Hashes:
        return good(ids, salt) if salt else ids.str.len_bytes().cast(pl.UInt64).to_numpy()

    monkeypatch.setattr(overlays, "hashes_of", worse)
    over = Overlaid((layer("one", ("aa", "1", None), ("bb", "2", None), ("c", "3", None)),))
    rows = over.onto(frame(("bb", "0", "0"), ("aa", "0", "0"), ("dd", "0", "0"), ("c", "0", "0"), ("d", "0", "0")))
    assert rows.get_column("price").to_list() == ["2", "1", "0", "3", "0"]


def test_the_overlay_that_gave_a_wrong_value_is_named() -> None:
    over = Overlaid((layer("one", ("a", "cheap", None), ("b", "dear", None)), layer("two", ("b", "odd", None))))
    rows = over.onto(frame(("a", "1 EUR", "in stock"), ("b", "1 EUR", "in stock"), ("c", "wrong", "in stock")))
    named = rules.rules_for(list(rows.columns))
    flags = rules.flags_of(rows, named)
    checked, _ = rules.check(rows, named, flags)
    over.judge(checked, flags, named)
    found = {each.rule: (each.level, each.count, each.sample_ids) for each in findings(over.blames)}
    assert found == {"overlay-one": ("Error", 1, ("a",)), "overlay-two": ("Error", 1, ("b",))}
