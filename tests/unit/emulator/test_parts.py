"""Small parts: field lists, bodies, keys, rows as text, what reads see, price formats, switches."""

from array import array
from collections.abc import AsyncIterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hack.emulator import bodies, effects, fieldspec, judging, keysets, switches
from hack.emulator.items import Item, ItemTable, Reads
from hack.emulator.messages import GraphError
from hack.emulator.sections.catalog.product_items import formatted, wanted_ids
from hack.emulator.storage import Store


def test_fields_are_parsed_however_deep() -> None:
    found = fieldspec.parse('a,b{c,d{e}},f.fields(g,h.limit(2)).limit(5).filter({"x":"(y)"})')
    assert [one.name for one in found] == ["a", "b", "f"]
    assert [one.name for one in found[1].fields or ()] == ["c", "d"]
    assert found[2].parameters == {"limit": "5", "filter": '{"x":"(y)"}'}
    assert (found[2].fields or [])[1].parameters == {"limit": "2"}


@given(text=st.text(st.sampled_from('ab,{}()."'), max_size=20))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    code = 2500
    try:
        fieldspec.parse(text)
    except GraphError as error:
        code = error.code
    assert code == 2500


def test_fields_that_nest_too_deeply_are_refused() -> None:
    with pytest.raises(GraphError, match="deeply"):
        fieldspec.parse("a{" * 50 + "b" + "}" * 50)


