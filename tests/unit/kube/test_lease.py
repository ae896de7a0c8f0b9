"""The lease in virtual time: taking, renewing, expiring, pausing, losing."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from controller.api import names
from controller.kube.lease import Lease, LeaseTiming, boot_seconds
from controller.kube.transport import Request
from tests.kubernetes_memory import Faults, Incarnation, LoopClock, MemoryApiServer, MemoryTransport, run_virtual

TIMING = LeaseTiming(15.0, 10.0, 2.0)


class Candidate:
    """A process that wants the lease."""

    def __init__(self, server: MemoryApiServer, name: str, faults: Faults | None = None) -> None:
        self.incarnation = Incarnation(name)
        self.transport = MemoryTransport(server, self.incarnation, faults=faults)
        self.lease = Lease(
            self.transport,
            LoopClock(),
            namespace=names.OPERATOR_NAMESPACE,
            name="operator",
            identity=name,
            timing=TIMING,
            rng=random.Random(name),
            monotonic=asyncio.get_running_loop().time,
        )
        self.taken_at: float | None = None
        self.lost_at: float | None = None

    async def live(self) -> None:
        await self.lease.acquire()
        self.taken_at = now()
        await self.lease.keep()
        self.lost_at = now()


def now() -> float:
    return asyncio.get_running_loop().time()


def scenario(play: Callable[[MemoryApiServer], Awaitable[None]]) -> None:
    async def run() -> None:
        server = MemoryApiServer(LoopClock().now)
        server.create_namespace(names.OPERATOR_NAMESPACE)
        await play(server)

    run_virtual(run())


def test_the_first_one_has_it_at_once_and_keeps_it() -> None:
    async def play(server: MemoryApiServer) -> None:
        first = Candidate(server, "first")
        async with asyncio.timeout(3600) as limit:
            living = asyncio.create_task(first.live())
            await asyncio.sleep(3000)
            assert first.taken_at == 0.0
            assert first.lease.valid()
            assert first.lost_at is None
            living.cancel()
            limit.reschedule(None)
        assert server.requests["GET", "leases"] == 1, "a renewal is one request"
        assert server.requests["PUT", "leases"] == pytest.approx(3000 / TIMING.retry_seconds, abs=2)
        wire = server.all("Lease")[0]["spec"]
        assert wire["holderIdentity"] == "first"
        assert wire["leaseTransitions"] == 0

    scenario(play)


def test_a_killed_holder_is_succeeded_within_the_lease_time() -> None:
    async def play(server: MemoryApiServer) -> None:
        first, second = Candidate(server, "first"), Candidate(server, "second")
        lives = [asyncio.create_task(one.live()) for one in (first, second)]
        await asyncio.sleep(100)
        assert second.taken_at is None
        first.incarnation.cut()
        await asyncio.sleep(TIMING.seconds + 2 * TIMING.retry_seconds)
        assert second.taken_at is not None
        assert second.taken_at - 100 >= TIMING.seconds - TIMING.retry_seconds
        assert server.all("Lease")[0]["spec"]["leaseTransitions"] == 1
        for life in lives:
            life.cancel()

    scenario(play)


@pytest.mark.parametrize("pause_seconds", [3.0, 9.9, 11.0, 16.0, 40.0])
def test_a_paused_holder_is_never_valid_beside_its_successor(pause_seconds: float) -> None:
    async def play(server: MemoryApiServer) -> None:
        first, second = Candidate(server, "first"), Candidate(server, "second")
        lives = [asyncio.create_task(one.live()) for one in (first, second)]
        await asyncio.sleep(50)
        first.incarnation.pause()
        paused_at = now()
        while now() < paused_at + pause_seconds:
            await asyncio.sleep(0.1)
            assert not (first.lease.valid() and second.lease.valid())
        first.incarnation.resume()
        # The very moment it goes on it knows, before it has asked anybody.
        assert first.lease.valid() == (pause_seconds < TIMING.renew_seconds - TIMING.retry_seconds)
        for _ in range(600):
            await asyncio.sleep(0.1)
            assert not (first.lease.valid() and second.lease.valid())
        assert (first.lost_at is None) == (second.taken_at is None), "exactly one of them works in the end"
        for life in lives:
            life.cancel()

    scenario(play)


def test_without_the_api_server_it_is_lost_at_its_deadline() -> None:
    async def play(server: MemoryApiServer) -> None:
        first = Candidate(server, "first")
        living = asyncio.create_task(first.live())
        await asyncio.sleep(20)
        server.available = False
        gone_at = now()
        await living
        assert first.lost_at is not None
        assert TIMING.renew_seconds - TIMING.retry_seconds <= first.lost_at - gone_at <= TIMING.renew_seconds
        assert not first.lease.valid()
        server.available = True
        await asyncio.sleep(60)
        assert not first.lease.valid(), "what is lost stays lost"

    scenario(play)


def test_a_request_that_hangs_does_not_outlive_the_deadline() -> None:
    async def play(server: MemoryApiServer) -> None:
        first = Candidate(server, "first")
        living = asyncio.create_task(first.live())
        await asyncio.sleep(20)
        first.transport.faults = Faults(latency_min_seconds=1000, latency_max_seconds=1000)
        await living
        assert first.lost_at is not None
        assert first.lost_at <= 20 + TIMING.renew_seconds

    scenario(play)


def test_lost_answers_are_no_loss() -> None:
    async def play(server: MemoryApiServer) -> None:
        first, second = Candidate(server, "first", Faults(lost_after=0.05)), Candidate(server, "second")
        lives = [asyncio.create_task(one.live()) for one in (first, second)]
        await asyncio.sleep(600)
        assert [first.lost_at, second.lost_at] == [None, None]
        assert first.lease.valid() != second.lease.valid()
        for life in lives:
            life.cancel()

    scenario(play)


def test_a_clean_end_lets_the_next_one_in_at_once() -> None:
    async def play(server: MemoryApiServer) -> None:
        first, second = Candidate(server, "first"), Candidate(server, "second")
        lives = [asyncio.create_task(one.live()) for one in (first, second)]
        await asyncio.sleep(30)
        lives[0].cancel()
        await first.lease.release()
        assert not first.lease.valid()
        await asyncio.sleep(2 * TIMING.retry_seconds)
        assert second.lease.valid()
        lives[1].cancel()

    scenario(play)


def test_a_release_never_touches_the_lease_of_another() -> None:
    async def play(server: MemoryApiServer) -> None:
        first, second = Candidate(server, "first"), Candidate(server, "second")
        await first.lease.acquire()
        first.incarnation.pause()
        await second.lease.acquire()
        first.incarnation.resume()
        await first.lease.release()
        assert server.all("Lease")[0]["spec"]["holderIdentity"] == "second"

    scenario(play)


def test_a_holder_that_sees_another_one_stops() -> None:
    async def play(server: MemoryApiServer) -> None:
        first = Candidate(server, "first")
        living = asyncio.create_task(first.live())
        await asyncio.sleep(5)
        wire = server.all("Lease")[0]
        wire["spec"]["holderIdentity"] = "somebody"

        path = f"/apis/coordination.k8s.io/v1/namespaces/{names.OPERATOR_NAMESPACE}/leases/operator"
        server.handle(Request("PUT", path, body=wire))
        await living
        assert first.lost_at is not None
        assert first.lost_at <= 5 + TIMING.retry_seconds
        assert not first.lease.valid()

    scenario(play)


@pytest.mark.parametrize("timing", [(10, 10, 2), (15, 2, 2), (15, 10, 0)])
def test_times_that_make_no_sense_are_refused(timing: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="lease > renew > retry"):
        LeaseTiming(*timing)


def test_the_clock_counts_suspend() -> None:
    assert boot_seconds() <= boot_seconds()
