"""The emulator as a process of its own, as people start it."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

REPOSITORY = Path(__file__).parents[3]
DEADLINE_SECONDS = 60


def until(what: Callable[[], Any]) -> Any:
    """Ask again and again until there is an answer; the clock of the emulator runs by itself."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    pause = threading.Event()
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        pause.wait(0.05)
    raise AssertionError("did not happen in time")


@dataclass(frozen=True)
class Process:
    popen: "subprocess.Popen[str]"
    about: Mapping[str, Any]
    client: httpx.Client

    def call(self, method: str, path: str, **params: str) -> Any:
        query = {"access_token": self.about["token"], **params}
        return self.client.request(method, f"/v26.0{path}", params=query).json()

    def control(self, path: str) -> Any:
        return self.client.get(f"/_emulator{path}").json()

    def items(self, catalog: str) -> dict[str, Any]:
        text = self.client.get("/_emulator/items", params={"catalog": catalog}).text
        rows = [json.loads(line) for line in text.splitlines() if line]
        return {row["id"]: row["values"] for row in rows if "id" in row}

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait(timeout=10)


@contextmanager
def emulator(*options: str, switches: Mapping[str, Any] | None = None) -> Iterator[Process]:
    named: Sequence[str] = [f"--switch={name}={value}" for name, value in (switches or {}).items()]
    command = [sys.executable, "-m", "hack.emulator", "--port", "0", *options, *named]
    popen = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, env=dict(os.environ))
    assert popen.stdout is not None
    try:
        about = json.loads(popen.stdout.readline())
        with httpx.Client(base_url=about["url"], timeout=60) as client:
            yield Process(popen, about, client)
    finally:
        popen.kill()
        popen.wait(timeout=10)
        popen.stdout.close()
