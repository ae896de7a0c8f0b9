"""Overlays in a refresh: what they win over, what they never do; their changes alone give what everything gives."""

import tempfile
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from controller.ports.preparing import RefreshResult
from controller.preparing.heads import memory_of
from controller.preparing.manifests import manifest_of
from controller.preparing.objects import read_table
from tests.unit.preparing.overlay_world import OverlayWorld, overlay
from tests.unit.preparing.test_incremental import desired
from tests.unit.preparing.world import INTERVAL, product, products

KEPT_APART, IN_PLAIN_TABLES = 1, 10**9
KINDS = pytest.mark.parametrize("rows_min", [KEPT_APART, IN_PLAIN_TABLES])


def row(world: OverlayWorld, name: str, partition: int = 0) -> dict[str, str | None]:
    """What is wanted at Meta of one item."""
    (found,) = desired(world, partition).filter(pl.col("id") == name).iter_rows(named=True)
    return found


def checks(result: RefreshResult) -> dict[str, int]:
    return {each.rule: each.count for each in result.checks}


@KINDS
def test_an_overlay_wins_over_the_full_source(tmp_path: Path, rows_min: int) -> None:
    world = OverlayWorld(tmp_path, overlay("stock"), rows_min=rows_min)
    world.offer(products(10))
    world.say("stock", [{"id": "00003", "availability": "no", "title": "Other"}, {"id": "00004", "availability": "0"}])
    result = world.look_at_all()
    assert row(world, "00004")["availability"] == "out of stock"
    assert row(world, "00005")["availability"] == "in stock"
    assert checks(result)["overlay-stock"] == 1
    assert checks(result)["availability-value"] == 1
    assert result.head is not None
    assert (result.head.valid, result.head.invalid) == (9, 1), "a row that an overlay breaks is rejected"


@KINDS
def test_what_changes_in_an_overlay_needs_no_read_of_the_full_source(tmp_path: Path, rows_min: int) -> None:
    world = OverlayWorld(tmp_path, overlay("stock"), rows_min=rows_min)
    world.offer(products(10))
    world.say("stock", [{"id": "00003", "availability": "out of stock"}])
    world.look_at_all()
    world.send_full()
    (world.directory / "exports" / "items.csv").unlink()
    world.say("stock", [{"id": "00003", "availability": "in stock", "title": ""}])
    assert world.look_at().needs_read, "another field than before"
    world.say("stock", [{"id": "00003", "availability": "in stock"}, {"id": "00004", "availability": "out of stock"}])
    result = world.look_at()
    assert result.pending[0].volatile == 2
    world.send_batch()
    assert world.meta.items["00003"]["availability"] == "in stock"
    assert world.meta.items["00004"]["availability"] == "out of stock"
    assert world.head is not None
    assert world.head.sequence == result.head.sequence if result.head else False


def test_the_last_listed_overlay_that_ever_had_a_value_wins(tmp_path: Path) -> None:
    world = OverlayWorld(tmp_path, overlay("first"), overlay("last"))
    world.offer(products(40))
    world.say("first", [{"id": "00001", "price": "1 EUR"}, {"id": "00002", "price": "2 EUR"}])
    world.say("last", [{"id": "00002", "price": "22 EUR"}])
    world.look_at_all()
    assert (row(world, "00001")["price"], row(world, "00002")["price"]) == ("1.00 EUR", "22.00 EUR")
    world.say("last", [{"id": "00009", "price": "9 EUR"}])
    world.say("first", [{"id": "00001", "price": "3 EUR"}, {"id": "00002", "price": "4 EUR"}])
    world.look_at("first", "last")
    assert row(world, "00001")["price"] == "3.00 EUR"
    assert row(world, "00002")["price"] == "22.00 EUR", "it is not in the last one any more, but was"
    assert row(world, "00009")["price"] == "9.00 EUR"


@KINDS
def test_absence_from_the_full_source_beats_overlays(tmp_path: Path, rows_min: int) -> None:
    world = OverlayWorld(tmp_path, overlay("stock"), rows_min=rows_min)
    world.offer(products(40))
    world.say("stock", [{"id": "00003", "availability": "in stock"}, {"id": "never-there", "availability": "in stock"}])
    result = world.look_at_all()
    world.send_full()
    assert "never-there" not in world.meta.items
    assert checks(result)["overlay-stock-unknown"] == 1
    world.offer([each for each in products(40) if each["id"] != "00003"])
    result = world.look()
    assert result.watching == 1
    world.now += INTERVAL
    world.say("stock", [{"id": "00003", "availability": "in stock"}, {"id": "00004", "availability": "out of stock"}])
    result = world.look_at()
    assert result.watching == 1, "a look at an overlay is no look at the full source"
    assert result.newly_leaving == 0
    assert result.head is not None
    assert result.head.overlays[0].sample_unknown == ("00003", "never-there")
    assert world.look().newly_leaving == 1


