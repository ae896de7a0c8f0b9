"""Fixtures for everybody: a real control plane, and a namespace of one's own in it.

A test that asks for `control_plane` is marked `controlplane` by that.
"""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from typing_extensions import override
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from hack import objectstore
from hack.controlplane import binaries
from hack.controlplane.cluster import ControlPlane

# The same examples everywhere and every time; a machine that is busy for a moment fails no test.
hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("fixed")

TOGETHER = ("tests/integration/test_demo.py",)
"""Files whose tests share what takes a minute to start: one worker runs all of them."""
REPOSITORY = Path(__file__).parents[1]
_numbers = itertools.count(1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs the control plane; first, so that -m sees it."""
    for item in items:
        if "control_plane" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.controlplane)


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist is published without types
    """One test after the other to whoever is free, some files as a whole.

    xdist's own groups go by a suffix of the node id, which pytest 9 does not take any more.
    """

    @override
    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return file if file in TOGETHER else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    return Scheduling(config, log)


class SlowFirst:
    """Runs behind the shuffling: what takes longest must not be what is begun last."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(SlowFirst())


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what is needed before the first test, whose time limit is shorter than that takes."""
    if session.config.option.collectonly:
        return
    if any(item.get_closest_marker("controlplane") for item in session.items):
        binaries.ensure()
    if any("object_server" in getattr(item, "fixturenames", ()) for item in session.items):
        objectstore.ensure()


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of this test process with all that is installed (but no operator); started on first demand."""
    manifests = [*sorted((REPOSITORY / "crds").glob("*.yaml")), *sorted((REPOSITORY / "manifests").glob("*.yaml"))]
    with ControlPlane.start(tmp_path_factory.mktemp("control-plane"), manifests=manifests) as started:
        yield started


@pytest.fixture
def namespace(control_plane: ControlPlane, request: pytest.FixtureRequest) -> Iterator[str]:
    """A new namespace, deleted afterwards without waiting for that."""
    readable = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())
    name = f"t{next(_numbers)}-{readable}"[:50].rstrip("-")
    control_plane.kubectl("create", "namespace", name)
    yield name
    control_plane.kubectl("delete", "namespace", name, "--wait=false")
