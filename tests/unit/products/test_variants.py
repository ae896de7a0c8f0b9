"""The three scenarios of variants, and the ids that would be orphaned."""

import polars as pl
import pytest

from controller.api.v1alpha1.items import VariantScenario
from controller.products.variants import Transition, scenario, transition_of

AUTO = VariantScenario.AUTO
BEFORE: dict[str, int | None] = {"10024": None, "10025": None, "20000": None}
AFTER: dict[str, int | None] = {"10024_1": 1, "10024_2": 1, "10025_1": 2, "10025_2": 2, "20000": None}


def table(items: dict[str, int | None], column: str) -> pl.DataFrame:
    return pl.DataFrame({"id": list(items), column: list(items.values())}, schema={"id": pl.String, column: pl.UInt64})


def judged(
    held: dict[str, int | None],
    wanted: dict[str, int | None],
    declared: VariantScenario = AUTO,
    stays: tuple[str, ...] = (),
    named: tuple[str, ...] = (),
) -> Transition:
    text = pl.String
    here, there = table(held, "group_hash"), table(wanted, "_group_hash")
    found = scenario(declared, here.get_column("group_hash"), there.get_column("_group_hash"))
    return transition_of(found, [(here, there)], pl.Series(stays, dtype=text), pl.Series(named, dtype=text))


def test_items_without_variants_stay_so() -> None:
    found = judged(BEFORE, {"10024": None, "30000": None})
    assert (found.scenario, found.held) == (VariantScenario.NO_VARIANTS, False)


def test_the_first_load_may_have_variants() -> None:
    found = judged({}, AFTER)
    assert (found.scenario, found.held) == (VariantScenario.EXISTING_VARIANTS, False)


def test_variants_that_meta_has_go_on() -> None:
    found = judged({**AFTER, "old_1": 7}, {**AFTER, "new_1": 8, "new_2": 8})
    assert (found.scenario, found.held) == (VariantScenario.EXISTING_VARIANTS, False)


def test_new_variants_in_place_of_items_are_held() -> None:
    found = judged(BEFORE, AFTER)
    assert (found.scenario, found.held) == (VariantScenario.NEW_VARIANTS, True)
    assert (found.orphaned, found.new_variants) == (2, 4)
    assert found.orphaned_ids == ("10024", "10025")
    for words in ("4 new variants", "2 items", "10024, 10025", "variants.previousID", "ExistingVariants"):
        assert words in found.message


def test_previous_ids_let_them_through() -> None:
    assert not judged(BEFORE, AFTER, named=("10024", "10025")).held
    some = judged(BEFORE, AFTER, named=("10024",))
    assert some.held
    assert some.orphaned_ids == ("10025",)


def test_an_old_id_on_one_of_the_variants_is_no_orphan() -> None:
    kept: dict[str, int | None] = {"10024": 1, "10024_2": 1, "10025": None, "20000": None}
    assert not judged(BEFORE, kept).held


def test_ids_that_only_fail_a_check_do_not_leave() -> None:
    assert not judged(BEFORE, AFTER, stays=("10024", "10025")).held


def test_variants_beside_the_old_items_replace_none() -> None:
    assert not judged(BEFORE, {**BEFORE, "30000_1": 3, "30000_2": 3}).held


def test_items_that_leave_without_new_variants_are_a_matter_of_the_guard() -> None:
    assert not judged(BEFORE, {"20000": None}).held


@pytest.mark.parametrize(
    ("declared", "held"),
    [
        (VariantScenario.EXISTING_VARIANTS, False),
        (VariantScenario.NO_VARIANTS, False),
        (VariantScenario.NEW_VARIANTS, True),
    ],
)
def test_what_is_declared_decides(declared: VariantScenario, held: bool) -> None:
    assert judged(BEFORE, AFTER, declared).held is held


def test_groups_of_one_are_no_variants() -> None:
    """Some exports write the id as the group of every item."""
    single: dict[str, int | None] = {"a": 1, "b": 2, "c": 3}
    assert judged(single, single).scenario is VariantScenario.NO_VARIANTS
    found = judged({"a": 1, "b": 2}, {"a-s": 4, "a-m": 4, "b": 2})
    assert (found.scenario, found.held) == (VariantScenario.NEW_VARIANTS, True)
