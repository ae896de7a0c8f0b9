"""The two ways in which a step starts: forked from the operator's fork server, or as a program of its own.

The first is how the operator runs steps; what its server costs at its one start is not in the figures, its memory is.
"""

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from controller.ports import preparing as documents
from controller.preparing.child import ChildPreparing
from hack.bench.measure import SAMPLE_SECONDS, Measured, run, tree_pss_bytes

Start = Callable[[str, documents.Request], tuple[documents.Result, Measured]]
"""Runs the step of a name to its end."""
MEMORY_BYTES_MAX = 8 << 30
DEADLINE = timedelta(hours=1)


class Forked:
    """Starts steps as the operator does."""

    def __init__(self, directory: Path) -> None:
        self._runner = asyncio.Runner()
        self._preparing = ChildPreparing(memory_bytes_max=MEMORY_BYTES_MAX, deadline=DEADLINE, directory=directory)

    def __enter__(self) -> Self:
        self._runner.run(self._preparing.open())
        (self._server,) = psutil.Process().children()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._runner.run(self._preparing.close())
        self._runner.close()

    def __call__(self, name: str, request: documents.Request) -> tuple[documents.Result, Measured]:  # noqa: ARG002
        peaks = [0]
        ended = threading.Event()
        sampling = threading.Thread(target=self._sample, args=(peaks, ended))
        sampling.start()
        before, began = self._children_seconds(), time.monotonic()
        try:
            result = self._runner.run(self._preparing.run(request))
        finally:
            seconds = time.monotonic() - began
            ended.set()
            sampling.join()
        return result, Measured(seconds, max(peaks), self._children_seconds() - before)

    def _sample(self, peaks: list[int], ended: threading.Event) -> None:
        while not ended.wait(SAMPLE_SECONDS):
            peaks.append(tree_pss_bytes(self._server.pid))

    def _children_seconds(self) -> float:
        """Processor time of the steps that ended, and of all that they waited for."""
        times = self._server.cpu_times()
        return float(times.children_user + times.children_system)


class Alone:
    """Starts steps as programs of their own, as a Job does."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __call__(self, name: str, request: documents.Request) -> tuple[documents.Result, Measured]:
        question, answer = self._directory / f"{name}-request.json", self._directory / f"{name}-result.json"
        question.write_bytes(documents.REQUESTS.dump_json(request))
        command = [sys.executable, "-m", "controller", "prepare", str(question), str(answer)]
        measured = run(command, log=self._directory / f"{name}.log")
        return documents.RESULTS.validate_json(answer.read_bytes()), measured
