"""The runner: one task per slot, every end announced, nothing left after close."""

import asyncio

import pytest

from controller.scheduling.runner import Runner

Ends = list[tuple[str, BaseException | None]]


def runner() -> tuple[Runner[str], Ends]:
    ends: Ends = []
    return Runner(lambda slot, error: ends.append((slot, error))), ends


async def test_an_end_frees_the_slot_and_is_announced() -> None:
    tasks, ends = runner()
    tasks.start("a", asyncio.sleep(5), name="a")
    assert tasks.running("a")
    assert len(tasks) == 1
    await asyncio.sleep(6)
    assert not tasks.running("a")
    assert ends == [("a", None)]


async def test_a_failure_ends_its_slot_only() -> None:
    tasks, ends = runner()

    async def fail() -> None:
        raise ValueError("broken")

    tasks.start("bad", fail(), name="bad")
    tasks.start("good", asyncio.sleep(5), name="good")
    await asyncio.sleep(1)
    assert [(slot, str(error)) for slot, error in ends] == [("bad", "broken")]
    assert tasks.running("good")
    await tasks.close()


async def test_a_slot_never_runs_twice_at_once() -> None:
    tasks, _ = runner()
    tasks.start("a", asyncio.sleep(5), name="a")
    second = asyncio.sleep(5)
    with pytest.raises(AssertionError, match="slot a is taken"):
        tasks.start("a", second, name="a")
    second.close()
    await tasks.close()


async def test_close_cancels_and_waits_and_nothing_starts_any_more() -> None:
    tasks, ends = runner()
    cleaned: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(3)
            cleaned.append("a")

    tasks.start("a", work(), name="a")
    await asyncio.sleep(1)
    await tasks.close()
    assert cleaned == ["a"]
    assert ends == [], "who closes does not want to be told"
    tasks.start("b", asyncio.sleep(1), name="b")
    assert not tasks.running("b")


async def test_what_is_told_of_an_end_may_start_the_slot_again() -> None:
    again: list[int] = []
    tasks: Runner[str]

    def on_end(slot: str, _error: BaseException | None) -> None:
        again.append(1)
        if len(again) < 3:
            tasks.start(slot, asyncio.sleep(1), name=slot)

    tasks = Runner(on_end)
    tasks.start("a", asyncio.sleep(1), name="a")
    await asyncio.sleep(10)
    assert len(again) == 3
