"""Operator processes in tests: started, read, stopped; never left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

REPOSITORY = Path(__file__).parents[2]
DEADLINE_SECONDS = 40.0
POLL_SECONDS = 0.05


def eventually(holds: Callable[[], bool], what: str, seconds: float = DEADLINE_SECONDS) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        _wait()


def _wait() -> None:
    time.sleep(POLL_SECONDS)  # noqa: TID251 - other processes are at work


class OperatorRun:
    """One process and what it logged."""

    def __init__(self, directory: Path, name: str, arguments: list[str], *, module: str) -> None:
        self.log_file = directory / f"{name}.log"
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=REPOSITORY,
                env={key: value for key, value in os.environ.items() if not key.startswith(("METACATALOG_", "KUBE"))},
            )

    def lines(self) -> list[dict[str, Any]]:
        """What was logged, whole lines only."""
        text = self.log_file.read_text()
        return [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]

    def logged(self, message: str, **extra: object) -> list[dict[str, Any]]:
        return [
            line
            for line in self.lines()
            if line["message"] == message and all(line.get(key) == value for key, value in extra.items())
        ]

    def expect(self, message: str, *, seconds: float = DEADLINE_SECONDS, **extra: object) -> dict[str, Any]:
        """Wait for a log line."""

        def there() -> bool:
            assert self.process.poll() is None or self.logged(message, **extra), self.log_file.read_text()
            return bool(self.logged(message, **extra))

        eventually(there, f"{message} {extra}\n{self.log_file.read_text()[-4000:]}", seconds)
        return self.logged(message, **extra)[0]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(DEADLINE_SECONDS)

    def get(self, path: str) -> httpx.Response:
        port = self.expect("listening")["port"]
        return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=10, trust_env=False)


@contextmanager
def running(directory: Path, name: str, arguments: list[str], *, module: str) -> Iterator[OperatorRun]:
    """An operator that is gone afterwards."""
    run = OperatorRun(directory, name, arguments, module=module)
    try:
        yield run
    finally:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()