@pytest.mark.parametrize("cells", ["Keep", "Clear"])
@KINDS
def test_an_empty_cell_says_what_was_declared(tmp_path: Path, cells: str, rows_min: int) -> None:
    world = OverlayWorld(tmp_path, overlay("sale", emptyCells=cells), rows_min=rows_min)
    world.offer(products(10, sale_price="5 EUR"))
    world.say("sale", [{"id": "00003", "sale_price": "4 EUR"}])
    world.look_at_all()
    world.say("sale", [{"id": "00003", "sale_price": ""}])
    assert not world.look_at().needs_read
    assert row(world, "00003")["sale_price"] == ("4.00 EUR" if cells == "Keep" else None)
    assert row(world, "00004")["sale_price"] == "5.00 EUR"


@KINDS
def test_the_values_of_an_overlay_end_with_it(tmp_path: Path, rows_min: int) -> None:
    world = OverlayWorld(tmp_path, overlay("stock"), overlay("sale"), rows_min=rows_min)
    world.offer(products(10))
    world.say("stock", [{"id": "00003", "availability": "out of stock"}])
    world.say("sale", [{"id": "00003", "sale_price": "4 EUR"}])
    world.look_at_all()
    world.declare(overlay("sale"))
    result = world.look_at_all(configuration_digest="c2")
    assert row(world, "00003")["availability"] == "in stock"
    assert row(world, "00003")["sale_price"] == "4.00 EUR"
    assert result.head is not None
    assert [each.name for each in result.head.overlays] == ["sale"]


def test_under_another_mapping_values_are_gathered_anew(tmp_path: Path) -> None:
    world = OverlayWorld(tmp_path, overlay("stock", columns=[{"field": "availability", "column": "a"}]))
    world.offer(products(10))
    world.say("stock", [{"id": "00003", "a": "0", "b": "1"}, {"id": "00004", "a": "0", "b": "0"}])
    world.look_at_all()
    world.declare(overlay("stock", columns=[{"field": "availability", "column": "b"}]))
    world.configurations["stock"] = "2"
    world.say("stock", [{"id": "00003", "a": "0", "b": "1"}])
    world.look_at_all(configuration_digest="c2")
    assert row(world, "00003")["availability"] == "in stock"
    assert row(world, "00004")["availability"] == "in stock"


@KINDS
def test_a_row_that_an_overlay_repairs_is_accepted(tmp_path: Path, rows_min: int) -> None:
    world = OverlayWorld(tmp_path, overlay("prices"), rows_min=rows_min)
    world.offer([*products(10), product("bad", price="cheap")])
    world.say("prices", [{"id": "00001", "price": "1 EUR"}])
    assert checks(world.look_at_all())["price-format"] == 1
    world.say("prices", [{"id": "bad", "price": "7 EUR"}])
    result = world.look_at()
    assert result.head is not None
    assert result.head.judge_again
    assert checks(result)["price-format"] == 1
    result = world.look()
    assert result.head is not None
    assert not result.head.judge_again
    assert "price-format" not in checks(result)
    assert row(world, "bad")["price"] == "7.00 EUR"


def test_a_price_that_only_an_overlay_gives(tmp_path: Path) -> None:
    """Items whose price has not come yet are not sent without one."""
    declared = overlay("prices", idColumn="sku", columns=[{"field": "price", "column": "amount"}], decimal="Comma")
    world = OverlayWorld(tmp_path, declared)
    world.entry = world.entry.model_copy(update={"currency": "EUR"})
    world.offer([{name: value for name, value in each.items() if name != "price"} | {} for each in products(3)])
    text = (world.directory / "exports" / "items.csv").read_text().replace("price,", "cost,", 1)
    world.offer(text.encode())
    world.say("prices", b"sku;amount\n00001;1.299,90\n")
    result = world.look_at_all()
    assert result.head is not None
    assert (result.head.valid, checks(result)["price-required"]) == (1, 2)
    assert row(world, "00001")["price"] == "1299.90 EUR"


