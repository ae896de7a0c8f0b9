"""Random catalogs, random trouble: Meta ends with what the source said, and nothing is believed that is not so."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from controller.ports.preparing import EncodeResult, Fate, Method, Receipt
from controller.preparing.objects import read_table
from controller.products.compare import REPEAT_AFTER
from controller.products.fields import VOLATILE
from controller.products.tables import SNAPSHOT, known
from tests.unit.preparing.world import Row, World, guard, product

IDS = ("00001", "00002", "é-3", "x,4", 'q"5', "s 6")
TEXTS = ("plain", 'Say "hi"', "two\nlines", "日本語, 🙂", "=1+1", "שלום")
ROUNDS_TO_REST = 12


@dataclass(frozen=True)
class Event:
    """One turn of the world."""

    absent: frozenset[str]
    broken: frozenset[str]
    dark: frozenset[str]
    texts: tuple[str, ...]
    repriced: frozenset[str]
    refused: frozenset[str]
    send: str
    fate: str
    late: bool


SOME = st.frozensets(st.sampled_from(IDS), max_size=3)
EVENTS = st.builds(
    Event,
    absent=SOME,
    broken=SOME,
    dark=SOME,
    texts=st.tuples(*[st.sampled_from(TEXTS)] * len(IDS)),
    repriced=SOME,
    refused=SOME,
    send=st.sampled_from(["full", "full", "batch", "batch", "none"]),
    fate=st.sampled_from(["applied", "applied", "applied", "lost", "lost and applied", "never"]),
    late=st.booleans(),
)


class Play:
    def __init__(self, world: World) -> None:
        self.world = world
        self.version = dict.fromkeys(IDS, 0)
        self.highest = dict.fromkeys(IDS, -1)
        world.guard = guard(always_allow=100)

    def turn(self, event: Event) -> None:
        for each in event.repriced:
            self.version[each] += 1
        self.world.offer(list(self.rows(event)) or b"id\n")
        self.world.meta.refuse = set(event.refused)
        if event.late:
            self.world.look()
        else:
            self.world.refresh()
        if self.world.head is not None and event.send != "none":
            self.send(event)
        self.judge()

    def rows(self, event: Event) -> Iterator[Row]:
        for each, text in zip(IDS, event.texts, strict=True):
            if each in event.absent:
                continue
            availability = "out of stock" if each in event.dark else "in stock"
            title = "" if each in event.broken else text
            price = f"{self.version[each]}.00 EUR"
            yield product(each, title=title, availability=availability, price=price)

    def send(self, event: Event) -> None:
        indices = range(len(self.world.partitions)) if event.send == "full" else [None]
        method = Method.REPLACE_FEED if event.send == "full" else Method.ITEMS_BATCH
        for index in indices:
            encoded = self.world.encode(method, index)
            if not encoded.files:
                continue
            receipts = [self.deliver(event, encoded, number) for number in range(len(encoded.files))]
            touched = sorted({each for file in encoded.files for each in file.partitions})
            self.world.acknowledge(method, encoded, receipts, touched)

    def deliver(self, event: Event, encoded: EncodeResult, number: int) -> Receipt:
        file = encoded.files[number]
        meta = self.world.meta
        if event.fate in {"lost", "never"}:
            return self.world.receipt(file, fate=Fate.UNKNOWN if event.fate == "lost" else Fate.NEVER_ACCEPTED)
        if event.send == "full":
            before = set(meta.items)
            lines = self.world.put(encoded)
            meant = self.deletes(encoded)
            assert before - set(meta.items) == meant - (set(IDS) - before)
        else:
            lines = meta.batch(self.world.content(file))
        if event.fate == "lost and applied":
            return self.world.receipt(file, fate=Fate.UNKNOWN)
        return self.world.receipt(file, lines)

    def deletes(self, encoded: EncodeResult) -> set[str]:
        if encoded.deletes is None or encoded.update_only:
            return set()
        return set(read_table(self.world.store, encoded.deletes).get_column("id"))

    def judge(self) -> None:
        """What must hold at every moment."""
        for index, partition in enumerate(self.world.partitions):
            if partition.snapshot is None:
                continue
            for row in read_table(self.world.store, partition.snapshot, list(SNAPSHOT)).iter_rows(named=True):
                self.judge_row(row, index)
        for each, item in self.world.meta.items.items():
            price = int(item["price"].split(".")[0])
            assert price >= self.highest[each], "a price went back"
            self.highest[each] = price

    def judge_row(self, row: dict[str, object], index: int) -> None:
        """What is held as known must be what Meta has."""
        item = self.world.meta.items.get(str(row["id"]))
        for name in VOLATILE:
            if row[known(name)]:
                assert item is not None
                assert item.get(name) == row[name]
                assert self.world.meta.feed[str(row["id"])] == index

    def rest(self) -> None:
        """Faults stop; the source stands still; everything arrives and then nothing is sent."""
        event = Event(
            frozenset({"x,4"}), frozenset(), frozenset(), TEXTS, frozenset(), frozenset(), "full", "applied", True
        )
        rows = {row["id"]: row for row in self.rows(event)}
        for _ in range(ROUNDS_TO_REST):
            self.world.now += REPEAT_AFTER / 8  # a row that Meta refused is tried again after a day
            self.turn(event)
            self.world.send_batch()
            result = self.world.look()
            owed = pl.DataFrame([each.model_dump() for each in result.pending])
            if (
                not owed.select("creations", "volatile", "static", "deletions", "kept_missing")
                .sum()
                .sum_horizontal()
                .item()
            ):
                break
        assert self.world.meta.items == rows
        assert self.world.encode(Method.ITEMS_BATCH).files == ()
        for index in range(len(self.world.partitions)):
            plan = self.world.encode(Method.REPLACE_FEED, index).plan
            assert (plan.create, plan.update, plan.delete) == (0, 0, 0)


@settings(
    max_examples=8,
    deadline=None,
    report_multiple_bugs=False,
    phases=[Phase.reuse, Phase.generate],  # an example takes a second: shrinking would take minutes
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.lists(EVENTS, min_size=1, max_size=8))
def test_whatever_happens_the_world_comes_to_rest(events: list[Event]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        play = Play(World(Path(directory), partitions=2))
        for event in events:
            play.turn(event)
        play.rest()
