"""Replace files, update files and batches as they are encoded: the emulator holds what they say."""

from pathlib import Path
from random import Random

import pytest

from controller.ports.preparing import VOLATILE_FIELDS, EncodeResult, Limits, Method
from tests.contract.meta.conftest import Meta
from tests.random_catalogs import catalog, change, differences, export, held
from tests.unit.meta.scripted import make_body
from tests.unit.preparing.world import World, guard

ROWS = 30
SETTLED_SECONDS = 600
VOLATILE = tuple(name for name in VOLATILE_FIELDS if name != "sale_price_effective_date")


class Sending:
    """One catalog with one feed, from the steps to Meta and back."""

    def __init__(self, world: World, meta: Meta, catalog_id: str, feed_id: str) -> None:
        self._world = world
        self._meta = meta
        self.catalog_id = catalog_id
        self._feed_id = feed_id

    async def full(self) -> None:
        await self._uploaded(Method.REPLACE_FEED, self._world.encode(Method.REPLACE_FEED, 0))

    async def updates(self) -> int:
        """Return how many files there were."""
        encoded = self._world.encode(Method.UPDATE_FEED, 0, calls_max=99)
        await self._uploaded(Method.UPDATE_FEED, encoded)
        return len(encoded.files)

    async def batches(self) -> int:
        """Return how many batches there were."""
        encoded = self._world.encode(Method.ITEMS_BATCH, None, calls_max=99)
        for file in encoded.files:
            answer = await self._meta.graph.send_batch(self.catalog_id, make_body(self._world.content(file)))
            assert answer.problems == ()
            assert answer.handle is not None
            self._meta.later(SETTLED_SECONDS)
            status = await self._meta.graph.read_batch(self.catalog_id, answer.handle)
            assert (status.status, status.errors_total) == ("finished", 0)
        self._acknowledged(Method.ITEMS_BATCH, encoded)
        return len(encoded.files)

    async def _uploaded(self, method: Method, encoded: EncodeResult) -> None:
        assert encoded.files
        for number, file in enumerate(encoded.files):
            body = make_body(self._world.content(file))
            name = f"{method}-{number}.csv.gz"
            graph = self._meta.graph
            session = await graph.upload(self.catalog_id, self._feed_id, name, body, update_only=encoded.update_only)
            self._meta.later(SETTLED_SECONDS)
            done = await graph.read_upload(self.catalog_id, session)
            assert (done.error_count, done.detected) == (0, file.rows), await graph.read_upload_problems(
                self.catalog_id, session
            )
        self._acknowledged(method, encoded)

    def _acknowledged(self, method: Method, encoded: EncodeResult) -> None:
        self._world.acknowledge(method, encoded, [self._world.receipt(file) for file in encoded.files], [0])


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("size", ["small", "large"])
async def test_what_is_held_is_what_the_source_said(meta: Meta, tmp_path: Path, seed: int, size: str) -> None:
    rng = Random(seed)
    world = World(tmp_path)
    world.limits = Limits(incremental_rows_min=1 if size == "large" else 10**9)
    world.guard = guard(always_allow=1_000)
    catalog_id = await meta.graph.create_catalog("Shop", "commerce")
    feed_id = await meta.graph.create_feed(catalog_id, "products", currency=None)
    sending = Sending(world, meta, catalog_id, feed_id)
    rows = catalog(rng, ROWS)

    def differing() -> list[str]:
        return differences(held(meta.emulator), rows)

    def offered() -> None:
        world.offer(export(rows))
        world.look()

    offered()
    await sending.full()
    assert differing() == []
    for _ in range(3):
        change(rng, rows)
        offered()
        assert differing()
        assert await sending.updates() >= 1
        assert differing() == []
        change(rng, rows, VOLATILE)
        offered()
        assert await sending.batches() == 1
        assert differing() == []
        assert world.last is not None
    change(rng, rows)
    offered()
    await sending.full()
    assert differing() == []
    assert [(each.volatile, each.static, each.unknown) for each in world.look().pending] == [(0, 0, 0)]