REFUSED = {
    "SourceUnreachable": None,
    "SourceEmpty": b"id,availability\n",
    "SourceTooSmall": b"id,availability\n00001,in stock\n",
    "MappingInvalid": b"code,state\n1,2\n3,4\n",
    "SourceMalformed": b"<html><body>Sorry</body></html>\n",
    "SourceWentBack": b"id,availability\n00001,out of stock\n00002,out of stock\n",
}


@pytest.mark.parametrize("reason", REFUSED)
@KINDS
def test_a_broken_overlay_stops_nothing_but_itself(tmp_path: Path, reason: str, rows_min: int) -> None:
    world = OverlayWorld(tmp_path, overlay("stock", evidence={"minRows": 2}), rows_min=rows_min)
    world.offer(products(10))
    world.say("stock", b"id,availability\n00001,out of stock\n00002,out of stock\n")
    world.look_at_all()
    world.say("stock", b"id,availability\n00001,out of stock\n00002,in stock\n00003,out of stock\n")
    world.look_at()
    content = REFUSED[reason]
    if content is None:
        (world.directory / "exports" / "stock.csv").unlink()
    else:
        world.say("stock", content)
    result = world.look_at()
    (said,) = result.overlays
    assert said.refused is not None
    assert said.refused.reason == reason
    assert (result.refused, result.needs_read) == (None, False)
    world.offer(products(10, brand="Other"))
    result = world.look_at_all()
    assert result.overlays[0].refused is not None
    assert row(world, "00001") | {"brand": "Other", "availability": "out of stock"} == row(world, "00001")
    assert row(world, "00003")["availability"] == "out of stock"
    assert row(world, "00002")["availability"] == "in stock"


def test_an_older_version_of_an_overlay_is_taken_when_it_is_asked_for(tmp_path: Path) -> None:
    world = OverlayWorld(tmp_path, overlay("stock"))
    world.offer(products(10))
    world.say("stock", [{"id": "00001", "availability": "out of stock"}])
    world.look_at_all()
    world.say("stock", [{"id": "00001", "availability": "in stock"}])
    world.look_at()
    world.say("stock", [{"id": "00001", "availability": "out of stock"}])
    result = world.look_at()
    assert result.overlays[0].refused is not None
    assert result.overlays[0].refused.reason == "SourceWentBack"
    assert world.look_at(accept=True).overlays[0].refused is None
    assert row(world, "00001")["availability"] == "out of stock"


def test_values_of_one_language_are_never_shown_to_all(tmp_path: Path) -> None:
    world = OverlayWorld(tmp_path, overlay("french", override={"language": "fr_XX"}), overlay("stock"))
    world.offer(products(10))
    world.say("french", [{"id": "00001", "title": "Produit"}])
    world.say("stock", [{"id": "00001", "availability": "0"}])
    result = world.look_at_all()
    assert [each.refused for each in result.overlays] == [None, None]
    assert (row(world, "00001")["title"], row(world, "00001")["availability"]) == ("Product 00001", "out of stock")


def test_rows_of_an_overlay_that_say_nothing_are_counted(tmp_path: Path) -> None:
    world = OverlayWorld(tmp_path, overlay("stock"))
    world.offer(products(10))
    world.say("stock", b"id,availability\n00001,0\n,0\n00002,0,7\n00001,1\n00001,\n")
    result = world.look_at_all()
    found = checks(result)
    assert (found["overlay-stock-malformed"], found["overlay-stock-repeated"]) == (2, 2)
    assert row(world, "00001")["availability"] == "in stock", "the last row with a value"
    result = world.look()
    assert checks(result) == found, "a quiet look says it again"


@KINDS
def test_an_overlay_whose_table_was_lost_is_read_as_if_for_the_first_time(tmp_path: Path, rows_min: int) -> None:
    world = OverlayWorld(tmp_path, overlay("stock"), rows_min=rows_min)
    world.offer(products(10))
    world.say("stock", [{"id": "00001", "availability": "0"}])
    world.look_at_all()
    assert world.head is not None
    world.store.path(world.head.overlays[0].table).unlink()
    assert world.look_at().needs_read
    result = world.look_at_all()
    assert result.refused is None
    assert row(world, "00001")["availability"] == "out of stock"


