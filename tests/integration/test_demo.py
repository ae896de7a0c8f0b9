"""`make demo` as a person meets it: what it prints, each line that it offers, and that nothing of it is left behind."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hack.controlplane import binaries, processes
from hack.demo import world
from hack.demo.cluster import CATALOG
from hack.demo.world import Places
from hack.emulator import jsons
from tests.integration.operator_runs import REPOSITORY, eventually

pytestmark = [
    pytest.mark.controlplane,
    pytest.mark.slow,
    pytest.mark.timeout(300),
]
COMMAND = [sys.executable, "-m", "hack.demo"]
WIDTH_MAX = 120
UP_SECONDS = 280
SEEN_SECONDS = 60.0
TRIES = ("price", "rename", "suspend", "shard", "token")
"""In the order in which they are printed."""


def environment(directory: Path) -> dict[str, str]:
    """What a shell has that never heard of Kubernetes, with the demo elsewhere."""
    found = {key: value for key, value in os.environ.items() if not key.startswith(("KUBE", "METACATALOG_", "DEMO_"))}
    return {**found, "DEMO_DIRECTORY": str(directory)}


def demo(command: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, command],
        cwd=REPOSITORY,
        env=environment(directory),
        capture_output=True,
        text=True,
        timeout=UP_SECONDS,
        check=False,
    )


@dataclass(frozen=True, slots=True)
class Try:
    """What is printed of one thing to try."""

    title: str
    command: str
    see: str
    undo: str | None


@dataclass(frozen=True, slots=True)
class Demo:
    directory: Path
    code: int
    text: str

    def find(self, pattern: str) -> "re.Match[str]":
        found = re.search(pattern, self.text, re.MULTILINE)
        assert found is not None, f"{pattern}\n{self.text}"
        return found

    @property
    def shell_line(self) -> str:
        return self.find(r"paste this into your shell:\n\n +(export .*)$")[1]

    @property
    def tries(self) -> list[Try]:
        shape = r"^  \d\. (.*)\n +try +(.*)\n +see +(.*)(?:\n +undo +(.*))?"
        return [Try(*found.groups()) for found in re.finditer(shape, self.text, re.MULTILINE)]

    def shell(self, line: str) -> str:
        """Run a printed line as it would be pasted, in a shell that has the printed environment."""
        ended = subprocess.run(
            ["bash", "-c", f"{self.shell_line}\n{line}"],
            cwd=REPOSITORY,
            env=environment(self.directory),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 0, f"{line}\n{ended.stdout}{ended.stderr}"
        return ended.stdout

    def at_meta(self, *item: str) -> list[jsons.Object]:
        """What Meta holds: catalogs, or one item."""
        answer = json.loads(self.shell(f"{sys.executable} -m hack.demo meta {' '.join(item)}"))
        return [jsons.as_object(one) for one in answer]

    def get(self, what: str) -> jsons.Object:
        return jsons.as_object(json.loads(self.shell(f"kubectl get {what} --output=json")))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """One demo for all that is asked of it here. (Each test leaves it as it was, as far as others can tell.)"""
    directory = tmp_path_factory.mktemp("demo") / "demo"
    try:
        ended = demo("up", directory)
        yield Demo(directory, ended.returncode, ended.stdout + ended.stderr)
    finally:
        demo("down", directory)


def test_it_tells_the_whole_story(told: Demo) -> None:
    assert told.code == 0, told.text
    assert [int(number) for number in re.findall(r"^── (\d)/9 ", told.text, re.MULTILINE)] == list(range(1, 10))
    for said in (
        "its clock runs 20 times as fast as ours",
        "works as system:serviceaccount:meta-catalog-system:meta-catalog-operator",
        "Products need to have title listed to run in ads",
        "DeletionsHeld=True, reason DeletionGuard",
        "kubectl apply: deletionapproval.metacatalog.dev/germany-clearance created",
        "and now they are gone from Meta",
        "0 overlaps, 0 violations, 0 not judged",
        "Everything is as promised",
    ):
        assert said in " ".join(told.text.split()), f"{said} is not said in\n{told.text}"  # wherever lines break
    assert float(told.find(r"the first Ready after (\d+) s")[1]) > 0
    assert int(told.find(r"([\d,]+) products at http")[1].replace(",", "")) >= 2_000


def test_its_tables_show_every_kind_and_fit_the_screen(told: Demo) -> None:
    for kind in ("mconn", "mcat", "mshard", "msched", "mop", "mappr", "mledger"):
        told.find(rf"^\$ kubectl get {kind}\b.*\nNAME ")
    tables = told.text[told.text.index("$ kubectl get") : told.text.index("The auditor")]
    assert max(map(len, tables.splitlines())) <= WIDTH_MAX
    assert told.find(r"^germany +True +Available +\d+ +1601 +0 +1 ")
    operations = re.findall(r"^germany-\w+-\w+-\d +(\w+) +(\d*) +(\w+) ", tables, re.MULTILINE)
    assert "Succeeded" in {phase for _, _, phase in operations}
    assert {phase for _, _, phase in operations} <= {"Succeeded", "Superseded"}
    assert {method for method, _, _ in operations} == {"ReplaceFeed", "ItemsBatch"}
    assert all(int(shards or 0) >= 1 for _, shards, _ in operations)


def test_there_are_five_things_to_try(told: Demo) -> None:
    assert len(told.tries) == len(TRIES)


@pytest.mark.parametrize("name", TRIES)
def test_what_it_offers_works(told: Demo, name: str) -> None:
    one = told.tries[TRIES.index(name)]
    before = told.get("mshard germany-1-0")
    told.shell(one.command)
    EFFECTS[name](told, one, before)
    if one.undo is not None:
        told.shell(one.undo)
        eventually(lambda: condition(told, f"mcat {CATALOG}", "Synced") == ("True", "InSync"), "undone", SEEN_SECONDS)
        eventually(lambda: condition(told, "mconn acme", "Ready")[0] == "True", "undone", SEEN_SECONDS)


def condition(told: Demo, what: str, kind: str) -> tuple[str, str]:
    listed = jsons.as_list(jsons.as_object(told.get(what)["status"])["conditions"])
    found = next(one for one in map(jsons.as_object, listed) if one["type"] == kind)
    return jsons.as_text(found["status"]), jsons.as_text(found["reason"])


def new_price(told: Demo, one: Try, _before: jsons.Object) -> None:
    item, price = re.findall(r"/(\w+),([\d.]+ EUR)/'", one.command)[0]
    eventually(lambda: told.at_meta(item)[0]["price"] == price, "the new price is at Meta", SEEN_SECONDS)
    assert f'"price": "{price}"' in told.shell(one.see)


def new_name(told: Demo, one: Try, _before: jsons.Object) -> None:
    (name,) = re.findall(r'"name":"([^"]+)"', one.command)
    eventually(lambda: [catalog["name"] for catalog in told.at_meta()] == [name], "it has its name", SEEN_SECONDS)
    assert name in told.shell(one.see)


def suspended(told: Demo, one: Try, _before: jsons.Object) -> None:
    eventually(
        lambda: condition(told, f"mcat {CATALOG}", "Synced") == ("Unknown", "Suspended"), "suspended", SEEN_SECONDS
    )
    assert "Unknown" in told.shell(one.see)


def returned(told: Demo, one: Try, before: jsons.Object) -> None:
    def there() -> bool:
        listed = jsons.as_list(told.get("mshard")["items"])
        return uid(before) not in map(uid, map(jsons.as_object, listed)) and len(listed) == 2

    eventually(there, "another object has come in its place", SEEN_SECONDS)
    feed = jsons.as_object(before["status"])["feedID"]
    eventually(lambda: jsons.as_object(told.get("mshard germany-1-0").get("status")).get("feedID") == feed, "its feed")
    assert [catalog["feeds"] for catalog in told.at_meta()] == [2]
    assert str(feed) in told.shell(one.see)


def uid(resource: jsons.Object) -> str:
    return jsons.as_text(jsons.as_object(resource["metadata"])["uid"])


def refused(told: Demo, one: Try, _before: jsons.Object) -> None:
    eventually(lambda: condition(told, "mconn acme", "Ready") == ("False", "TokenInvalid"), "refused", SEEN_SECONDS)
    assert "TokenInvalid" in told.shell(one.see)


EFFECTS: dict[str, Callable[[Demo, Try, jsons.Object], None]] = {
    "price": new_price,
    "rename": new_name,
    "suspend": suspended,
    "shard": returned,
    "token": refused,
}


def test_what_a_killed_one_leaves_behind_is_found_and_ended(tmp_path: Path) -> None:
    binaries.ensure()
    places = Places(tmp_path / "demo")
    output = tmp_path / "output"
    with output.open("wb") as stream:
        run = subprocess.Popen(
            [*COMMAND, "up"],
            cwd=REPOSITORY,
            env=environment(places.directory),
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        eventually(lambda: "── 5/9" in output.read_text(), "the operator works", 120)
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    left = [*processes.recorded(places.directory).values(), *processes.recorded(places.control_plane).values()]
    assert {process.name for process in left} >= {*world.ORDER_OF_ENDING, "etcd", "kube-apiserver"}
    assert demo("status", places.directory).returncode == 0, "all of it outlives the one that started it"
    assert demo("down", places.directory).returncode == 0
    assert [process.name for process in left if process.runs()] == []
    assert not places.directory.exists()
    assert "nothing is there" in demo("down", places.directory).stdout
