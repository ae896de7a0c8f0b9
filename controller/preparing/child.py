"""Starts a step as a process of its own, limits it and sees it to its end.

An out-of-memory, a crash or a hang in there is a failed step with a reason, never a dead operator. Memory is limited
by watching: the proportional set size of the process tree, because an address-space limit counts what Polars only
reserves, and the resident size counts mapped files twice. The child asks the kernel to be taken first, and to end
with its parent. No library offers this; `resource` limits and cgroups are not for an unprivileged process in a pod.

This module runs in the operator and imports nothing of the data stack.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psutil
from pydantic import ValidationError

from controller.faults import Disposition, Fault
from controller.ports.preparing import RESULTS, Request, Result, SourceCredentials
from controller.preparing.failures import unless_failed
from controller.preparing.lifetime import PARENT_VARIABLE

COMMAND = (sys.executable, "-m", "controller", "prepare")
WATCH_SECONDS = 0.25
"""A step can outgrow its limit by what it allocates between two looks; a look costs about a millisecond."""
STDERR_BYTES_MAX = 8_192
KEPT_VARIABLES = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
ALLOCATION_FAILED = "memory allocation of"
"""What Rust's allocator says before it ends the process."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ended:
    """How the child ended."""

    code: int
    stopped_for: str | None
    """PreparingDeadline or PreparingOutOfMemory where we ended it."""
    peak_bytes: int
    stderr: str


class ChildPreparing:
    """Implements `Preparing`: one process per step."""

    def __init__(
        self,
        *,
        memory_bytes_max: int,
        deadline: timedelta,
        command: Sequence[str] = COMMAND,
        directory: Path | None = None,
        threads: int = 2,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`directory` is where request and result stand while the step runs; without one, the system's own.
        `environment` is what the step sees beyond the few variables that every step keeps.
        """
        self._memory_bytes_max = memory_bytes_max
        self._deadline = deadline
        self._command = tuple(command)
        self._directory = directory
        self._threads = threads
        self._environment = dict(environment or {})

    async def run(self, request: Request, credentials: SourceCredentials | None = None) -> Result:
        secret = (credentials or SourceCredentials()).model_dump_json().encode()
        scratch = await asyncio.to_thread(_Scratch, request, self._directory)
        try:
            ended = await self._child([*self._command, *scratch.arguments], secret)
            content = await asyncio.to_thread(scratch.result)
        finally:
            scratch.remove()
        result = unless_failed(_result(ended, content, self._memory_bytes_max, self._deadline))
        if result.step != request.step:
            raise _failed(f"the step {request.step} answered as {result.step}")
        _log.debug("step done", extra={"step": request.step, "peak_bytes": ended.peak_bytes})
        return result

    async def _child(self, command: Sequence[str], stdin: bytes) -> Ended:
        environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        environment |= self._environment | {"POLARS_MAX_THREADS": str(self._threads), PARENT_VARIABLE: str(os.getpid())}
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        watch = _Watch(process.pid, self._memory_bytes_max)
        return await self._followed(process, stdin, watch)

    async def _followed(self, process: asyncio.subprocess.Process, stdin: bytes, watch: "_Watch") -> Ended:
        """See the child to its end. Whatever happens here, it is gone with all of its session afterwards."""
        reading = asyncio.ensure_future(_tail(process.stderr))
        stopped_for: str | None = None
        try:
            async with asyncio.timeout(self._deadline.total_seconds()):
                await _feed(process, stdin)
                stopped_for = await self._watched(process, watch)
        except TimeoutError:
            stopped_for = "PreparingDeadline"
        finally:
            if stopped_for is not None or process.returncode is None:
                _kill(process.pid)
            code = await process.wait()
            last_words = await reading
        return Ended(code, stopped_for, watch.peak_bytes, last_words)

    async def _watched(self, process: asyncio.subprocess.Process, watch: "_Watch") -> str | None:
        """Return when the child ended by itself (None) or outgrew its memory."""
        ending = asyncio.ensure_future(process.wait())
        try:
            while True:
                done, _ = await asyncio.wait({ending}, timeout=WATCH_SECONDS)
                if done:
                    return None
                if await asyncio.to_thread(watch.exceeded):
                    return "PreparingOutOfMemory"
        finally:
            ending.cancel()


class _Scratch:
    """The two documents of a running step, in a directory of their own."""

    def __init__(self, request: Request, directory: Path | None) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="prepare-", dir=directory)
        self._request = Path(self._directory.name, "request.json")
        self._result = Path(self._directory.name, "result.json")
        self._request.write_text(request.model_dump_json(), encoding="utf-8")

    @property
    def arguments(self) -> tuple[str, str]:
        return str(self._request), str(self._result)

    def result(self) -> bytes | None:
        return self._result.read_bytes() if self._result.exists() else None

    def remove(self) -> None:
        self._directory.cleanup()


class _Watch:
    """Sums the proportional set size of a process and its children."""

    def __init__(self, pid: int, bytes_max: int) -> None:
        self._pid = pid
        self._bytes_max = bytes_max
        self.peak_bytes = 0

    def exceeded(self) -> bool:
        self.peak_bytes = max(self.peak_bytes, pss_bytes(self._pid))
        return self.peak_bytes > self._bytes_max


def pss_bytes(pid: int) -> int:
    """Proportional set size of a process tree; processes that end meanwhile count nothing."""
    try:
        root = psutil.Process(pid)
        tree = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0
    total = 0
    for process in tree:
        with contextlib.suppress(psutil.Error, OSError):
            total += process.memory_full_info().pss
    return total


def _result(ended: Ended, content: bytes | None, memory_bytes_max: int, deadline: timedelta) -> Result:
    if ended.stopped_for == "PreparingDeadline":
        raise _stopped(ended, f"the step took longer than {deadline.total_seconds():.0f} s and was ended")
    if ended.stopped_for == "PreparingOutOfMemory":
        megabytes = memory_bytes_max >> 20
        raise _stopped(ended, f"the step needed more than its {megabytes} MiB and was ended; raise its memory limit")
    if ended.code == 0 and content is not None:
        try:
            return RESULTS.validate_json(content)
        except ValidationError:
            raise _failed("the step's result cannot be read: is the child of another release?") from None
    if ended.stderr:
        _log.error("step failed: %s", ended.stderr)
    if ALLOCATION_FAILED in ended.stderr:
        raise Fault("PreparingOutOfMemory", Disposition.RETRY, "the machine has no memory left for the step")
    if ended.code < 0:
        name = signal.Signals(-ended.code).name
        raise _failed(f"the step was ended from outside by {name}")
    raise _failed(f"the step ended with exit code {ended.code}; the operator's log has its last words")


def _stopped(ended: Ended, message: str) -> Fault:
    return Fault(ended.stopped_for or "PreparingFailed", Disposition.RETRY, message)


def _failed(message: str) -> Fault:
    return Fault("PreparingFailed", Disposition.RETRY, message)


async def _feed(process: asyncio.subprocess.Process, content: bytes) -> None:
    """Write the credentials; a child that ended before reading them says why by its exit."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(content)
        await process.stdin.drain()
    process.stdin.close()


async def _tail(stream: asyncio.StreamReader | None) -> str:
    """Read to the end, keep the last bytes."""
    assert stream is not None
    kept = b""
    while piece := await stream.read(STDERR_BYTES_MAX):
        kept = (kept + piece)[-STDERR_BYTES_MAX:]
    return kept.decode("utf-8", errors="replace").strip()


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
