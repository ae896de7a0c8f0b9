"""A refresh that parses only what changed gives what parsing everything gives: rows, findings, counts, lines."""

import csv
import io
import json
import random
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from controller.ports.preparing import Findings, Limits, Method, RefreshHead, RefreshResult, RuleCount
from controller.preparing.heads import memory_of, snapshot_rows
from controller.preparing.manifests import is_manifest, manifest_of
from controller.preparing.objects import read_table
from controller.preparing.row_state import desired_of
from tests.unit.preparing.world import World, as_csv, guard, product

ALONE, SHARED = 1 << 40, 1
TOGETHER, SLICED = 1_000_000, 7
TITLES = ("plain", 'Say "hi"', "two\nlines", "日本語, 🙂", "a\r\nb", "x" * 210, "")
GARBAGE = (
    b"only,three,values\n",
    b"\xff\xfe\x00,,,,,,,,\n",
    b",,,,,,,,\n",
    b"\n",
    b'x,"a"b,,,,,,,\n',
    b'"open,,,,,,,,\n',
)


class Twins:
    """The same source read by two worlds: one remembers what it read, the other parses everything each time.

    The one that remembers may take what it compares in slices, where the other takes everything together.
    """

    def __init__(self, directory: Path, partitions: int, shared_bytes_min: int, slice_rows_max: int = TOGETHER) -> None:
        self.worlds: list[World] = []
        for name, rows_min in (("remembers", 1), ("forgets", 10**9)):
            (directory / name).mkdir()
            world = World(directory / name, partitions)
            slice_rows = slice_rows_max if name == "remembers" else TOGETHER
            world.limits = Limits(
                incremental_rows_min=rows_min, shared_bytes_min=shared_bytes_min, slice_rows_max=slice_rows
            )
            world.guard = guard(always_allow=100)
            self.worlds.append(world)

    def look(self, content: bytes) -> RefreshResult:
        results = []
        for world in self.worlds:
            world.offer(content)
            results.append(world.look())
        one, other = results
        assert (one.refused is None) == (other.refused is None)
        if one.head is not None and other.head is not None:
            self.compare(one, other)
        return one

    def compare(self, one: RefreshResult, other: RefreshResult) -> None:
        assert one.head is not None
        assert other.head is not None
        assert one.checks == other.checks
        assert one.pending == other.pending
        assert found(self.worlds[0], one.head) == found(self.worlds[1], other.head)
        kept = {"partitions", "departures", "findings", "etag"}
        assert [(each.index, each.rows) for each in one.head.partitions] == [
            (each.index, each.rows) for each in other.head.partitions
        ]
        assert one.head.model_dump(exclude=kept) == other.head.model_dump(exclude=kept)
        assert held(one) == held(other)
        kept = {"head", "held"}
        assert one.model_dump(exclude=kept) == other.model_dump(exclude=kept)
        assert rejected(self.worlds[0]).equals(rejected(self.worlds[1]))
        for index in range(len(self.worlds[0].partitions)):
            assert desired(self.worlds[0], index).equals(desired(self.worlds[1], index))

    def send(self, method: str) -> None:
        for world in self.worlds:
            if method == "full":
                for index in range(len(world.partitions)):
                    world.send_full(index)
            elif method == "batch":
                world.send_batch()
        one, other = self.worlds
        assert one.meta.items == other.meta.items
        for mine, theirs in zip(one.partitions, other.partitions, strict=True):
            left, right = (
                snapshot_rows(world.store, each.snapshot).sort("id").drop("sequence")
                for world, each in ((one, mine), (other, theirs))
            )
            assert left.equals(right)


def found(world: World, head: RefreshHead) -> tuple[RuleCount, ...]:
    """What the checks found, item by item."""
    assert head.findings is not None
    return Findings.model_validate_json(world.store.read(head.findings) or b"").checks


def held(result: RefreshResult) -> dict[str, object] | None:
    return result.held.model_dump(exclude={"ids"}) if result.held is not None else None


def rejected(world: World) -> pl.DataFrame:
    key = memory_of(world.store, world.head).rejected
    assert key is not None
    return read_table(world.store, key)


