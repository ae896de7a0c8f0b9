"""The child process under real limits: killed, starved, too slow, without disk, without parent. No stand-ins."""

import asyncio
import contextlib
import gzip
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from controller.faults import Disposition, Fault
from controller.ports.preparing import Method, RefreshRequest, RefreshResult, SourceCredentials
from controller.preparing.child import COMMAND, ChildPreparing
from controller.stores.local import LocalStore
from tests.unit.preparing.world import World, as_csv, items_entry, product, products

PATIENCE_SECONDS = 30.0
PARENT = """
import asyncio, sys
from datetime import timedelta
from pathlib import Path
from controller.ports.preparing import REQUESTS
from controller.preparing.child import ChildPreparing
request = REQUESTS.validate_json(Path(sys.argv[1]).read_bytes())
preparing = ChildPreparing(memory_bytes_max=1 << 30, deadline=timedelta(minutes=5))
asyncio.run(preparing.run(request))
"""


Preparing = Callable[..., ChildPreparing]


@pytest.fixture
async def preparing() -> AsyncIterator[Preparing]:
    """Make what runs steps; all that it started is gone at the end."""
    made: list[ChildPreparing] = []

    def make(*, memory_mib: int = 2_048, deadline: float = 60, command: tuple[str, ...] = COMMAND) -> ChildPreparing:
        limit = timedelta(seconds=deadline)
        made.append(ChildPreparing(memory_bytes_max=memory_mib << 20, deadline=limit, command=command))
        return made[-1]

    yield make
    for each in made:
        await each.close()
    assert not servers()


async def until(condition: Callable[[], object]) -> None:
    """Poll what only the operating system knows."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - no event of this loop tells
            await asyncio.sleep(0.02)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def silent_server() -> Iterator[tuple[str, threading.Event]]:
    """A server that takes a request and never answers; the event tells that somebody waits."""
    asked = threading.Event()
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    held.append(connection)
                    asked.set()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/items.csv", asked
        server.shutdown(socket.SHUT_RDWR)
        thread.join(PATIENCE_SECONDS)
        for connection in held:
            connection.close()


def hanging(world: World, url: str) -> RefreshRequest:
    entry = items_entry(source={"http": {"url": url}})
    return world.refresh_request(items=entry, allowed_networks=("127.0.0.0/8",))


@contextlib.asynccontextmanager
async def running(step: ChildPreparing, request: RefreshRequest) -> AsyncIterator[asyncio.Task[object]]:
    task: asyncio.Task[object] = asyncio.create_task(step.run(request, SourceCredentials()))
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Fault):
            await task


def servers() -> list[psutil.Process]:
    return [each for each in psutil.Process().children() if "prepare-server" in each.cmdline()]


def children() -> list[psutil.Process]:
    """Return the steps that run."""
    return [step for server in servers() for step in server.children()]


def gone(process: psutil.Process) -> bool:
    """Tell whether a process ended; nobody may have asked how, where its parent is gone as well."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


async def test_a_step_runs_in_a_process_of_its_own(world: World, preparing: Preparing) -> None:
    world.offer(products(10))
    result = await preparing().run(world.refresh_request())
    assert isinstance(result, RefreshResult)
    assert result.pending[0].creations == 10
    assert "polars" not in _modules_of_a_process_that_only_starts_children()


async def test_killed_from_outside(
    world: World, preparing: Preparing, silent_server: tuple[str, threading.Event]
) -> None:
    url, asked = silent_server
    async with running(preparing(), hanging(world, url)) as task:
        await until(asked.is_set)
        (child,) = children()
        assert child.environ()["POLARS_MAX_THREADS"] == "2"
        assert _badness(child.pid) == "1000"
        child.send_signal(signal.SIGKILL)
        with pytest.raises(Fault) as caught:
            await task
    assert caught.value.reason == "PreparingFailed"
    assert caught.value.disposition is Disposition.RETRY
    assert "SIGKILL" in caught.value.message
    assert not children()


async def test_a_starved_step_leaves_the_store_as_it_was(world: World, preparing: Preparing) -> None:
    world.offer(products(100_000, description="x" * 700))
    with pytest.raises(Fault) as caught:
        await preparing(memory_mib=120).run(world.refresh_request())
    assert caught.value.reason == "PreparingOutOfMemory"
    assert "120 MiB" in caught.value.message
    assert not children()
    assert world.store.keys("") == ()
    world.offer(products(5))
    assert await preparing().run(world.refresh_request())


async def test_deadline(world: World, preparing: Preparing, silent_server: tuple[str, threading.Event]) -> None:
    url, _ = silent_server
    with pytest.raises(Fault) as caught:
        await preparing(deadline=2).run(hanging(world, url))
    assert caught.value.reason == "PreparingDeadline"
    assert not children()


async def test_a_cancelled_step_ends_its_process(
    world: World, preparing: Preparing, silent_server: tuple[str, threading.Event]
) -> None:
    url, asked = silent_server
    async with running(preparing(), hanging(world, url)):
        await until(asked.is_set)
        assert children()
    assert not children()


