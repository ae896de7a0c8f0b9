"""Days in seconds: a shop that changes, faults that strike, processes that die, and then a world that must settle.

Two phases. While faults strike, safety must hold at every look. Then everything is healed, and within HEAL_DAYS the
world must converge and come to rest.
"""

import asyncio
import hashlib
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from controller.api.v1alpha1 import CatalogShard, DeletionApproval
from controller.kube import paths
from controller.kube.transport import Request
from hack.emulator import switches
from hack.emulator.switches import Switches
from tests.kubernetes_memory import Incarnation, MemoryTransport
from tests.simulation import checkers
from tests.simulation.additions import LOCALES, STOCK, Kind
from tests.simulation.freshness import FreshnessWatch
from tests.simulation.process import Process
from tests.simulation.world import CATALOG, NAMESPACE, Options, World, head
from tests.virtual_time import SimulatedLoop

DAY_SECONDS = 86_400.0
HEAL_DAYS = 1.5
QUIET_SECONDS = 3_600.0
WORK_WAIT_SECONDS = 2_400
MEAN_SECONDS_BETWEEN_EVENTS = 3_600.0
LOOK_SECONDS = 6 * 3_600.0

OF_A_CATALOG = "(products|product_feeds|check_batch_request_status|uploads|/[0-9]{10,}$)"
META_FAULTS: dict[str, dict[str, object]] = {
    "latency": {"seconds": 20, "count": 3},
    "connect_refused": {"count": 3},
    "drop_before": {"method": "POST"},
    "drop_after": {"method": "POST"},
    "drop_after_upload": {"kind": "drop_after", "method": "POST", "path": "uploads"},
    "drop_after_batch": {"kind": "drop_after", "method": "POST", "path": "items_batch"},
    "reset": {"method": "POST", "bytes": 100},
    "half_answer": {"method": "POST"},
    "http_error": {"count": 2},
    "http_error_accepted": {"kind": "http_error", "method": "POST", "accepted": True},
    "error_200": {"count": 2},
    "graph_error": {"count": 2},
    "throttle_batch": {"kind": "throttle", "path": "items_batch", "code": 80014, "minutes": 5},
    "throttle_management": {"kind": "throttle", "method": "GET", "path": OF_A_CATALOG, "code": 80009, "minutes": 3},
    "token": {"subcode": 463},
    "late": {"method": "POST", "path": "(uploads|items_batch)", "seconds": 600},
    "handle_lost": {"method": "POST", "path": "items_batch"},
    "partial_batch": {"method": "POST", "path": "items_batch"},
    "stale_reads": {"method": "POST", "path": "(uploads|items_batch)", "seconds": 60},
    "upload_failure": {"method": "POST", "path": "uploads"},
}
"""What may go wrong at Meta, each armed for a request or a few."""


@dataclass(slots=True)
class Report:
    """What one run amounted to."""

    seed: int
    days: float
    operations: Counter[str] = field(default_factory=Counter)
    faults: Counter[tuple[str, str]] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    digest: str = ""

    def line(self) -> str:
        operations = ", ".join(f"{name} {count}" for name, count in sorted(self.operations.items()))
        faults = ", ".join(f"{fault}×{phase} {count}" for (fault, phase), count in sorted(self.faults.items()))
        return (
            f"seed {self.seed}: {self.days:g} days; operations: {operations or 'none'}; faults: {faults or 'none'}; "
            f"violations: {len(self.violations)}"
        )


def run(
    seed: int, days: float, directory: Path, *, faults: bool = True, overlays: tuple[Kind, ...] | None = None
) -> Report:
    """Run one world to its end. `overlays`: those of its shop; None draws them from the seed."""
    chosen = _draw_overlays(random.Random(f"{seed}/overlays")) if overlays is None else overlays
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(_Scenario(seed, days, directory, faults=faults, overlays=chosen).run())


