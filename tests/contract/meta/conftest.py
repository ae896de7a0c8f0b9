"""The emulator behind both of its fronts, and the adapter in front of it."""

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

import pytest

from controller.meta.client import HttpxGraph, HttpxGraphFactory
from controller.ports.meta import Credentials, Secret
from hack.emulator import jsons
from hack.emulator.app import Emulator
from hack.emulator.serve import Front
from hack.emulator.transport import EmulatorTransport
from hack.emulator.world import TEST_APP, TEST_APP_SECRET, TEST_BUSINESS, TEST_TOKEN
from tests.unit.meta.scripted import RecordingGovernor, make_body

START = datetime(2026, 9, 1, 12, 0, tzinfo=UTC)
PROMPT: dict[str, jsons.Json] = {
    "listing_lag_seconds": 0,
    "reads_lag_seconds": 0,
    "effects_after_finished_seconds": 0,
    "usage_header_after_calls": 0,
    "throttle_penalty_seconds": 0,
}
"""Switches that keep tests about shapes free of waiting."""
HEADINGS = "id,title,description,availability,condition,price,link,image_link,brand,item_group_id"


@dataclass
class EmulatedClock:
    emulator: Emulator

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.emulator.now(), UTC)


@dataclass
class Meta:
    emulator: Emulator
    factory: HttpxGraphFactory
    governor: RecordingGovernor = field(default_factory=RecordingGovernor)

    def connect(
        self,
        token: str = TEST_TOKEN,
        *,
        app_secret: str | None = None,
        version: str = "v26.0",
        app_id: str | None = TEST_APP,
    ) -> HttpxGraph:
        secret = Secret(app_secret) if app_secret is not None else None
        return self.factory.connect(
            Credentials(TEST_BUSINESS, Secret(token), version, app_id, secret, timeout_seconds=5.0)
        )

    @property
    def graph(self) -> HttpxGraph:
        return self.connect()

    def later(self, seconds: float) -> None:
        self.emulator.move_clock(seconds)

    def arm(self, kind: str, **wish: jsons.Json) -> None:
        self.emulator.faults.arm({"kind": kind, **wish})

    def switch(self, **settings: jsons.Json) -> None:
        for name, value in settings.items():
            self.emulator.switches.set(name, value)


@pytest.fixture(params=["in-process", "http"])
async def meta(request: pytest.FixtureRequest) -> AsyncIterator[Meta]:
    emulator = Emulator(clock=START.timestamp, seed=1, switches=dict(PROMPT))
    governor = RecordingGovernor()
    async with _factory(emulator, governor, request.param) as factory:
        yield Meta(emulator, factory, governor)


@asynccontextmanager
async def _factory(emulator: Emulator, governor: RecordingGovernor, kind: str) -> AsyncIterator[HttpxGraphFactory]:
    clock = EmulatedClock(emulator)
    if kind == "in-process":
        factory = HttpxGraphFactory(
            "https://graph.facebook.com", governor, clock, lambda: EmulatorTransport(emulator), traced=True
        )
        yield factory
        await factory.close()
        emulator.close()
        return
    front = Front(emulator)
    await front.start()
    factory = HttpxGraphFactory(front.url, governor, clock)
    try:
        yield factory
    finally:
        await factory.close()
        await front.stop()


def row(item_id: str, *, price: str = "34.00 GBP", title: str = "A shirt", group: str = "") -> str:
    link = f"https://shop.example/{quote(item_id)}"
    return f"{item_id},{title},A plain shirt of cotton,in stock,new,{price},{link},{link}.png,Acme,{group}"


def make_file(*rows: str) -> bytes:
    return gzip.compress("\n".join([HEADINGS, *rows, ""]).encode(), mtime=0)


async def send_file(meta: Meta, catalog_id: str, feed_id: str, *rows: str, update_only: bool = False) -> str:
    """Upload a file and let its session end."""
    body = make_body(make_file(*rows))
    upload_id = await meta.graph.upload(catalog_id, feed_id, "shop-0.csv.gz", body, update_only=update_only)
    meta.later(600)
    return upload_id


APP_SECRET = TEST_APP_SECRET
