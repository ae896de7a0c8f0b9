"""Files of full sends: the same bytes however they are made, texts that are named instead of copied, clearing."""

import csv
import gzip
import io
import os
import random
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from isal import isal_zlib

from controller.faults import Fault
from controller.ports.preparing import (
    REQUESTS,
    AcknowledgeRequest,
    AcknowledgeResult,
    EncodeResult,
    Fate,
    Limits,
    Method,
    Receipt,
)
from controller.preparing import acknowledging, encoding
from controller.preparing.context import Context
from controller.preparing.heads import snapshot_rows
from controller.preparing.kept import columns, kept, texts
from controller.preparing.manifests import is_manifest, read_sent_manifest
from controller.preparing.packing import GZIP_LEVEL, PIECE_BYTES, Packing
from controller.preparing.row_state import texts_of
from tests.unit.preparing.world import CATALOG, INTERVAL, START, Row, World, as_csv, fatal, guard, product, products

REPOSITORY = Path(__file__).parents[3]
LARGE = 21_000
"""Rows beyond which a file is not sorted."""
KEEPING = Limits(incremental_rows_min=1)
"""Everything that only large catalogs keep."""


def large(directory: Path, rows: list[Row]) -> World:
    world = World(directory)
    world.limits = KEEPING
    world.guard = guard(always_allow=1_000)
    world.offer(rows)
    world.refresh()
    return world


@pytest.mark.parametrize("size", [1, 777, PIECE_BYTES - 1, PIECE_BYTES, 3 * PIECE_BYTES + 5])
def test_packed_bytes_are_a_function_of_the_text_alone(size: int) -> None:
    text = random.Random(1).randbytes(400_000).hex().encode() * 3
    whole = isal_zlib.compressobj(GZIP_LEVEL, isal_zlib.DEFLATED, 31)
    pieces = [text[start : start + PIECE_BYTES] for start in range(0, len(text), PIECE_BYTES)]
    expected = b"".join(whole.compress(each) for each in pieces) + whole.flush()
    target = io.BytesIO()
    step = max(size, 997)
    with Packing(target, len(text)) as packing:
        for start in range(0, len(text), step):
            packing.write(memoryview(text)[start : start + step])
    assert target.getvalue() == expected
    assert packing.size == len(expected)
    assert gzip.decompress(expected) == text


def test_a_full_disk_is_said_at_the_end_and_nothing_hangs() -> None:
    def write_much() -> None:
        with Path("/dev/full").open("wb", buffering=0) as full, Packing(full, 1 << 40) as packing:
            for _ in range(40):
                packing.write(bytes(PIECE_BYTES))

    with pytest.raises(OSError, match="No space left"):
        write_much()


def test_a_file_that_meta_would_not_take_stalls(tmp_path: Path) -> None:
    world = large(tmp_path, products(50))
    with pytest.raises(Fault) as caught:
        world.encode(Method.REPLACE_FEED, 0, limits=Limits(upload_bytes_max=500))
    assert caught.value.reason == "PayloadTooLarge"


class TestNamedTexts:
    def test_what_was_sent_holds_no_texts_and_is_what_is_kept(self, tmp_path: Path) -> None:
        world = large(tmp_path, products(40))
        encoded, _ = world.send_full()
        assert world.partitions[0].payload == encoded.files[0].sent
        manifest = read_sent_manifest(world.store, encoded.files[0].sent)
        assert "title" not in pl.read_parquet_schema(world.store.path(manifest.index.key))
        assert [part.key for part in manifest.tables] == [key for key in world.store.keys(CATALOG) if "desired" in key]

    def test_rows_changed_since_the_base_are_named_where_they_stand(self, tmp_path: Path) -> None:
        rows = products(40)
        world = large(tmp_path, rows)
        world.send_full()
        rows[3] = product("00003", title="Three")
        world.offer(rows)
        world.look()
        world.send_full()
        found = kept(world.store, world.partitions[0].payload)
        assert len(found.tables) == 2
        assert titles(world)["00003"] == "Three"
        assert len(titles(world)) == 40
        assert world.meta.items["00003"]["title"] == "Three"

    def test_few_rows_of_an_old_table_are_copied_so_that_the_table_can_go(self, tmp_path: Path) -> None:
        rows = products(40)
        world = large(tmp_path, rows)
        world.send_full()
        base = kept(world.store, world.partitions[0].payload).tables[0].key
        world.meta.refuse = {"00007"}
        world.limits = Limits(incremental_rows_min=10**9)  # everything is read and written anew
        world.offer([{**row, "title": f"New {row['id']}"} for row in rows])
        world.look()
        world.send_full()
        assert base not in [part.key for part in kept(world.store, world.partitions[0].payload).tables]
        assert titles(world)["00007"] == "Product 00007"
        assert titles(world)["00008"] == "New 00008"

    def test_an_answer_that_never_comes_changes_nothing_that_is_kept(self, tmp_path: Path) -> None:
        world = large(tmp_path, products(40))
        world.send_full()
        before = titles(world)
        world.offer(products(40, title="New"))
        world.look()
        encoded = world.encode(Method.REPLACE_FEED, 0)
        receipt = world.receipt(encoded.files[0], fate=Fate.UNKNOWN)
        world.acknowledge(Method.REPLACE_FEED, encoded, [receipt], [0])
        assert titles(world) == before


