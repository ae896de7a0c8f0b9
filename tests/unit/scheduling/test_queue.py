"""The work queue: a key never twice at once, no mark is lost, the earliest due time wins."""

import asyncio
import random
from collections import Counter

import pytest

from controller.scheduling.queue import WorkQueue

Q = WorkQueue[str]


async def take_all(queue: Q, seconds: float) -> list[tuple[float, str]]:
    """What comes out within this time, and when; every run ends at once."""
    loop = asyncio.get_running_loop()
    found: list[tuple[float, str]] = []
    try:
        async with asyncio.timeout(seconds):
            while True:
                key = await queue.take()
                found.append((round(loop.time(), 3), key))
                queue.done(key)
    except TimeoutError:
        return found


async def test_marks_of_one_key_are_one_run_at_the_earliest_time() -> None:
    queue = Q()
    queue.mark("a", delay=30)
    queue.mark("a", delay=10)
    queue.mark("a", delay=20)
    assert len(queue) == 1
    assert await take_all(queue, 100) == [(10, "a")]


async def test_a_later_mark_does_not_put_an_earlier_one_off() -> None:
    queue = Q()
    queue.mark("a", delay=5)
    queue.mark("a", delay=500)
    assert await take_all(queue, 600) == [(5, "a")]


async def test_among_those_that_are_due_the_priority_decides_then_the_time() -> None:
    queue = Q()
    queue.mark("late", delay=2, priority=1)
    queue.mark("early", delay=1, priority=1)
    queue.mark("urgent", delay=3, priority=0)
    await asyncio.sleep(5)
    assert [key for _, key in await take_all(queue, 1)] == ["urgent", "early", "late"]


async def test_a_mark_raises_the_priority_of_what_waits() -> None:
    queue = Q()
    queue.mark("first", priority=2)
    queue.mark("second", priority=1)
    queue.mark("first", priority=0)
    assert [key for _, key in await take_all(queue, 1)] == ["first", "second"]


async def test_a_key_is_never_worked_on_twice_at_once() -> None:
    queue = Q()
    queue.mark("a")
    assert await queue.take() == "a"
    queue.mark("a")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(60):
            await queue.take()
    queue.done("a")
    assert await queue.take() == "a"


async def test_a_mark_while_it_runs_is_not_lost() -> None:
    queue = Q()
    queue.mark("a")
    await queue.take()
    queue.mark("a", delay=50)
    queue.mark("a", delay=7)
    queue.done("a")
    assert await take_all(queue, 100) == [(7, "a")]


async def test_a_run_that_nobody_marked_meanwhile_does_not_come_again() -> None:
    queue = Q()
    queue.mark("a")
    queue.done(await queue.take())
    assert await take_all(queue, 10_000) == []


async def test_who_waits_is_woken_by_an_earlier_mark() -> None:
    queue = Q()
    queue.mark("a", delay=100)
    waiting = asyncio.ensure_future(queue.take())
    await asyncio.sleep(1)
    queue.mark("b", delay=2)
    assert await waiting == "b"
    assert asyncio.get_running_loop().time() == pytest.approx(3, abs=0.01)


async def test_a_worker_that_is_cancelled_while_it_waits_takes_nothing_along() -> None:
    queue = Q()
    waiting = asyncio.ensure_future(queue.take())
    await asyncio.sleep(1)
    waiting.cancel()
    queue.mark("a")
    await asyncio.gather(waiting, return_exceptions=True)
    assert await take_all(queue, 1) == [(1, "a")]


async def test_forget_drops_what_is_planned() -> None:
    queue = Q()
    queue.mark("a", delay=1)
    queue.mark("b", delay=1)
    queue.forget("a")
    assert await take_all(queue, 10) == [(1, "b")]


async def test_forget_while_it_runs_drops_what_was_marked_meanwhile() -> None:
    queue = Q()
    queue.mark("a")
    await queue.take()
    queue.mark("a")
    queue.forget("a")
    queue.done("a")
    assert await take_all(queue, 10) == []


async def test_overdue_tells_how_long_the_longest_has_waited() -> None:
    queue = Q()
    assert queue.overdue() == 0
    queue.mark("a", delay=10)
    assert queue.overdue() == 0
    await asyncio.sleep(25)
    queue.mark("b")
    assert queue.overdue() == pytest.approx(15)
    queue.done(await queue.take())
    queue.done(await queue.take())
    assert queue.overdue() == 0


@pytest.mark.parametrize("seed", range(5))
async def test_many_workers_and_random_marks(seed: int) -> None:
    """No key twice at once; after the last mark of each key there is one more run that began after it."""
    rng = random.Random(seed)
    loop = asyncio.get_running_loop()
    queue = Q()
    running: Counter[str] = Counter()
    began: dict[str, float] = {}
    due: dict[str, float] = {}

    async def work() -> None:
        while True:
            key = await queue.take()
            running[key] += 1
            assert running[key] == 1
            began[key] = loop.time()
            await asyncio.sleep(rng.choice((0, 0.1, 3)))
            running[key] -= 1
            queue.done(key)

    workers = [asyncio.ensure_future(work()) for _ in range(4)]
    for _ in range(400):
        key, delay = rng.choice("abcdef"), rng.choice((0.0, 0.0, 1.0, 20.0))
        queue.mark(key, delay=delay, priority=rng.randint(0, 2))
        due[key] = loop.time()
        await asyncio.sleep(rng.choice((0, 0, 0.2, 5)))
    await asyncio.sleep(100)
    for worker in workers:
        assert not worker.done(), worker
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    assert len(queue) == 0
    assert {key for key in due if began[key] < due[key]} == set()
