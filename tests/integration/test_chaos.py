"""The real operator on a real API server, killed at random points of one continuing world, and paused past its lease.

Everything is the production process under its real role; Meta is the emulator over HTTP with a fast clock. The end is
judged by what Meta holds and by its auditor.
"""

import json
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from hack.controlplane.cluster import ControlPlane
from hack.demo import edits, export, products, world
from hack.demo.meta import Meta, differences
from hack.demo.options import Options
from hack.emulator import jsons
from hack.emulator.world import TEST_TOKEN
from tests.integration.operator_runs import eventually, running

CATALOG = "germany"
SPEED = 40.0
PRODUCTS = 300
KILLS = 20
KILLS_IN_SHORT = 4
LEASE_SECONDS = 5.0
CONVERGE_SECONDS = 150.0
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Scene:
    """One shop, one stand-in for Meta, one namespace."""

    plane: ControlPlane
    namespace: str
    places: world.Places
    options: Options
    meta: Meta

    def arguments(self) -> list[str]:
        return [
            "run",
            f"--kubeconfig={self.plane.operator_kubeconfig}",
            f"--endpoint={self.meta.url}",
            f"--store-url={self.places.store.as_uri()}",
            f"--allow-source-network={world.LOOPBACK}",
            f"--watch-namespaces={self.namespace}",
            "--http-host=127.0.0.1",
            "--http-port=0",
            f"--lease-seconds={LEASE_SECONDS}",
            "--lease-renew-seconds=3",
            "--lease-retry-seconds=0.2",
            *world.timing_flags(SPEED),
        ]

    def catalog(self) -> jsons.Object:
        text = self.plane.kubectl("get", "catalog", CATALOG, "--namespace", self.namespace, "--output=json")
        return jsons.as_object(json.loads(text))

    def conditions(self) -> dict[str, str]:
        status = jsons.as_object(self.catalog().get("status", {}))
        listed = [jsons.as_object(one) for one in jsons.as_list(status.get("conditions", []))]
        return {jsons.as_text(one["type"]): jsons.as_text(one["status"]) for one in listed}

    def catalog_id(self) -> str:
        return jsons.as_text(jsons.as_object(self.catalog().get("status", {})).get("catalogID"))

    def converged(self) -> bool:
        """Meta holds what the export says, and nothing is under way."""
        catalog_id = self.catalog_id()
        if not catalog_id or self.meta.busy():
            return False
        return not differences(export.read(self.places.export), self.meta.items(catalog_id))


@pytest.fixture
def scene(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Scene]:
    places = world.prepare(tmp_path / "world")
    options = replace(Options(), directory=places.directory, seed=random.SystemRandom().randrange(1 << 30), speed=SPEED)
    export.write(places.export, [product.row() for product in products.catalog(PRODUCTS, 1)])
    try:
        emulator = world.start_emulator(places, options)
        source = world.start_source(places, options, emulator)
        meta = Meta(emulator.url)
        control_plane.kubectl("apply", "--namespace", namespace, "--filename=-", input=manifest(source.url))
        yield Scene(control_plane, namespace, places, options, meta)
        meta.close()
    finally:
        world.erase(places.directory)


def manifest(url: str) -> str:
    """Two shards, short intervals, a short time-out, so that an uncertain answer is settled within the test."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "meta", "labels": {"metacatalog.dev/credential": "true"}},
        "stringData": {"token": TEST_TOKEN},
    }
    connection = _resource(
        "MetaConnection",
        "acme",
        {
            "graph": {"businessID": "1234567890", "tokenSecretRef": {"name": "meta", "key": "token"}},
            "timeout": "5s",
            "quota": {"batchCallsPerHour": 4000, "batchCallsPerMinute": 320, "reservePercent": 10},
        },
    )
    items = {"name": "products", "interval": "5s", "source": {"http": {"url": url}}}
    catalog = _resource(
        "Catalog",
        CATALOG,
        {
            "connectionRef": {"name": "acme"},
            "name": "ACME Germany",
            "items": [items],
            "sharding": {"shards": 2},
            "guards": {"gracePeriod": "0s"},
        },
    )
    schedule = _resource(
        "FeedSchedule", "often", {"catalogRef": {"name": CATALOG}, "method": "ReplaceFeed", "interval": "10s"}
    )
    return "\n---\n".join(json.dumps(one) for one in (secret, connection, catalog, schedule))


def _resource(kind: str, name: str, spec: dict[str, object]) -> dict[str, object]:
    return {"apiVersion": "metacatalog.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def wait(seconds: float) -> None:
    time.sleep(seconds)  # noqa: TID251 - the moment of a kill is drawn, not awaited


def verdict(scene: Scene) -> jsons.Object:
    audit = scene.meta.audit()
    return {"overlaps": audit["overlaps"], "violations": audit["violations"], "judged": audit["judged"]}


CLEAN = {"I1": "clean", "I4": "clean", "I5": "clean", "I7": "clean", "I8": "clean"}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "kills", [pytest.param(KILLS_IN_SHORT, id="few"), pytest.param(KILLS, id="many", marks=pytest.mark.soak)]
)
def test_killed_at_random_points_it_ends_in_the_same_state(scene: Scene, tmp_path: Path, kills: int) -> None:
    """kill -9 at random moments while prices and stock move; then it must converge, and the audit be clean."""
    rng = random.Random(kills)
    for number in range(kills):
        with running(tmp_path, f"victim-{number}", scene.arguments(), module="controller") as victim:
            victim.expect("working")
            rows = edits.prices_and_stock(export.read(scene.places.export)).rows
            export.write(scene.places.export, rows.values())
            wait(rng.uniform(0.2, 6.0))
            victim.signal(signal.SIGKILL)
            victim.wait()
    with running(tmp_path, "survivor", scene.arguments(), module="controller") as survivor:
        survivor.expect("working")
        eventually(scene.converged, "Meta equals the export", CONVERGE_SECONDS)
        eventually(lambda: _well(scene), "Ready, Synced and Fresh are True", PATIENCE_SECONDS)
    assert verdict(scene) == {"overlaps": 0, "violations": [], "judged": CLEAN}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_paused_operator_does_nothing_after_it_was_replaced(scene: Scene, tmp_path: Path) -> None:
    """SIGSTOP past the lease in the middle of work, take-over, SIGCONT: no overlap, and the old one ends."""
    with running(tmp_path, "first", scene.arguments(), module="controller") as first:
        first.expect("working")
        with running(tmp_path, "second", scene.arguments(), module="controller") as second:
            first.expect("made an operation", seconds=PATIENCE_SECONDS)
            first.signal(signal.SIGSTOP)
            second.expect("working", seconds=PATIENCE_SECONDS)
            wait(LEASE_SECONDS)
            first.signal(signal.SIGCONT)
            assert first.wait() != 0
            eventually(scene.converged, "Meta equals the export", CONVERGE_SECONDS)
    assert verdict(scene) == {"overlaps": 0, "violations": [], "judged": CLEAN}


def _well(scene: Scene) -> bool:
    conditions = scene.conditions()
    return all(conditions.get(name) == "True" for name in ("Ready", "Synced", "Fresh"))