async def test_a_step_dies_with_its_parent(
    world: World, silent_server: tuple[str, threading.Event], tmp_path: Path
) -> None:
    url, asked = silent_server
    request = tmp_path / "request.json"
    request.write_text(hanging(world, url).model_dump_json(), encoding="utf-8")
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, str(request))
    try:
        await until(asked.is_set)
        server, step = psutil.Process(parent.pid).children(recursive=True)
    finally:
        parent.kill()
        await parent.wait()
    await until(lambda: gone(server) and gone(step))


async def test_steps_die_with_the_process_that_started_them_and_the_next_step_has_another(
    world: World, preparing: Preparing, silent_server: tuple[str, threading.Event]
) -> None:
    url, asked = silent_server
    steps = preparing()
    async with running(steps, hanging(world, url)) as task:
        await until(asked.is_set)
        (server,) = servers()
        (child,) = children()
        server.kill()
        with pytest.raises(Fault) as caught:
            await task
    assert (caught.value.reason, caught.value.disposition) == ("PreparingFailed", Disposition.RETRY)
    assert "the process that starts steps ended" in caught.value.message
    await until(lambda: gone(child))
    world.offer(products(5))
    assert await steps.run(world.refresh_request())
    assert servers() != [server]


async def test_one_that_cannot_start_steps_is_a_failed_step_and_says_why(
    world: World, preparing: Preparing, caplog: pytest.LogCaptureFixture
) -> None:
    steps = preparing(command=(sys.executable, "-c", "raise SystemExit('no library for this machine')"))
    with pytest.raises(Fault) as caught:
        await steps.run(world.refresh_request())
    assert caught.value.reason == "PreparingFailed"
    await steps.close()
    assert "no library for this machine" in caplog.text


async def test_steps_run_side_by_side_and_each_ends_alone(
    world: World, preparing: Preparing, silent_server: tuple[str, threading.Event]
) -> None:
    url, asked = silent_server
    steps = preparing()
    world.offer(products(3))
    async with running(steps, hanging(world, url)) as waiting:
        await until(asked.is_set)
        (hanging_step,) = children()
        results = await asyncio.gather(*(steps.run(world.refresh_request()) for _ in range(3)))
        assert [each.pending[0].creations for each in results if isinstance(each, RefreshResult)] == [3, 3, 3]
        assert children() == [hanging_step]
        assert len(servers()) == 1
        assert not waiting.done()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[LocalStore]:
    """A store with 2 MiB of room."""
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(mount)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is refused here; the file size limit below stands for it")
    store = LocalStore(mount)
    store.claim_identity("test")
    yield store
    subprocess.run(["umount", str(mount)], check=True)


async def test_a_disk_too_small_for_the_source(world: World, preparing: Preparing, small_disk: LocalStore) -> None:
    world.offer(gzip.compress(_incompressible()))  # a plain file would be read where it is
    with pytest.raises(Fault) as caught:
        await preparing().run(world.refresh_request(store=small_disk.url))
    assert caught.value.reason == "StoreFull"
    assert caught.value.disposition is Disposition.RETRY
    assert small_disk.keys("") == ()


async def test_a_disk_that_fills_up_later(world: World, preparing: Preparing, small_disk: LocalStore) -> None:
    world.store = small_disk
    world.offer(products(2_000))
    world.refresh()
    keys = small_disk.keys("")
    filler = small_disk.root / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4_096))
    with pytest.raises(Fault) as caught:
        await preparing().run(world.encode_request(Method.REPLACE_FEED, 0))
    assert caught.value.reason == "StoreFull"
    filler.unlink()
    assert small_disk.keys("") == keys
    assert world.send_full()[0].plan.create == 2_000


async def test_a_file_size_limit_is_a_full_store(world: World, preparing: Preparing) -> None:
    world.offer(_incompressible())
    command = ("/bin/sh", "-c", 'ulimit -f 128; exec "$@"', "sh", *COMMAND)
    with pytest.raises(Fault) as caught:
        await preparing(command=command).run(world.refresh_request())
    assert caught.value.reason == "StoreFull"
    assert world.store.keys("") == ()


async def test_secrets_stay_out_of_the_log_and_the_command_line(
    world: World, preparing: Preparing, silent_server: tuple[str, threading.Event], caplog: pytest.LogCaptureFixture
) -> None:
    url, asked = silent_server
    secret = "s3cr3t-token"
    request = hanging(world, url)
    credentials = SourceCredentials(url=f"{url}?sig={secret}", headers=(("x-key", secret),))
    task = asyncio.create_task(preparing().run(request, credentials))
    await until(asked.is_set)
    (child,) = children()
    assert secret not in " ".join(child.cmdline())
    assert secret not in str(child.environ())
    child.send_signal(signal.SIGABRT)
    with pytest.raises(Fault) as caught:
        await task
    assert secret not in str(caught.value) + caplog.text


def _badness(pid: int) -> str:
    return Path(f"/proc/{pid}/oom_score_adj").read_text(encoding="ascii").strip()


def _incompressible() -> bytes:
    rows = [product(number, description=os.urandom(600).hex()) for number in range(2_000)]
    return as_csv(rows)


def _modules_of_a_process_that_only_starts_children() -> str:
    code = (
        "import sys, controller.preparing.child, controller.sources.probe, controller.stores.local; print(*sys.modules)"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