def test_rows_that_say_again_what_was_said_still_count_where_an_id_is_repeated(tmp_path: Path) -> None:
    world = OverlayWorld(tmp_path, overlay("stock"))
    world.offer(products(10))
    world.say("stock", b"id,price,sale_price\n00001,5 EUR,\n00002,5 EUR,1 EUR\n")
    world.look_at_all()
    reads = (
        (b"00001,6 EUR,\n00001,5 EUR,\n", "5.00 EUR", None),
        (b"00001,5 EUR,\n00001,6 EUR,\n", "6.00 EUR", None),
        (b"00001,7 EUR,\n", "7.00 EUR", None),
        (b"00001,,2 EUR\n", "7.00 EUR", "2.00 EUR"),
        (b"00001,7 EUR,\n00002,5 EUR,1 EUR\n", "7.00 EUR", "2.00 EUR"),
    )
    for content, price, sale in reads:
        world.say("stock", b"id,price,sale_price\n" + content)
        result = world.look_at()
        assert not result.needs_read
        assert (row(world, "00001")["price"], row(world, "00001")["sale_price"]) == (price, sale)
        assert row(world, "00002")["sale_price"] == "1.00 EUR"
        assert result.head is not None
        assert result.head.overlays[0].ids == 2


def test_of_what_is_said_again_nothing_is_written(tmp_path: Path) -> None:
    world = OverlayWorld(tmp_path, overlay("stock"))
    world.offer(products(10))
    world.say("stock", [{"id": "00001", "availability": "0"}, {"id": "00002", "availability": "0"}])
    world.look_at_all()
    world.say("stock", [{"id": "00002", "availability": "0"}, {"id": "00001", "availability": "0"}])
    result = world.look_at()
    assert result.head is not None
    assert (result.head.sequence, result.overlays[0].refused) == (1, None), "another file, and nothing new in it"


def test_too_many_changes_are_read_together_with_the_full_source(tmp_path: Path) -> None:
    world = OverlayWorld(tmp_path, overlay("stock"))
    world.offer(products(40))
    world.say("stock", [{"id": "00001", "availability": "0"}])
    world.look_at_all()
    world.send_full()
    world.say("stock", [{"id": f"{number:05}", "availability": "0"} for number in range(20)])
    result = world.look_at()
    assert (result.needs_read, result.head) == (True, None)
    result = world.look_at_all()
    assert result.newly_unsellable == 19
    assert result.head is not None
    assert manifest_of(world.store, result.head).later == ()  # type: ignore[union-attr]


class Twins:
    """The same sources read by two worlds: one lays changes over what it kept, the other reads everything each time."""

    def __init__(self, directory: Path, partitions: int, rows_min: int) -> None:
        declared = (
            overlay("stock", emptyCells="Clear", columns=[{"field": name, "column": name} for name in STOCK]),
            overlay("extras", columns=[{"field": name, "column": name} for name in EXTRAS]),
        )
        self.worlds: list[OverlayWorld] = []
        for name, keeps in (("keeps", rows_min), ("reads", IN_PLAIN_TABLES)):
            (directory / name).mkdir()
            world = OverlayWorld(directory / name, *declared, partitions=partitions, rows_min=keeps)
            world.guard = world.guard.model_copy(update={"always_allow": 1_000})
            world.entry = world.entry.model_copy(update={"currency": "EUR"})
            self.worlds.append(world)

    def offer(self, base: list[dict[str, str]], tables: dict[str, list[dict[str, str]]]) -> None:
        for world in self.worlds:
            world.offer(base)
            for name, rows in tables.items():
                world.say(name, rows)

    def look(self, kind: str) -> None:
        one, other = self.worlds
        one.now = other.now = max(one.now, other.now) + INTERVAL
        if kind != "both" and one.head is not None:
            result = self.refresh(one, read=False, overlays=one.wanted(accept=True))
            if result.needs_read:
                result = self.refresh(one, overlays=one.wanted(accept=True))
            elif result.head is not None and result.head.judge_again:
                result = self.refresh(one)
        else:
            self.refresh(one, overlays=one.wanted(accept=True))
            result = self.refresh(one)
        self.refresh(other, overlays=other.wanted(accept=True))
        full = self.refresh(other, previous=_forgetful(other))
        self.compare(result, full)

    def refresh(self, world: OverlayWorld, **changes: object) -> RefreshResult:
        """Look, so that nothing ever leaves: one of the worlds looks at the full source more often."""
        changes = {"accept_went_back": True, "interval": timedelta(days=999), **changes}
        return world.refresh(**changes)

    def compare(self, one: RefreshResult, other: RefreshResult) -> None:
        assert one.head is not None
        assert other.head is not None
        assert checks(one) == checks(other)
        assert one.pending == other.pending
        assert (one.head.valid, one.head.invalid, one.head.rows) == (
            other.head.valid,
            other.head.invalid,
            other.head.rows,
        )
        for mine, theirs in zip(one.head.overlays, other.head.overlays, strict=True):
            assert (mine.ids, mine.unknown, mine.sample_unknown) == (theirs.ids, theirs.unknown, theirs.sample_unknown)
        assert rejected(self.worlds[0]) == rejected(self.worlds[1])
        for index in range(len(self.worlds[0].partitions)):
            assert desired(self.worlds[0], index).equals(desired(self.worlds[1], index))

    def send(self, kind: str) -> None:
        for world in self.worlds:
            if kind == "full":
                for index in range(len(world.partitions)):
                    world.send_full(index)
            elif kind == "batch":
                world.send_batch()
        assert self.worlds[0].meta.items == self.worlds[1].meta.items