def titles(world: World) -> dict[str, str]:
    found = kept(world.store, world.partitions[0].payload)
    frames = [each.select("id", "title") for each in texts(world.store, found, found.ids().collect())]
    rows = pl.concat(frames).collect()
    assert rows.get_column("id").is_unique().all()
    return dict(rows.iter_rows())


def test_a_column_that_leaves_the_source_is_cleared_by_an_update(tmp_path: Path) -> None:
    """An update changes only what it names: so the file names what Meta has of the last send."""
    world = World(tmp_path)
    world.offer(products(3, color="red"))
    world.refresh()
    world.send_full()
    assert world.meta.items["00001"]["color"] == "red"
    world.offer(products(3))
    world.look()
    encoded, _ = world.send_full()
    assert encoded.update_only_reason == "UntestedRows"
    assert gzip.decompress(world.content(encoded.files[0])).split(b"\n")[0].endswith(b",color")
    assert "color" not in columns(world.store, kept(world.store, world.partitions[0].payload))
    world.look()
    encoded, _ = world.send_full()
    assert not encoded.update_only
    assert b"color" not in gzip.decompress(world.content(encoded.files[0]))


@dataclass(frozen=True)
class Case:
    """What a second round does to a catalog of twenty products in two partitions."""

    repriced: frozenset[int]
    retitled: frozenset[int]
    gone: frozenset[int]
    new: int
    refused: frozenset[int]
    fate: Fate
    slice_rows: int
    remembers: bool


SOME = st.frozensets(st.integers(0, 19), max_size=8)
CASES = st.builds(
    Case,
    repriced=SOME,
    retitled=SOME,
    gone=SOME,
    new=st.integers(0, 3),
    refused=SOME,
    fate=st.sampled_from([Fate.APPLIED, Fate.APPLIED, Fate.UNKNOWN]),
    slice_rows=st.integers(1, 12),
    remembers=st.booleans(),
)


