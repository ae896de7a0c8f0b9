"""Runs a step as a process of its own, limits it and sees it to its end.

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
from controller.preparing.forking import ForkServer, ServerGoneError, Step
from controller.preparing.lifetime import PARENT_VARIABLE

COMMAND = (sys.executable, "-m", "controller", "prepare-server")
WATCH_SECONDS = 0.25
"""A step can outgrow its limit by what it allocates between two looks; a look costs about a millisecond."""
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
FIXED_VARIABLES = {"OPENBLAS_NUM_THREADS": "1"}
"""numpy would start threads when it is loaded, and a fork has none of them. Nothing here is linear algebra."""
ALLOCATION_FAILED = "memory allocation of"
"""What Rust's allocator says before it ends the process."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ended:
    """How the child ended."""

    code: int | None
    """None: with the process that started it."""
    stopped_for: str | None
    """PreparingDeadline or PreparingOutOfMemory where we ended it."""
    peak_bytes: int
    stderr: str


class ChildPreparing:
    """Implements `Preparing`: one process per step, forked from one that has the data stack loaded."""

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
        self._directory = directory
        self._server = ForkServer(command, _environment(threads, environment or {}))

    async def run(self, request: Request, credentials: SourceCredentials | None = None) -> Result:
        secret = (credentials or SourceCredentials()).model_dump_json().encode()
        scratch = await asyncio.to_thread(_Scratch, request, self._directory)
        try:
            ended = await self._followed(await self._server.start(scratch.arguments, secret))
            content = await asyncio.to_thread(scratch.result)
        except ServerGoneError:
            raise _failed("no process can be started for it; the operator's log says why") from None
        finally:
            scratch.remove()
        result = unless_failed(_result(ended, content, self._memory_bytes_max, self._deadline))
        if result.step != request.step:
            raise _failed(f"the step {request.step} answered as {result.step}")
        _log.debug("step done", extra={"step": request.step, "peak_bytes": ended.peak_bytes})
        return result

    async def open(self) -> None:
        """Load the data stack now instead of with the first step."""
        await self._server.open()

    async def close(self) -> None:
        """End all steps that still run, and the process that starts them."""
        await self._server.close()

    async def _followed(self, step: Step) -> Ended:
        """See a step to its end. Whatever happens here, it is gone with all of its session afterwards."""
        stopped_for: str | None = None
        watch = None
        try:
            async with asyncio.timeout(self._deadline.total_seconds()):
                pid = await asyncio.shield(step.pid)
                watch = _Watch(pid, self._memory_bytes_max) if pid is not None else None
                stopped_for = await self._watched(step, watch)
        except TimeoutError:
            stopped_for = "PreparingDeadline"
        finally:
            if not step.ended.done():
                step.end()
            code = await step.ended
            last_words = await step.last_words
        return Ended(code, stopped_for, watch.peak_bytes if watch is not None else 0, last_words)

    async def _watched(self, step: Step, watch: "_Watch | None") -> str | None:
        """Return when the step ended by itself (None) or outgrew its memory."""
        while True:
            done, _ = await asyncio.wait({step.ended}, timeout=WATCH_SECONDS)
            if done:
                return None
            if watch is not None and await asyncio.to_thread(watch.exceeded):
                return "PreparingOutOfMemory"


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


def _environment(threads: int, more: Mapping[str, str]) -> dict[str, str]:
    """What a step sees of the operator's environment, which may hold secrets."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return kept | FIXED_VARIABLES | {"POLARS_MAX_THREADS": str(threads), PARENT_VARIABLE: str(os.getpid()), **more}


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
    if ended.code is None:
        raise _failed("the process that starts steps ended, and the step with it")
    if ended.code < 0:
        name = signal.Signals(-ended.code).name
        raise _failed(f"the step was ended from outside by {name}")
    raise _failed(f"the step ended with exit code {ended.code}; the operator's log has its last words")


def _stopped(ended: Ended, message: str) -> Fault:
    return Fault(ended.stopped_for or "PreparingFailed", Disposition.RETRY, message)


def _failed(message: str) -> Fault:
    return Fault("PreparingFailed", Disposition.RETRY, message)