def _forgetful(world: OverlayWorld) -> object:
    """The last refresh as if it had been of another configuration: everything is read."""
    assert world.head is not None
    return world.head.model_copy(update={"configuration_digest": "other"})


def rejected(world: OverlayWorld) -> list[tuple[str, str]]:
    key = memory_of(world.store, world.head).rejected
    assert key is not None
    return sorted(read_table(world.store, key).select("id", "rules").rows())


STOCK = ("availability", "price", "quantity_to_sell_on_facebook")
EXTRAS = ("price", "custom_label_0", "brand")
VALUES = {
    "availability": ("in stock", "0", "maybe", ""),
    "price": ("1 EUR", "2 USD", "cheap", ""),
    "quantity_to_sell_on_facebook": ("1", "x", ""),
    "custom_label_0": ("a", "b", ""),
    "brand": ("ACME", "x" * 120, ""),
}
SAID = st.tuples(st.sampled_from(["stock", "extras"]), st.integers(0, 32), st.integers(0, 3), st.integers(0, 3))
EDIT = st.tuples(st.sampled_from(["price", "new", "gone", "twice", "broken"]), st.integers(0, 29), st.integers(0, 3))
TURN = st.tuples(
    st.lists(SAID, max_size=6),
    st.lists(EDIT, max_size=3),
    st.sampled_from(["stock", "stock", "overlays", "both"]),
    st.sampled_from(["full", "batch", "batch", "none"]),
)


@settings(
    max_examples=12,
    deadline=None,
    report_multiple_bugs=False,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.lists(TURN, min_size=1, max_size=5), st.sampled_from([1, 3]), st.sampled_from([KEPT_APART, IN_PLAIN_TABLES]))
def test_changes_of_overlays_alone_give_what_everything_gives(
    turns: list[tuple[list[tuple[str, int, int, int]], list[tuple[str, int, int]], str, str]],
    partitions: int,
    rows_min: int,
) -> None:
    with tempfile.TemporaryDirectory() as name:
        twins = Twins(Path(name), partitions, rows_min)
        base = [product(f"{number:03}", item_group_id=f"g{number // 3}" if number % 2 else "") for number in range(30)]
        tables = {
            "stock": [{"id": "001", **dict.fromkeys(STOCK, "")}],
            "extras": [{"id": "001", **dict.fromkeys(EXTRAS, "")}],
        }
        twins.offer(base, tables)
        twins.look("both")
        twins.send("full")
        for said, edits, kind, method in turns:
            for which, at, field, value in said:
                if kind == "stock" != which:
                    continue
                names = STOCK if which == "stock" else EXTRAS
                field_name = names[field % len(names)]
                text = VALUES[field_name][value % len(VALUES[field_name])]
                tables[which] = [
                    *(each for each in tables[which][-8:] if each["id"] != f"{at:03}"),
                    {"id": f"{at:03}", **dict.fromkeys(names, ""), field_name: text},
                ]
            if kind == "both":
                for edit in edits:
                    base = edited(base, edit)
            twins.offer(base, tables)
            twins.look(kind)
            twins.send(method)


def edited(rows: list[dict[str, str]], edit: tuple[str, int, int]) -> list[dict[str, str]]:
    kind, at, how = edit
    at %= len(rows)
    changed = dict(rows[at])
    match kind:
        case "price":
            changed["price"] = f"{how + 5} EUR"
        case "broken":
            changed["price"] = "cheap"
        case "gone":
            return rows[:at] + rows[at + 1 :] if len(rows) > 20 else rows
        case "twice":
            return [*rows, changed | {"price": "77 EUR"}]
        case _:
            changed = product(f"03{how}")
    return [*rows[:at], changed, *rows[at + 1 :]]