class Twins:
    """One world, in which every step after the first round runs twice: as a whole, and in small ranges."""

    def __init__(self, directory: Path, case: Case) -> None:
        self.world = World(directory, partitions=2)
        self.world.limits = Limits(incremental_rows_min=1 if case.remembers else 10**9)
        self.world.guard = guard(always_allow=1_000)
        self.case = case
        self.context = Context(self.world.store)

    def round(self) -> None:
        world, case = self.world, self.case
        world.offer(products(20))
        world.refresh()
        for index in range(2):
            world.send_full(index)
        rows = [
            product(
                f"{number:05}",
                price="5 EUR" if number in case.repriced else "9.99 EUR",
                title=f"{'New' if number in case.retitled else 'Product'} {number:05}",
            )
            for number in range(20 + case.new)
            if number not in case.gone
        ]
        for _ in range(3):
            world.now += INTERVAL
            world.offer(as_csv(rows))
            world.refresh()

    def encode(self, method: Method, index: int | None) -> EncodeResult:
        one, other = (
            encoding.run(self.world.encode_request(method, index, calls_max=9), self.context, slice_rows)
            for slice_rows in (10**6, self.case.slice_rows)
        )
        assert [self.world.content(file) for file in one.files] == [self.world.content(file) for file in other.files]
        assert one.plan == other.plan
        assert (one.digest, one.update_only_reason, one.more) == (other.digest, other.update_only_reason, other.more)
        for file, twin in zip(one.files, other.files, strict=True):
            assert self.said(file.sent).equals(self.said(twin.sent))
        return one

    def said(self, key: str) -> pl.DataFrame:
        if is_manifest(key):
            key = read_sent_manifest(self.world.store, key).index.key
        return pl.read_parquet(self.world.store.path(key))

    def acknowledge(self, method: Method, encoded: EncodeResult, receipt: Receipt, index: int) -> None:
        world = self.world
        assert world.head is not None
        results = []
        for slice_rows in (10**6, self.case.slice_rows):
            request = AcknowledgeRequest(
                store=world.store.url,
                prefix=world.prefix(),
                catalog_id=CATALOG,
                now=world.now,
                method=method,
                update_only=encoded.update_only,
                partitions=(world.partitions[index],),
                receipts=(receipt,),
                deletes=encoded.deletes,
                refresh=world.head,
                guard=world.guard,
                limits=world.limits,
            )
            results.append(acknowledging.run(request, self.context, slice_rows))
        self.compare(*results)
        world.partitions = tuple(results[0].partitions[0] if each.index == index else each for each in world.partitions)

    def compare(self, one: AcknowledgeResult, other: AcknowledgeResult) -> None:
        store = self.world.store
        assert one.model_copy(update={"partitions": ()}) == other.model_copy(update={"partitions": ()})
        for left, right in zip(one.partitions, other.partitions, strict=True):
            assert snapshot_rows(store, left.snapshot).equals(snapshot_rows(store, right.snapshot))
            rows = [kept(store, each.payload).index.sort("id").collect() for each in (left, right)]
            assert rows[0].equals(rows[1])


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CASES)
def test_results_do_not_depend_on_the_size_of_a_range(case: Case) -> None:
    with tempfile.TemporaryDirectory() as directory:
        twins = Twins(Path(directory), case)
        assert twins.world.now == START
        twins.round()
        for index in range(2):
            encoded = twins.encode(Method.REPLACE_FEED, index)
            if encoded.files:
                sent = set(twins.said(encoded.files[0].sent).get_column("id"))
                lines = [fatal(f"{number:05}") for number in case.refused if f"{number:05}" in sent]
                receipt = twins.world.receipt(encoded.files[0], lines, fate=case.fate)
                twins.acknowledge(Method.REPLACE_FEED, encoded, receipt, index)
        twins.encode(Method.ITEMS_BATCH, None)


def test_large_files_do_not_depend_on_threads_or_blocks(tmp_path: Path) -> None:
    """In the order of the source; whole processes, because the number of threads is chosen when one starts."""
    rows = [product(f"{number * 7_919 % LARGE:05}") for number in range(LARGE)]
    world = large(tmp_path, rows)
    rows[5] = rows[5] | {"title": "Five"}
    world.offer(rows)
    world.look()
    contents = []
    for threads in ("1", "3"):
        question, answer = tmp_path / f"question-{threads}.json", tmp_path / f"answer-{threads}.json"
        question.write_bytes(REQUESTS.dump_json(world.encode_request(Method.REPLACE_FEED, 0)))
        command = [sys.executable, "-m", "controller", "prepare", str(question), str(answer)]
        environment = {**os.environ, "POLARS_MAX_THREADS": threads}
        subprocess.run(command, env=environment, check=True, stdin=subprocess.DEVNULL, cwd=REPOSITORY)
        encoded = EncodeResult.model_validate_json(answer.read_bytes())
        contents.append(world.content(encoded.files[0]))
    assert contents[0] == contents[1]
    said = [row["id"] for row in csv.DictReader(io.StringIO(gzip.decompress(contents[0]).decode(), newline=""))]
    assert said == [row["id"] for row in rows if row != rows[5]] + [rows[5]["id"]], "what changed stands behind"
    assert world.head is not None
    for each in texts_of(world.store, world.head, 0):
        small = replace(each, part=replace(each.part, bytes=10**12))
        assert pl.concat(small.blocks()).equals(each.rows.collect())
        assert each.table.collect().height < LARGE or len(list(small.blocks())) > 40


def test_what_is_kept_has_the_earlier_row_of_what_was_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.offer(products(3, title="Old"))
    world.refresh()
    world.send_full()
    world.offer(products(3, title="New"))
    world.refresh()
    world.meta.refuse = {"00001"}
    world.send_full()
    found = kept(world.store, world.partitions[0].payload)
    rows = pl.concat(texts(world.store, found, found.ids().collect()), how="diagonal").sort("id")
    assert rows.select("id", "title").collect().rows() == [("00000", "New"), ("00001", "Old"), ("00002", "New")]