async def stream(parts: list[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_a_large_body_is_read_through_a_file() -> None:
    begun: list[int] = []
    parts = [b"x" * 1_000_000] * 9
    body = await bodies.collect(stream(parts), lambda: begun.append(1))
    assert len(body) == 9_000_000
    assert not isinstance(body, bytes)
    assert begun == [1]
    assert await bodies.collect(stream([b"small"]), lambda: None) == b"small"
    assert await bodies.collect(stream([]), lambda: begun.append(2)) == b""


def test_a_multipart_body_has_values_and_files() -> None:
    text = (
        b'--B\r\nContent-Disposition: form-data; name="update_only"\r\n\r\ntrue\r\n'
        b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\nContent-Type: text/csv\r\n\r\n'
        b"id,title\r\n1,--B\r\n"
        b"\r\n--B--\r\n"
    )
    found = bodies.parse("", "multipart/form-data; boundary=B", text)
    assert found["update_only"] == "true"
    file = found["file"]
    assert isinstance(file, bodies.UploadedFile)
    assert file.filename == "a.csv"
    assert file.read(0, 100) == b"id,title\r\n1,--B\r\n"


@pytest.mark.parametrize("cut", [5, 40, 120])
def test_a_multipart_body_that_is_cut_off_is_refused(cut: int) -> None:
    text = b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"x" * 100 + b"\r\n--B--\r\n"
    with pytest.raises(GraphError, match="cut off"):
        bodies.parse("", "multipart/form-data; boundary=B", text[:cut])


keys = st.lists(st.integers(0, 50), max_size=60)


@given(one=keys, other=keys)
def test_key_sets_are_sets(one: list[int], other: list[int]) -> None:
    unique, twice = keysets.distinct(array("Q", one))
    assert list(unique) == sorted(set(one))
    assert list(twice) == sorted({key for key in one if one.count(key) > 1})
    both = keysets.distinct(array("Q", other))[0]
    assert list(keysets.union(unique, both)) == sorted({*one, *other})
    assert list(keysets.without(unique, both)) == sorted(set(one) - set(other))
    assert keysets.shared(unique, both) == len(set(one) & set(other))


def test_large_key_sets_are_the_same_sets() -> None:
    numbers = [Random(1).randrange(200_000) for _ in range(150_000)]
    unique, twice = keysets.distinct(array("Q", numbers))
    assert list(unique) == sorted(set(numbers))
    seen: set[int] = set()
    doubled = {key for key in numbers if key in seen or seen.add(key)}  # type: ignore[func-returns-value]
    assert list(twice) == sorted(doubled)
    rids = [f"SKU-{number}" for number in range(120_000)]
    assert keysets.keys_in_order(rids)[:5] == array("Q", map(keysets.item_key, rids[:5]))
    half = keysets.keys_of(rids[:60_000])
    assert keysets.shared(half, keysets.keys_of(rids)) == 60_000
    assert keysets.missing(rids, half) == rids[60_000:]


rows = st.dictionaries(
    st.sampled_from(["id", "title", "price", "color"]), st.text(st.characters(codec="utf-8", exclude_characters="\x1f"))
)


@given(values=rows)
def test_a_row_is_read_as_it_was_written(values: dict[str, str]) -> None:
    table = ItemTable(Store(None))
    layout, text = table.encode(values)
    assert table.decode(layout, text, empty=True) == values
    assert table.decode(layout, text) == {name: value for name, value in values.items() if value}
    assert table.value(layout, text, "title") == values.get("title", "")


def test_packs_are_unpacked_as_they_were() -> None:
    generic: list[judging.Row] = [("U", 1, "A", 3, "x"), ("D", 2, "B", 0, "")]
    for some in (generic[:1], generic):
        found = effects.unpack(effects.pack(some))
        assert isinstance(found, list)
        assert [tuple(row) for row in found] == some
    uniform = effects.Uniform("R", 3, [4, 9], ["A", "B"], ["x\x1fy", "z\x1f"])
    unpacked = effects.unpack(effects.pack_uniform(uniform))
    assert unpacked == uniform


def an_item(price: str, n: int = 1) -> Item:
    return Item(n, 1, "A", 5, 0, price, 0, 0)


def test_reads_see_changes_in_their_order() -> None:
    reads = Reads()
    reads.changed((1, "A"), None, deleted=False, visible=10)
    reads.changed((1, "A"), an_item("one"), deleted=False, visible=5)
    assert reads.seen(an_item("two"), 4) is None
    assert reads.seen(an_item("two"), 11) == an_item("two"), "a later change is not seen before an earlier one"
    reads.forget(11)
    assert not reads.past


def test_a_deleted_item_is_seen_for_a_while_and_its_successor_is_another() -> None:
    reads = Reads()
    reads.changed((1, "A"), an_item("old"), deleted=True, visible=10)
    assert list(reads.ghosts(9)) == [an_item("old")]
    reads.changed((1, "A"), None, deleted=False, visible=12)
    assert reads.seen(an_item("new", n=2), 9) is None
    assert list(reads.ghosts(10)) == []
    assert reads.seen(an_item("new", n=2), 12) == an_item("new", n=2)


@pytest.mark.parametrize(
    ("price", "expected"),
    [("0.5 EUR", "€0.50"), ("1000000 USD", "$1,000,000.00"), ("7.999 USD", "$8.00"), ("nonsense", None), ("", None)],
)
def test_formatted_prices(price: str, expected: str | None) -> None:
    assert formatted(price) == expected


def test_the_empty_filter_names_nothing() -> None:
    assert wanted_ids({}) is None
    assert wanted_ids({"retailer_id": {"eq": "A"}}) == ["A"]


def test_every_switch_has_a_worst_default_and_another_setting() -> None:
    defaults = switches.Switches()
    for choice in switches.CHOICES:
        assert len(choice.settings) >= 2
        assert getattr(defaults, choice.name) == choice.settings[0], choice.name
    for amount in switches.AMOUNTS:
        assert 0 <= getattr(defaults, amount.name) <= amount.most, amount.name
    described = {*(one.name for one in switches.CHOICES), *(one.name for one in switches.AMOUNTS)}
    assert set(defaults.show()) == described


def test_switches_are_drawn_from_the_seed() -> None:
    drawn = [switches.draw(Random(seed)).show() for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0]["test_token"] == "accepted"
    for seed in range(20):
        again = switches.Switches()
        for name, value in switches.draw(Random(seed)).show().items():
            again.set(name, value)
