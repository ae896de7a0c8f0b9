"""What runs in a demo: control plane, stand-in for Meta, the shop's web server, the operator; and how all of it ends.

Everything lies in one directory, with a record of each process (its id, its start time, the boot): so whatever an
earlier run left there, killed or interrupted, is found and ended, and no stranger ever is. A demo always begins with an
empty world; nothing of an earlier one is continued.
"""

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from controller.api import durations
from controller.settings import Timing
from hack.controlplane import cluster, files, processes
from hack.controlplane.cluster import ControlPlane
from hack.controlplane.processes import Process
from hack.demo.options import REPOSITORY, Options
from hack.emulator import jsons

EMULATOR, SOURCE, OPERATOR = "emulator", "source", "operator"
ORDER_OF_ENDING = (OPERATOR, SOURCE, EMULATOR)
ENDING_SECONDS = 10.0
STARTING_SECONDS = 30.0
START_POLL_SECONDS = 0.1
POLL_SECONDS = 0.5
"""A look starts kubectl, or has the stand-in list every item; the machine has better things to do all the time."""
HOST = "127.0.0.1"
LOOPBACK = "127.0.0.0/8"
WAIT_MIN = timedelta(milliseconds=500)
"""A wait that is divided by the speed never gets shorter: requests take real time."""
FOREIGN_VARIABLES = ("METACATALOG_", "KUBE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy")


class DemoError(Exception):
    """The demo can't go on; for the person who started it."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where what lies."""

    directory: Path

    @property
    def marker(self) -> Path:
        """Says that the directory is a demo's, and where things are; written first and last."""
        return self.directory / "demo.json"

    @property
    def lock(self) -> Path:
        return self.directory.with_name(f"{self.directory.name}.lock")

    @property
    def control_plane(self) -> Path:
        return self.directory / "controlplane"

    @property
    def export(self) -> Path:
        return self.directory / "products.csv"

    @property
    def store(self) -> Path:
        return self.directory / "store"

    @property
    def manifest(self) -> Path:
        return self.directory / "demo.yaml"

    @property
    def approval(self) -> Path:
        return self.directory / "approval.yaml"

    @property
    def text(self) -> Path:
        """What `up` printed at its end."""
        return self.directory / "what-to-try.txt"


@dataclass(frozen=True, slots=True)
class Service:
    """Something that listens."""

    process: Process
    url: str


def erase(directory: Path) -> bool:
    """End what runs in this directory, whoever started it, and remove it. Whether there was a demo."""
    places = Places(directory)
    if not places.directory.exists():
        return False
    was_demo = places.marker.exists()
    if not was_demo and any(places.directory.iterdir()):
        raise DemoError(f"{directory} is not empty and not a demo's; choose another with --directory, or empty it")
    found = processes.recorded(places.directory)
    for name in ORDER_OF_ENDING:
        if name in found:
            found[name].end(ENDING_SECONDS)
    cluster.stop(places.control_plane)
    shutil.rmtree(places.directory)
    return was_demo


@contextlib.contextmanager
def alone(directory: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """One at a time starts or ends the demo of a directory."""
    with files.exclusive(Places(directory).lock, waiting=waiting):
        yield


def prepare(directory: Path) -> Places:
    """An empty directory that is known as a demo's."""
    places = Places(directory)
    places.directory.mkdir(parents=True, mode=0o700)
    places.marker.write_text("{}")
    return places


def start_emulator(places: Places, options: Options) -> Service:
    command = [
        "-m",
        "hack.emulator",
        f"--port={options.emulator_port}",
        f"--seed={options.seed}",
        f"--speed={options.speed:g}",
    ]
    return _service(places, EMULATOR, command)


def start_source(places: Places, options: Options, emulator: Service) -> Service:
    command = [
        "-m",
        "hack.demo.shop",
        f"--file={places.export}",
        f"--port={options.source_port}",
        f"--emulator={emulator.url}",
    ]
    return _service(places, SOURCE, command)


def start_operator(places: Places, options: Options, plane: ControlPlane, emulator: Service) -> Process:
    """Start the operator under its own role. It works when its log says so."""
    command = [
        "-m",
        "controller",
        "run",
        f"--kubeconfig={plane.operator_kubeconfig}",
        f"--endpoint={emulator.url}",
        f"--store-url={places.store.as_uri()}",
        f"--allow-source-network={LOOPBACK}",
        f"--http-host={HOST}",
        f"--http-port={options.operator_port}",
        *timing_flags(options.speed),
    ]
    operator = _start(places, OPERATOR, command)
    _until_started(operator, lambda: logged(operator, "working") is not None, "the operator works")
    return operator


def timing_flags(speed: float) -> list[str]:
    """The operator's waits, shorter by as much as the stand-in's clock is faster."""
    flags = []
    for name, default in Timing():
        shorter = max(timedelta(milliseconds=round(default / timedelta(milliseconds=1) / speed)), WAIT_MIN)
        flags.append(f"--timing-{name.replace('_', '-')}={durations.format_duration(shorter)}")
    return flags


def until(
    process: Process, holds: Callable[[], bool], what: str, seconds: float, poll_seconds: float = POLL_SECONDS
) -> None:
    """Look again and again until it holds. Raises DemoError when the process ends or the time is over."""
    deadline = time.monotonic() + seconds
    while not holds():
        if process.wait(poll_seconds):
            raise DemoError(f"{process.name} ended while this was awaited: {what}.\n{processes.tail(process.log)}")
        if time.monotonic() > deadline:
            raise DemoError(f"not within {seconds:.0f} s: {what}.\n{processes.tail(process.log)}")


def logged(process: Process, message: str) -> "jsons.Object | None":
    """The first log line with this message."""
    for line in process.log.read_text(errors="replace").splitlines():
        if line.startswith("{") and line.endswith("}"):
            found = jsons.as_object(jsons.parse(line))
            if found.get("message") == message:
                return found
    return None


def remember(places: Places, **addresses: str) -> None:
    places.marker.write_text(json.dumps(addresses, indent=1))


def remembered(places: Places) -> dict[str, str]:
    try:
        found = jsons.as_object(jsons.parse(places.marker.read_bytes()))
    except (OSError, ValueError):
        return {}
    return {name: jsons.as_text(value) for name, value in found.items()}


def _service(places: Places, name: str, command: list[str]) -> Service:
    """Start something whose first line of output says where it listens."""
    process = _start(places, name, command)
    _until_started(process, lambda: _announced(process) != "", f"{name} says where it listens")
    return Service(process, _announced(process))


def _until_started(process: Process, holds: Callable[[], bool], what: str) -> None:
    until(process, holds, what, STARTING_SECONDS, START_POLL_SECONDS)


def _announced(process: Process) -> str:
    first, complete, _ = process.log.read_text(errors="replace").partition("\n")
    if not complete or not first.startswith("{"):
        return ""
    return jsons.as_text(jsons.as_object(jsons.parse(first)).get("url"))


def _start(places: Places, name: str, command: list[str]) -> Process:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN_VARIABLES)}
    return processes.start(
        name,
        [sys.executable, *command],
        directory=places.directory,
        bound=False,  # it stays when this process has ended
        environment=environment,
        working_directory=REPOSITORY,
    )