def desired(world: World, index: int) -> pl.DataFrame:
    assert world.head is not None
    rows = desired_of(world.store, world.head, index)
    assert rows is not None
    frame = rows.collect()
    return frame.select(sorted(set(frame.columns) - {"_line"})).sort("id")


def written(rows: list[dict[str, str]], garbage: list[tuple[int, bytes]]) -> bytes:
    lines = [as_csv([row])[len(as_csv([])) :] for row in rows]
    for place, content in garbage:
        lines.insert(min(place, len(lines)), content)
    return as_csv([]) + b"".join(lines)


EDIT = st.tuples(
    st.sampled_from(
        ["price", "title", "new", "gone", "twice", "same id", "shuffle", "broken", "dark", "back", "group"]
    ),
    st.integers(0, 39),
    st.integers(0, 6),
)
TURN = st.tuples(
    st.lists(EDIT, max_size=5),
    st.lists(st.tuples(st.integers(0, 45), st.sampled_from(GARBAGE)), max_size=1),
    st.sampled_from(["full", "batch", "batch", "none"]),
)


def edited(rows: list[dict[str, str]], edit: tuple[str, int, int]) -> list[dict[str, str]]:
    kind, at, how = edit
    at %= len(rows)
    row = dict(rows[at])
    match kind:
        case "price":
            row["price"] = f"{how + 1} EUR"
        case "title":
            row["title"] = TITLES[how]
        case "new":
            row = product(f"n{how}")
        case "gone":
            return rows[:at] + rows[at + 1 :] if len(rows) > 20 else rows
        case "twice":
            return [*rows, row]
        case "same id":
            return [*rows[: how * 3], row | {"title": "other"}, *rows[how * 3 :]]
        case "shuffle":
            return random.Random(at).sample(rows, len(rows))
        case "broken":
            row["price"] = "cheap"
        case "dark":
            row["availability"] = "out of stock"
        case "back":
            row = product(row["id"])
        case _:
            row["brand"] = "x" * 20 * how
    return [*rows[:at], row, *rows[at + 1 :]]


@settings(
    max_examples=25,
    deadline=None,
    report_multiple_bugs=False,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    st.lists(TURN, min_size=2, max_size=5),
    st.sampled_from([1, 3]),
    st.sampled_from([ALONE, SHARED]),
    st.sampled_from([TOGETHER, SLICED]),
)
def test_changes_alone_give_what_everything_gives(
    turns: list[tuple[list[tuple[str, int, int]], list[tuple[int, bytes]], str]],
    partitions: int,
    shared: int,
    slice_rows: int,
) -> None:
    with tempfile.TemporaryDirectory() as name:
        twins = Twins(Path(name), partitions, shared, slice_rows)
        rows = [product(f"{number:03}", title=TITLES[number % 5]) for number in range(40)]
        twins.look(written(rows, []))
        twins.send("full")
        for edits, garbage, method in turns:
            for edit in edits:
                rows = edited(rows, edit)
            twins.look(written(rows, garbage))
            if twins.worlds[0].head is not None:
                twins.send(method)


def remembering(directory: Path, count: int = 200, shared: int = ALONE) -> tuple[Twins, list[dict[str, str]]]:
    twins = Twins(directory, 1, shared)
    rows = [product(f"{number:04}") for number in range(count)]
    twins.look(as_csv(rows))
    twins.send("full")
    return twins, rows


def later_tables(twins: Twins) -> int:
    """How many increments the rows are made of: 0 after everything was parsed."""
    manifest = manifest_of(twins.worlds[0].store, twins.worlds[0].head)
    assert manifest is not None
    return len(manifest.later)


@pytest.mark.parametrize("shared", [ALONE, SHARED])
def test_only_changes_are_parsed(tmp_path: Path, shared: int) -> None:
    twins, rows = remembering(tmp_path, shared=shared)
    rows[3]["price"] = "1 EUR"
    rows[100]["title"] = "two\nlines"
    twins.look(as_csv([*rows[:50], *rows[51:]]))
    assert later_tables(twins) == 1
    twins.send("batch")
    rows[3]["price"] = "2 EUR"
    result = twins.look(as_csv([*rows[:50], *rows[51:], product("new")]))
    assert later_tables(twins) == 2
    assert (result.pending[0].volatile, result.pending[0].static, result.pending[0].creations) == (2, 1, 1)
    assert all(is_manifest(each.snapshot) for each in twins.worlds[0].partitions)


