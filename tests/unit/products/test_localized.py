"""Values for one language or country, as decisions: whatever happens on the way, Meta ends with what is declared."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.products import localized
from controller.products.acknowledge import Line
from controller.products.localized import Answer
from controller.products.tables import LOCALE

NOW = datetime(2026, 1, 5, tzinfo=UTC)
FIELDS = ("title", "color", "image[0].url")
ITEMS = ("a", "b", "c")
FRENCH = {"type": "LANGUAGE", "value": "fr_XX"}


@pytest.mark.parametrize("name", ["price", "sale_price", "unit_price", "base_price", "status", "availability"])
def test_prices_and_stock_differ_by_country_alone(name: str) -> None:
    assert localized.may_carry(name, "COUNTRY")
    assert not localized.may_carry(name, "LANGUAGE")
    assert not localized.may_carry(name, "LANGUAGE_AND_COUNTRY")


@pytest.mark.parametrize("kind", ["LANGUAGE", "COUNTRY", "LANGUAGE_AND_COUNTRY"])
def test_images_differ_by_their_nested_name(kind: str) -> None:
    assert not localized.may_carry("image_link", kind)
    assert localized.may_carry("image[0].url", kind)
    assert localized.may_carry("title", kind)


def rows(*values: Mapping[str, str | None]) -> pl.DataFrame:
    return pl.DataFrame(values, schema=dict.fromkeys(("id", *FIELDS), pl.String))


def test_a_hash_is_of_the_values_and_of_nothing_else() -> None:
    frame = rows({"id": "a", "title": "t", "color": None}, {"id": "b", "title": "t", "color": ""}, {"id": "c"})
    found = localized.judge(frame, FIELDS).rows.get_column("row_hash").to_list()
    assert found[0] == found[1], "an empty value is none"
    assert found[2] is None
    more = frame.with_columns(size=pl.lit(None, dtype=pl.String))
    assert localized.judge(more, (*FIELDS, "size")).rows.get_column("row_hash").to_list() == found
    swapped = rows({"id": "a", "title": None, "color": "t"})
    assert localized.judge(swapped, FIELDS).rows.get_column("row_hash").to_list()[0] != found[0]


def test_a_value_is_judged_alone() -> None:
    """A row needs no title, no price and no brand, because the item has them."""
    frame = pl.DataFrame(
        {"id": ["a", "b", "c"], "title": ["t" * 201, "t", None], "link": ["x", "https://a", None], "brand": [None] * 3},
        schema=dict.fromkeys(("id", "title", "link", "brand"), pl.String),
    )
    found = localized.judge(frame, ("title", "link", "brand"))
    assert found.rows.get_column("unfit").to_list() == [True, False, False]
    assert {each.rule for each in found.findings} == {"title-length", "link-url"}
    (said,) = localized.finding("french", found.findings)
    assert (said.rule, said.level, said.count, said.sample_ids) == ("overlay-french", "Error", 2, ("a",))
    assert localized.finding("french", []) == []


NESTED = {
    "a list of images": (
        {"image[0].url": "https://a/0", "image[1].url": "https://a/1", "image[0].tag[0]": "front"},
        {"image": [{"url": "https://a/0", "tag": ["front"]}, {"url": "https://a/1"}]},
    ),
    "places without a value close up": (
        {"image[0].url": "", "image[1].url": "https://a/1"},
        {"image": [{"url": "https://a/1"}]},
    ),
    "an empty list clears": ({"image[0].url": ""}, {"image": []}),
    "an address of an app": ({"applink.ios_url": "acme://a"}, {"applink": {"ios_url": "acme://a"}}),
    "a number": ({"quantity_to_sell_on_facebook": "7"}, {"quantity_to_sell_on_facebook": 7}),
    "JSON": ({"unit_price": '{"value": 1}'}, {"unit_price": {"value": 1}}),
    "what only looks like JSON": ({"unit_price": "{1"}, {"unit_price": "{1"}),
    "texts": ({"title": "{1}", "color": ""}, {"title": "{1}", "color": ""}),
}


@pytest.mark.parametrize("case", NESTED)
def test_values_are_written_as_a_batch_takes_them(case: str) -> None:
    values, wanted = NESTED[case]
    assert localized.nested(values) == wanted


def test_what_was_read_back_is_equal_in_every_field_or_proves_nothing() -> None:
    assert localized.same_as_read({"title": "a  b", "color": ""}, {"title": "a b"})
    assert not localized.same_as_read({"title": "a"}, {"title": "b"})
    assert not localized.same_as_read({"title": "a", "color": "red"}, {"title": "a"})
    assert not localized.same_as_read({"title": "a", "color": ""}, {"title": "a", "color": "red"})
    assert not localized.same_as_read({"title": "a"}, None)
    assert localized.same_as_read({}, {}), "a removal: nothing is there"
    assert not localized.same_as_read({}, {"title": "a"})
    content = json.dumps({"id": "a", "title": "t", "rating_count": 7, "color": ""}).encode()
    assert localized.read_back(content) == {"a": {"title": "t", "rating_count": "7"}}


class World:
    """Meta, an overlay, and what is known of Meta, for one localization."""

    def __init__(self, *, merges: bool) -> None:
        self.merges = merges
        self.meta: dict[str, dict[str, object]] = {}
        self.wanted: dict[str, dict[str, str]] = {}
        self.held = pl.DataFrame(schema=LOCALE)
        self.now = NOW

    def compared(self) -> pl.LazyFrame:
        said = rows(*({"id": item, **values} for item, values in self.wanted.items()))
        narrow = localized.judge(said, FIELDS).rows.lazy()
        items = pl.LazyFrame({"id": ITEMS, "leaving": [False] * len(ITEMS)})
        return localized.compare(narrow, self.held.lazy(), items, self.now)

    def operation(self, *, arrives: bool, answered: bool, refused: frozenset[str] = frozenset()) -> int:
        """Send what is owed. `arrives`: Meta got it; `answered`: we know of it."""
        owed = localized.to_send(self.compared()).collect().sort("id")
        texts = rows(*({"id": item, **self.wanted.get(item, {})} for item in ITEMS))
        said = list(
            localized.said_of(
                owed.join(texts, on="id").with_columns(pl.lit(0, pl.UInt16).alias("_partition")), FIELDS, FRENCH, FIELDS
            )
        )
        if not said:
            return 0
        for each in said if arrives else ():
            self._take(orjson.loads(each.request), refused)
        sent = localized.sent_table([each.row for each in said])
        lines = [Line(str(each.row["id"]), "fatal", "no", None) for each in said if each.row["id"] in refused]
        answer = Answer(lines if answered else (), None, applied=answered, unnamed=False)
        judged = localized.judge_sent(sent, answer)
        before = self.held.join(sent.select("id"), on="id", how="semi")
        others = self.held.join(sent.select("id"), on="id", how="anti")
        self.held = pl.concat([others, localized.next_rows(before, judged, self.now)])
        return len(said)

    def _take(self, request: dict[str, Any], refused: frozenset[str]) -> None:
        data = dict(request["data"])
        item = str(data.pop("id"))
        if item in refused:
            return
        if request["method"] == "DELETE":
            self.meta.pop(item, None)
            return
        before = self.meta.get(item, {}) if self.merges else {}
        self.meta[item] = {name: value for name, value in (before | data).items() if value not in ("", [])}

    def in_step(self) -> bool:
        wanted = {item: {n: v for n, v in values.items() if v} for item, values in self.wanted.items()}
        return self.meta == {item: localized.nested(values) for item, values in wanted.items() if values}


VALUES = st.fixed_dictionaries({}, optional={name: st.sampled_from(("", "x", "y")) for name in FIELDS})
OVERLAY = st.dictionaries(st.sampled_from(ITEMS), VALUES)
STEPS = st.lists(
    st.tuples(OVERLAY, st.booleans(), st.booleans(), st.frozensets(st.sampled_from(ITEMS), max_size=1)), max_size=6
)


@settings(deadline=None, max_examples=120)
@given(merges=st.booleans(), steps=STEPS, last=OVERLAY)
def test_whatever_happened_before_meta_ends_with_what_is_declared(
    merges: bool,
    steps: list[tuple[dict[str, dict[str, str]], bool, bool, frozenset[str]]],
    last: dict[str, dict[str, str]],
) -> None:
    world = World(merges=merges)
    for wanted, arrives, answered, refused in steps:
        world.wanted = wanted
        # What is answered has arrived; what is not may have, and then nobody heard of a refusal either.
        world.operation(arrives=arrives or answered, answered=answered, refused=refused)
    world.wanted = last
    world.now += timedelta(days=2)
    world.operation(arrives=True, answered=True)
    assert world.in_step()
    assert world.operation(arrives=True, answered=True) == 0, "nothing is owed any more"


def test_after_a_loss_what_nobody_names_is_removed() -> None:
    world = World(merges=True)
    world.wanted = {item: {"title": "x", "color": "y"} for item in ITEMS}
    world.operation(arrives=True, answered=True)
    world.held = localized.unknown_rows(pl.Series("id", ITEMS))
    world.wanted = {"a": {"title": "x"}}
    assert localized.counts(world.compared()) == {
        "ids": 1,
        "acknowledged": 0,
        "changes": 3,
        "refused": 0,
        "unknown": 3,
    }
    assert world.operation(arrives=True, answered=True) == 3
    assert world.in_step()


def test_a_removal_that_is_refused_is_done_only_where_nobody_knew_of_a_value() -> None:
    world = World(merges=True)
    world.held = localized.unknown_rows(pl.Series("id", ["a"]))
    world.operation(arrives=True, answered=True, refused=frozenset("a"))
    assert world.held.height == 0
    world.wanted = {"a": {"title": "x"}}
    world.operation(arrives=True, answered=True)
    world.wanted = {}
    world.operation(arrives=True, answered=True, refused=frozenset("a"))
    assert world.held.height == 1
    assert world.operation(arrives=True, answered=True) == 0, "not before a day has passed"
    world.now += timedelta(days=2)
    assert world.operation(arrives=True, answered=True) == 1
    assert world.in_step()
