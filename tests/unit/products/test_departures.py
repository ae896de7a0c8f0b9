"""Who may leave: two looks, the guard, held sets and what an approval releases."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.products import departures
from controller.products.departures import Departures, Generations, Guard, Look
from controller.products.tables import DEPARTURES

START = datetime(2026, 1, 1, tzinfo=UTC)
INTERVAL = timedelta(minutes=5)
GUARD = Guard(
    max_delete_percent=5,
    always_allow=2,
    max_deletes=None,
    max_unsellable_percent=30,
    price_change=None,
    counted_leaving=0,
    counted_unsellable=0,
    items=100,
    approved=frozenset(),
)
IDS = tuple(f"{number:03}" for number in range(100))


class Watcher:
    """Takes looks one after another, as refreshes do."""

    def __init__(self, at_meta: Mapping[str, str] | None = None) -> None:
        self.at_meta = dict(at_meta if at_meta is not None else dict.fromkeys(IDS, "in stock"))
        self.now = START
        self.table = pl.DataFrame(schema=DEPARTURES)
        self.generations = Generations()

    def look(
        self,
        source: Mapping[str, str] | Collection[str],
        *,
        later: timedelta = INTERVAL,
        guard: Guard = GUARD,
        complete: bool = True,
        rejected: Collection[str] = (),
    ) -> Departures:
        self.now += later
        wanted = dict(source) if isinstance(source, Mapping) else dict.fromkeys(source, "in stock")
        found = departures.advance(
            self.table,
            self.generations,
            _frame(self.at_meta).with_columns(pl.lit(0, dtype=pl.UInt16).alias("_partition")),
            _frame(wanted),
            pl.DataFrame({"id": list(rejected)}, schema={"id": pl.String}),
            guard,
            Look(self.now, complete, INTERVAL),
            "998877",
        )
        self.table, self.generations = found.table, found.generations
        return found

    def stages(self) -> dict[str, str]:
        return dict(self.table.select("id", "stage").iter_rows())


def _frame(rows: Mapping[str, str]) -> pl.DataFrame:
    return pl.DataFrame(
        {"id": list(rows), "availability": list(rows.values())}, schema={"id": pl.String, "availability": pl.String}
    )


def test_one_look_proves_nothing_and_two_within_the_interval_neither() -> None:
    watcher = Watcher()
    assert watcher.look(IDS[1:]).watching == 1
    assert watcher.look(IDS[1:], later=INTERVAL / 2).watching == 1
    found = watcher.look(IDS[1:], later=INTERVAL / 2)
    assert (found.watching, found.newly_leaving) == (0, 1)
    assert watcher.stages() == {"000": "Cleared"}


def test_an_incomplete_look_neither_starts_nor_ends_anything() -> None:
    watcher = Watcher()
    assert watcher.look(IDS[1:], complete=False).watching == 0
    watcher.look(IDS[1:])
    assert watcher.look(IDS[1:], complete=False).watching == 1
    assert watcher.look(IDS[1:]).newly_leaving == 1


def test_what_comes_back_starts_anew() -> None:
    watcher = Watcher()
    watcher.look(IDS[1:])
    assert watcher.look(IDS).watching == 0
    assert watcher.look(IDS[1:]).watching == 1
    assert watcher.look(IDS[1:], rejected=["000"]).table.height == 0


def test_what_meta_no_longer_holds_is_forgotten() -> None:
    watcher = Watcher()
    watcher.look(IDS[1:])
    del watcher.at_meta["000"]
    assert watcher.look(IDS[1:]).table.height == 0


@pytest.mark.parametrize(
    ("count", "guard", "held"),
    [
        (2, replace(GUARD, items=10), False),
        (3, replace(GUARD, items=10), True),
        (5, GUARD, False),
        (6, GUARD, True),
        (3, replace(GUARD, counted_leaving=3), True),
        (2, replace(GUARD, counted_leaving=3), False),
        (1, replace(GUARD, max_deletes=0), True),
        (3, replace(GUARD, max_deletes=3), False),
        (3, replace(GUARD, max_deletes=3, counted_leaving=1), True),
        (50, replace(GUARD, max_delete_percent=50, always_allow=0), False),
        (51, replace(GUARD, max_delete_percent=50, always_allow=0), True),
        (1, replace(GUARD, max_delete_percent=0, always_allow=0), True),
        (100, replace(GUARD, max_delete_percent=100), False),
    ],
)
def test_the_guard_decides_for_all_together(count: int, guard: Guard, held: bool) -> None:
    watcher = Watcher()
    watcher.look(IDS[count:], guard=guard)
    found = watcher.look(IDS[count:], guard=guard)
    assert set(watcher.stages().values()) == {"Held" if held else "Cleared"}
    assert found.newly_leaving == (0 if held else count)
    assert found.held_ids == (IDS[:count] if held else ())


@given(
    count=st.integers(1, 50),
    counted=st.integers(0, 50),
    items=st.integers(0, 200),
    percent=st.integers(0, 100),
    allow=st.integers(0, 30),
    limit=st.none() | st.integers(0, 60),
)
def test_guard_arithmetic(count: int, counted: int, items: int, percent: int, allow: int, limit: int | None) -> None:
    held = departures.exceeded(count, counted, items, percent, allow, limit)
    total = count + counted
    share = 100 * total / items if items else float("inf")
    assert held == ((total > allow and share > percent) or (limit is not None and total > limit))
    assert not departures.exceeded(0, counted, items, percent, allow, limit)


def test_a_held_set_stays_and_grows_with_its_digest() -> None:
    watcher = Watcher()
    watcher.look(IDS[10:])
    first = watcher.look(IDS[10:])
    assert first.held_digest == departures.digest_of("998877", IDS[:10])
    watcher.look(IDS[20:])
    second = watcher.look(IDS[20:])
    assert second.held_digest == departures.digest_of("998877", IDS[:20])
    assert watcher.look(IDS[20:]).held_digest == second.held_digest
    assert watcher.generations.newest == 2


def test_an_approval_releases_what_its_digest_named_and_is_still_held() -> None:
    watcher = Watcher()
    watcher.look(IDS[10:])
    first = watcher.look(IDS[10:])
    watcher.look(IDS[20:])
    watcher.look(IDS[20:])
    watcher.look([IDS[3], *IDS[20:]])
    assert first.held_digest is not None
    found = watcher.look([IDS[3], *IDS[20:]], guard=replace(GUARD, approved=frozenset({first.held_digest})))
    assert found.released == (first.held_digest,)
    assert found.newly_leaving == 0
    cleared = {each for each, stage in watcher.stages().items() if stage == "Cleared"}
    assert cleared == {*IDS[:10]} - {IDS[3]}
    assert found.held_ids == IDS[10:20]
    assert set(watcher.table.filter(pl.col("stage") == "Cleared").get_column("cleared_by")) == {first.held_digest}
    again = watcher.look(IDS[20:], guard=replace(GUARD, approved=frozenset({first.held_digest})))
    assert again.released == ()


def test_an_unknown_digest_releases_nothing() -> None:
    watcher = Watcher()
    watcher.look(IDS[10:])
    watcher.look(IDS[10:])
    found = watcher.look(IDS[10:], guard=replace(GUARD, approved=frozenset({"sha256:00"})))
    assert found.released == ()
    assert set(watcher.stages().values()) == {"Held"}


def test_turning_unsellable_is_decided_at_the_first_look() -> None:
    watcher = Watcher()
    dark = {each: "out of stock" if number < 30 else "in stock" for number, each in enumerate(IDS)}
    found = watcher.look(dark)
    assert (found.newly_unsellable, found.watching, found.held_ids) == (30, 0, ())
    assert watcher.look(dark).newly_unsellable == 0


def test_too_many_turning_unsellable_are_held_until_they_are_sellable_again() -> None:
    watcher = Watcher()
    dark = {each: "discontinued" if number < 31 else "in stock" for number, each in enumerate(IDS)}
    found = watcher.look(dark)
    assert (found.newly_unsellable, len(found.held_ids)) == (0, 31)
    assert len(watcher.look(dark).held_ids) == 31
    assert watcher.look(IDS).table.height == 0


def test_both_kinds_are_in_one_held_set() -> None:
    watcher = Watcher()
    source = {each: "out of stock" if number < 50 else "in stock" for number, each in enumerate(IDS[:90])}
    watcher.look(source)
    found = watcher.look(source)
    assert len(found.held_ids) == 60
    assert found.table.group_by("kind").len().sort("kind").rows() == [("Leaving", 10), ("Unsellable", 50)]


def test_unsellable_at_meta_already_is_no_turn() -> None:
    watcher = Watcher(dict.fromkeys(IDS, "out of stock"))
    assert watcher.look(dict.fromkeys(IDS, "discontinued")).table.height == 0


def test_the_next_look_is_the_earliest_of_second_looks_and_graces() -> None:
    watcher = Watcher()
    grace = timedelta(days=90)
    assert departures.next_look_at(watcher.table, INTERVAL, grace, watcher.now) is None
    watcher.look(IDS[1:])
    seen = watcher.now
    assert departures.next_look_at(watcher.table, INTERVAL, grace, watcher.now) == seen + INTERVAL
    watcher.look(IDS[1:])
    assert departures.next_look_at(watcher.table, INTERVAL, grace, watcher.now) == watcher.now + grace
    assert departures.next_look_at(watcher.table, INTERVAL, grace, watcher.now + grace) is None


def test_remembered_digests_are_bounded() -> None:
    generations = Generations()
    for number in range(departures.GENERATIONS_MAX + 5):
        generations = generations.with_set(f"sha256:{number}")
    assert len(generations.digests) == departures.GENERATIONS_MAX
    assert generations.newest == departures.GENERATIONS_MAX + 5


PRICE_GUARD = replace(GUARD, price_change=departures.PriceChange(percent=50, of_items_percent=10))


def _priced(prices: Mapping[str, str], sale: Mapping[str, str] | None = None) -> pl.DataFrame:
    names = ("id", "availability", "price", "sale_price")
    rows = [(each, "in stock", price, (sale or {}).get(each)) for each, price in prices.items()]
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")


class Prices:
    """What Meta has is 10.00 EUR for everything, on sale for 8.00 EUR."""

    def __init__(self) -> None:
        self.table = pl.DataFrame(schema=DEPARTURES)
        self.generations = Generations()

    def look(
        self, changed: Mapping[str, str], guard: Guard = PRICE_GUARD, *, sale: str = "8.00 EUR", known: bool = True
    ) -> Departures:
        at_meta = _priced(dict.fromkeys(IDS, "10.00 EUR"), dict.fromkeys(IDS, "8.00 EUR")).with_columns(
            pl.lit(0, dtype=pl.UInt16).alias("_partition"),
            *(pl.lit(known).alias(f"{name}_known") for name in ("price", "sale_price")),
        )
        found = departures.advance(
            self.table,
            self.generations,
            at_meta,
            _priced({**dict.fromkeys(IDS, "10.00 EUR"), **changed}, dict.fromkeys(IDS, sale)),
            pl.DataFrame(schema={"id": pl.String}),
            guard,
            Look(START, True, INTERVAL),
            "998877",
        )
        self.table, self.generations = found.table, found.generations
        return found


def test_few_prices_may_move_far_and_many_a_little() -> None:
    few = dict.fromkeys(IDS[:10], "0.10 EUR")
    assert Prices().look(few).held_ids == ()
    assert Prices().look(dict.fromkeys(IDS, "15.00 EUR")).held_ids == ()


def test_too_many_that_move_too_far_are_held() -> None:
    many = dict.fromkeys(IDS[:11], "0.10 EUR") | dict.fromkeys(IDS[20:40], "11.00 EUR")
    found = Prices().look(many)
    assert found.held_ids == IDS[:11]
    assert set(found.table.get_column("kind")) == {"Price"}
    assert found.newly_unsellable == found.newly_leaving == 0


def test_the_price_on_sale_is_guarded_too() -> None:
    assert Prices().look({}, sale="0.80 EUR").held_ids == IDS


@pytest.mark.parametrize("price", ["10.00 USD", "not a price"])
def test_what_cannot_be_compared_does_not_count(price: str) -> None:
    assert Prices().look(dict.fromkeys(IDS, price)).held_ids == ()


def test_a_price_that_nobody_knows_at_meta_does_not_count() -> None:
    assert Prices().look(dict.fromkeys(IDS, "1.00 EUR"), known=False).held_ids == ()


def test_without_a_limit_nothing_is_held() -> None:
    assert Prices().look(dict.fromkeys(IDS, "1.00 EUR"), GUARD).held_ids == ()


def test_a_source_that_was_mended_frees_the_rest() -> None:
    prices = Prices()
    assert prices.look(dict.fromkeys(IDS[:30], "1.00 EUR")).held_ids == IDS[:30]
    mended = prices.look(dict.fromkeys(IDS[:5], "1.00 EUR"))
    assert mended.held_ids == ()
    assert mended.table.height == 0


def test_an_approval_releases_the_prices_that_were_held_and_no_others() -> None:
    prices = Prices()
    first = prices.look(dict.fromkeys(IDS[:30], "1.00 EUR"))
    assert first.held_digest is not None
    approved = replace(PRICE_GUARD, approved=frozenset({first.held_digest}))
    then = prices.look(dict.fromkeys(IDS[:50], "1.00 EUR"), approved)
    assert then.released == (first.held_digest,)
    assert then.held_ids == IDS[30:50]
    assert dict(then.table.select("id", "stage").iter_rows())[IDS[0]] == "Cleared"
