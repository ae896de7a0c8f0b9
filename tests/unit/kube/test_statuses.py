"""When a status is worth writing."""

import asyncio

from controller.kube.statuses import INTERVAL_SECONDS, Known, StatusMemory, version_number
from tests.kubernetes_memory import run_virtual

A, B = {"a": 1}, {"a": 2}


def test_what_is_there_need_not_be_written() -> None:
    memory = StatusMemory()
    assert not memory.unchanged("u", A, None)
    assert memory.unchanged("u", A, Known("1", A))
    assert not memory.unchanged("u", A, Known("1", B))


def test_our_own_write_is_newer_than_a_late_watch() -> None:
    memory = StatusMemory()
    memory.written("u", A, "5", A)
    assert memory.unchanged("u", A, Known("4", B))
    assert not memory.unchanged("u", B, Known("4", B))
    assert memory.unchanged("u", A, None)
    assert memory.newest_version("u", "4") == "5"


def test_what_others_wrote_over_ours_is_seen() -> None:
    memory = StatusMemory()
    memory.written("u", A, "5", A)
    assert not memory.unchanged("u", A, Known("6", B))
    assert memory.newest_version("u", "6") == "6"


def test_what_the_server_made_of_our_write_counts_as_ours() -> None:
    memory = StatusMemory()
    memory.written("u", A, "5", {**A, "defaulted": True})
    assert memory.unchanged("u", A, Known("5", {**A, "defaulted": True}))
    assert not memory.unchanged("u", A, Known("6", {**B, "defaulted": True}))


def test_a_forgotten_object_is_written_again() -> None:
    memory = StatusMemory()
    memory.written("u", A, "5", A)
    memory.forget("u")
    assert not memory.unchanged("u", A, None)


def test_one_object_has_its_turn_once_a_second_and_others_are_not_held_up() -> None:
    async def turns() -> list[float]:
        loop = asyncio.get_running_loop()
        memory = StatusMemory()
        times = []
        for uid in ("u", "v", "u", "u", "v"):
            await memory.turn(uid)
            times.append(loop.time())
        return times

    assert run_virtual(turns()) == [0.0, 0.0, INTERVAL_SECONDS, 2 * INTERVAL_SECONDS, 2 * INTERVAL_SECONDS]


def test_versions_are_numbers() -> None:
    assert version_number("10") > version_number("9")
    assert version_number("") == 0