def test_a_description_that_holds_whole_rows(tmp_path: Path) -> None:
    twins, rows = remembering(tmp_path)
    inside = as_csv(rows[20:120])[len(as_csv([])) :].decode()
    rows[10]["description"] = inside
    twins.look(as_csv([*rows[:30], *rows[35:]]))


def test_columns_run_together_are_seen(tmp_path: Path) -> None:
    """Fields are told apart: what moves from one into the next is a change."""
    twins, rows = remembering(tmp_path)
    rows[5] |= {"title": "Product 0005D", "description": rows[5]["description"][1:]}
    result = twins.look(as_csv(rows))
    assert result.pending[0].static == 1
    assert later_tables(twins) == 1


def test_too_much_change_makes_a_new_base(tmp_path: Path) -> None:
    twins, rows = remembering(tmp_path)
    for number, step in enumerate((20, 20, 20)):
        for row in rows[number * step : (number + 1) * step]:
            row["price"] = f"{number + 1} EUR"
        twins.look(as_csv(rows))
        twins.send("batch")
    assert later_tables(twins) == 3
    rows[0]["price"] = "77 EUR"
    twins.look(as_csv(rows))
    assert later_tables(twins) == 0


def test_another_header_is_read_as_a_whole(tmp_path: Path) -> None:
    twins, rows = remembering(tmp_path)
    for row in rows:
        row["color"] = ""
    twins.look(as_csv(rows))
    assert later_tables(twins) == 0
    text = io.StringIO()
    writer = csv.DictWriter(text, list(reversed(list(rows[0]))), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    twins.look(text.getvalue().encode())
    assert later_tables(twins) == 0


def test_a_quiet_look_and_a_batch_need_only_what_is_not_at_rest(tmp_path: Path) -> None:
    twins, rows = remembering(tmp_path)
    rows[3]["price"] = "1 EUR"
    twins.look(as_csv(rows))
    world = twins.worlds[0]
    for part in (world.partitions[0].payload, manifest_of(world.store, world.head).tables[0].part.key):  # type: ignore[union-attr]
        assert part is not None
        world.store.path(part).rename(world.store.path(part).with_suffix(".away"))
    assert world.refresh(read=False).pending[0].volatile == 1
    assert world.encode(Method.ITEMS_BATCH).plan.update == 1


def as_json_lines(rows: list[dict[str, str]], *broken: str) -> bytes:
    return "".join(line + "\n" for line in [*map(json.dumps, rows), *broken]).encode()


def test_json_lines_are_known_by_their_bytes(tmp_path: Path) -> None:
    twins = Twins(tmp_path, 1, ALONE)
    rows = [product(f"{number:04}") for number in range(200)]
    twins.look(as_json_lines(rows))
    twins.send("full")
    rows[3]["price"] = "1 EUR"
    rows[150]["title"] = ""
    twins.look(as_json_lines(rows[:-1], '{"id": "broken"'))
    assert later_tables(twins) == 1
    twins.send("batch")
    rows[5]["color"] = "red"
    twins.look(as_json_lines(rows))
    assert later_tables(twins) == 0, "a field that no row had before may be meant for another one"


def test_what_is_guessed_of_the_encoding_is_said_again(tmp_path: Path) -> None:
    twins = Twins(tmp_path, 1, ALONE)
    rows = [product(f"{number:04}", title=f"Größe {number}") for number in range(200)]
    twins.look(as_csv(rows).decode().encode("latin-1"))
    rows[3]["price"], rows[4]["price"] = "cheap", "1 EUR"
    result = twins.look(as_csv(rows).decode().encode("latin-1"))
    assert later_tables(twins) == 1
    assert {"encoding-guessed", "price-format"} <= {each.rule for each in result.checks}