class _Scenario:
    def __init__(self, seed: int, days: float, directory: Path, *, faults: bool, overlays: tuple[Kind, ...]) -> None:
        self._rng = random.Random(f"{seed}/scenario")
        self._directory = directory
        self._with_faults = faults
        self._report = Report(seed, days)
        drawn = switches.draw(self._rng) if faults else Switches()
        self._options = Options(
            seed=seed,
            switches=_bearable(drawn),
            shards=self._rng.choice((1, 2, 3)),
            overlays=overlays,
        )
        self._swarm = self._draw_swarm()

    def _draw_swarm(self) -> tuple[str, ...]:
        """Which faults this world knows: another mix for every seed."""
        everything = (*META_FAULTS, "crash", "crash", "pause", "kubernetes", "watch_gap", "shop", "shard")
        if self._options.overlays:
            everything = (*everything, "overlay")
        return tuple(self._rng.sample(everything, k=max(len(everything) * 2 // 3, 1)))

    async def run(self) -> Report:
        world = World(self._options, self._directory)
        world.faults.on_strike = lambda kind: self._note(world, kind)
        await world.populate()
        process = world.launch()
        self._freshness = FreshnessWatch(world)
        sampling = asyncio.get_running_loop().create_task(self._freshness.run())
        try:
            return await self._live(world, process)
        finally:
            sampling.cancel()

    async def _live(self, world: World, process: Process) -> Report:
        ends = self._report.days * DAY_SECONDS
        faulty = max(ends - HEAL_DAYS * DAY_SECONDS, ends / 2)
        loop = asyncio.get_running_loop()
        next_look = LOOK_SECONDS
        while loop.time() < faulty:
            await asyncio.sleep(self._rng.expovariate(1 / MEAN_SECONDS_BETWEEN_EVENTS))
            process = await self._happen(world, process)
            if loop.time() >= next_look:
                next_look += LOOK_SECONDS
                self._report.violations += await checkers.safety(world)
                if self._report.violations:
                    return await self._conclude(world)
        await self._heal(world, process)
        while loop.time() < ends:
            await asyncio.sleep(min(QUIET_SECONDS, max(ends - loop.time(), 1.0)))
            await _approve_what_is_held(world)
        return await self._conclude(world, settled=True)

    async def _happen(self, world: World, process: Process) -> Process:
        """Something happens: the shop moves, and perhaps something breaks."""
        if self._rng.random() < 0.5:
            self._shop_moves(world)
        if not self._with_faults or self._rng.random() < 0.4:
            return process
        return await self._strike(world, process, self._rng.choice(self._swarm))

    def _shop_moves(self, world: World) -> None:
        shop, now = world.shop, world.clock.unix()
        removed: list[str] = []
        kind = self._rng.random()
        if kind < 0.7:
            share = self._rng.choice((0.02, 0.1, 0.4))
            shop.change_some(share, shop.settled(world.items_at_meta(), world.overrides_at_meta()))
        elif kind < 0.85:
            for _ in range(self._rng.randint(1, 3)):
                shop.add()
        else:
            removed = shop.remove(self._rng.randint(1, 2))
        world.testify(shop.testimony(now, removed=removed))

    def _note(self, world: World, name: str) -> None:
        for phase in world.phases():
            self._report.faults[(name, phase)] += 1

    async def _strike(self, world: World, process: Process, name: str) -> Process:
        if name in ("crash", "pause", "kubernetes", "watch_gap"):
            await self._wait_for_work(world)
        if name not in META_FAULTS:
            self._note(world, name)
        match name:
            case "crash":
                process.kill()
                await asyncio.sleep(self._rng.uniform(0.0, 60.0))
                return world.launch()
            case "pause":
                return await self._pause(world, process)
            case "kubernetes":
                await self._kubernetes(world)
            case "watch_gap":
                world.server.restart()
            case "shop":
                await self._shop_fails(world)
            case "overlay":
                await self._overlay_fails(world)
            case "shard":
                await _delete_a_shard(world, self._rng)
            case _:
                world.emulator.faults.arm({"kind": name, **META_FAULTS[name]})  # type: ignore[dict-item]  # JSON
        return process

    async def _wait_for_work(self, world: World) -> None:
        """Strike where it hurts: in the middle of an operation, if one comes soon."""
        wanted = self._rng.choice(("Preparing", "Submitting", "Processing", "Collecting", "any", "idle"))
        for _ in range(WORK_WAIT_SECONDS):
            phases = world.phases()
            if wanted in phases or (wanted == "any" and phases != ["idle"]):
                return
            await asyncio.sleep(self._rng.uniform(0.2, 1.8))

    async def _pause(self, world: World, process: Process) -> Process:
        """SIGSTOP past the lease, take-over, SIGCONT: the old one must not do anything any more."""
        process.pause()
        successor = world.launch()
        await asyncio.sleep(self._rng.uniform(20.0, 300.0))
        process.resume()
        await asyncio.sleep(30.0)
        return successor

    async def _kubernetes(self, world: World) -> None:
        faults = world.kubernetes_faults
        faults.latency_max_seconds = 2.0
        faults.not_sent = faults.lost_before = faults.lost_after = 0.05
        await asyncio.sleep(self._rng.uniform(60.0, 900.0))
        faults.latency_max_seconds = 0.0
        faults.not_sent = faults.lost_before = faults.lost_after = 0.0

    async def _shop_fails(self, world: World) -> None:
        field_name = self._rng.choice(("down", "truncated", "empty"))
        setattr(world.shop, field_name, True)
        await asyncio.sleep(self._rng.uniform(600.0, 3_600.0))
        setattr(world.shop, field_name, False)

    async def _overlay_fails(self, world: World) -> None:
        addition = self._rng.choice(world.shop.additions)
        world.shop.files[addition.kind.path] = None
        await asyncio.sleep(self._rng.uniform(600.0, 3_600.0))
        world.shop.files[addition.kind.path] = addition.content()

    async def _heal(self, world: World, process: Process) -> None:
        world.emulator.faults.disarm()
        world.shop.down = world.shop.truncated = world.shop.empty = False
        for addition in world.shop.additions:
            world.shop.files[addition.kind.path] = addition.content()
        if not process.alive:
            world.launch()
        locales = [addition.kind.name for addition in world.shop.additions if addition.kind.key]
        if len(locales) > 1:
            await world.drop_overlay(locales[0])

    async def _conclude(self, world: World, *, settled: bool = False) -> Report:
        report = self._report
        report.violations += self._freshness.violations
        if settled:
            report.violations += await checkers.safety(world)
            report.violations += checkers.judged(await world.audit())
            report.violations += await checkers.liveness(world)
        for mutation in world.emulator.journal.mutations:
            report.operations[mutation.kind] += 1
        report.digest = _digest(world)
        for process in world.processes:
            process.kill()
        return report


def _draw_overlays(rng: random.Random) -> tuple[Kind, ...]:
    """Price and stock apart in most worlds, and values for a language or country in most."""
    stock = (STOCK,) if rng.random() < 0.7 else ()
    return (*stock, *rng.sample(LOCALES, k=rng.choice((0, 1, 1, 2))))


def _bearable(drawn: Switches) -> Switches:
    """The well-known token stays good: without it nothing could be tested."""
    drawn.test_token = "accepted"
    return drawn


def _digest(world: World) -> str:
    """Of everything Meta saw, with times: equal for equal seeds."""
    trace = hashlib.sha256()
    for record in world.emulator.journal.requests:
        trace.update(f"{record.method} {record.path} {record.first_byte:.6f} {record.code}\n".encode())
    return trace.hexdigest()


async def _approve_what_is_held(world: World) -> None:
    """A person looks at held deletions and finds them right: the shop really sold these no more."""
    held = (await world.catalog()).status.held
    if held is None:
        return
    name = f"approve-{held.digest[7:19]}"
    if any(wire["metadata"]["name"] == name for wire in await world.objects(DeletionApproval)):
        return
    expires = world.clock.now() + timedelta(days=1)
    spec = {
        "catalogRef": {"name": CATALOG},
        "digest": held.digest,
        "approvedBy": "catalog-admins@shop.example",
        "expiresAt": expires.isoformat(),
    }
    await world.apply({**head(DeletionApproval, name), "spec": spec}, DeletionApproval)


async def _delete_a_shard(world: World, rng: random.Random) -> None:
    shards = await world.objects(CatalogShard)
    if not shards:
        return
    name = rng.choice(sorted(shard["metadata"]["name"] for shard in shards))
    people = MemoryTransport(world.server, Incarnation("people"))
    await people.send(Request("DELETE", paths.item(CatalogShard, NAMESPACE, name)))
