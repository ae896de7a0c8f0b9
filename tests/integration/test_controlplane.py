"""The local control plane keeps its promises: real rights, real controllers, nothing lost and nothing left behind."""

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hack.controlplane import audit, cluster, processes
from hack.controlplane.binaries import API_SERVER, CONTROLLER_MANAGER, ETCD
from hack.controlplane.cluster import ControlPlane, ControlPlaneError, KubectlError
from hack.controlplane.configuration import HOST, Layout
from hack.controlplane.processes import Process

pytestmark = pytest.mark.controlplane

REPOSITORY = Path(__file__).parents[2]
OPERATOR_USER = "system:serviceaccount:meta-catalog-system:meta-catalog-operator"
# Nothing that an operator of catalogs is ever allowed to see, so its role does not matter here.
STRANGE_KIND = "limitranges"

ALL = {ETCD, API_SERVER, CONTROLLER_MANAGER}
POLL_SECONDS = 0.05

WIDGETS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.test}
spec:
  group: example.test
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""

# What a test run does when it starts a control plane, and then no more: it is killed.
START_AND_WAIT = """
import sys, pathlib, signal
from hack.controlplane.cluster import ControlPlane
plane = ControlPlane.start(pathlib.Path(sys.argv[1]), controllers=False)
print("started", flush=True)
signal.pause()
"""


def eventually(what: str, holds: Callable[[], bool], *, within_seconds: float = 30) -> None:
    deadline = time.monotonic() + within_seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {within_seconds} s: {what}"
        select.select([], [], [], POLL_SECONDS)


def running_in(directory: Path) -> set[str]:
    """The programs whose working directory this is, by what the kernel says and not by our records."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").readlink() == directory:
                found.add((process / "exe").readlink().name)
    return found


def command(directory: Path, name: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hack.controlplane", "--directory", str(directory), name],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )


def config_map(name: str, **metadata: object) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}})


def owned_by(plane: ControlPlane, namespace: str, resource: str) -> list[dict[str, str]]:
    owner = json.loads(plane.kubectl("get", resource, "--namespace", namespace, "--output=json"))
    named = owner["metadata"]
    return [{"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": named["name"], "uid": named["uid"]}]


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Where a test has a control plane of its own; whatever it leaves is ended."""
    place = tmp_path / "plane"
    yield place
    cluster.stop(place)


class TestIdentity:
    def test_the_operator_is_its_service_account(self, control_plane: ControlPlane) -> None:
        answer = control_plane.kubectl("auth", "whoami", "--output=json", kubeconfig=control_plane.operator_kubeconfig)
        user = json.loads(answer)["status"]["userInfo"]
        assert user["username"] == OPERATOR_USER
        assert set(user["groups"]) == {
            "system:serviceaccounts",
            "system:serviceaccounts:meta-catalog-system",
            "system:authenticated",
        }

    def test_the_operator_may_do_what_a_role_gives_its_service_account_and_nothing_else(
        self, control_plane: ControlPlane, namespace: str
    ) -> None:
        operator = control_plane.operator_kubeconfig
        listing = ("get", STRANGE_KIND, "--namespace", namespace, "--output=name")
        with pytest.raises(KubectlError, match="Forbidden") as refusal:
            control_plane.kubectl(*listing, kubeconfig=operator)
        assert OPERATOR_USER in refusal.value.error

        control_plane.kubectl(
            "create", "role", "look", "--verb=list", f"--resource={STRANGE_KIND}", "--namespace", namespace
        )
        subject = f"--serviceaccount={control_plane.namespace}:{control_plane.service_account}"
        control_plane.kubectl("create", "rolebinding", "look", "--role=look", subject, "--namespace", namespace)

        eventually(
            "the role counts",
            lambda: control_plane.kubectl(*listing, kubeconfig=operator, check=False).strip() == "",
        )
        one = ("get", STRANGE_KIND, "any", "--namespace", namespace)
        assert "Forbidden" in control_plane.kubectl(*one, kubeconfig=operator, check=False)

    def test_the_audit_log_tells_who_asked_for_what(self, control_plane: ControlPlane, namespace: str) -> None:
        asked = 3
        for _ in range(asked):
            listing = ("get", STRANGE_KIND, "--namespace", namespace)
            control_plane.kubectl(*listing, kubeconfig=control_plane.operator_kubeconfig, check=False)

        def counted() -> Counter[tuple[str, str, str, int]]:
            return Counter(
                (request.user, request.verb, request.resource, request.code)
                for request in audit.requests(control_plane.audit_log)
                if request.namespace == namespace and request.user_agent.startswith("kubectl/v1.")
            )

        assert counted()[OPERATOR_USER, "list", STRANGE_KIND, 403] == asked


class TestControllers:
    def test_what_is_owned_goes_with_its_owner(self, control_plane: ControlPlane, namespace: str) -> None:
        apply = ("apply", "--namespace", namespace, "--filename=-")
        control_plane.kubectl(*apply, input=config_map("owner"))
        owner = owned_by(control_plane, namespace, "configmap/owner")
        control_plane.kubectl(*apply, input=config_map("owned", ownerReferences=owner))
        control_plane.kubectl(*apply, input=config_map("free"))

        control_plane.kubectl("delete", "configmap", "owner", "--namespace", namespace)

        control_plane.kubectl("wait", "--for=delete", "configmap/owned", "--timeout=30s", "--namespace", namespace)
        assert control_plane.kubectl("get", "configmap", "free", "--namespace", namespace)

    def test_a_job_makes_a_pod_under_the_default_service_account(
        self, control_plane: ControlPlane, namespace: str
    ) -> None:
        control_plane.kubectl("create", "job", "once", "--image=none", "--namespace", namespace)

        def pods() -> list[dict[str, dict[str, str]]]:
            listing = ("get", "pods", "--selector=job-name=once", "--namespace", namespace, "--output=json")
            found: list[dict[str, dict[str, str]]] = json.loads(control_plane.kubectl(*listing))["items"]
            return found

        eventually("a Pod", lambda: len(pods()) == 1)
        assert pods()[0]["spec"]["serviceAccountName"] == "default"

    def test_a_namespace_goes_with_what_is_in_it(self, control_plane: ControlPlane) -> None:
        control_plane.kubectl("create", "namespace", "passing")
        control_plane.kubectl("apply", "--namespace", "passing", "--filename=-", input=config_map("content"))
        control_plane.kubectl("delete", "namespace", "passing", "--timeout=30s")
        assert "NotFound" in control_plane.kubectl("get", "namespace", "passing", check=False)


class TestOwnControlPlane:
    def test_it_starts_in_seconds_with_its_kinds_and_ends_without_a_trace(
        self, directory: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "widgets.yaml").write_text(WIDGETS)
        began = time.monotonic()
        with ControlPlane.start(directory, manifests=[tmp_path / "widgets.yaml"]) as plane:
            assert time.monotonic() - began < 30
            assert running_in(directory) == ALL == set(plane.running)
            assert all(process.resident_bytes() > 0 for process in plane.running.values())

            # The controllers started after the kind was there, so they watch it, and collect what its objects own.
            widget = {"apiVersion": "example.test/v1", "kind": "Widget", "metadata": {"name": "one"}}
            plane.kubectl("apply", "--filename=-", input=json.dumps(widget))
            owner = owned_by(plane, "default", "widget/one")
            plane.kubectl("apply", "--filename=-", input=config_map("owned", ownerReferences=owner))
            plane.kubectl("delete", "widget", "one")
            plane.kubectl("wait", "--for=delete", "configmap/owned", "--timeout=20s")

            with pytest.raises(ControlPlaneError, match="already"):
                ControlPlane.start(directory)
        assert running_in(directory) == set()
        assert ControlPlane.attach(directory) is None
        assert not Layout(directory).etcd_data.exists()

    def test_a_restarted_api_server_has_the_same_objects_and_nobody_takes_its_port(self, directory: Path) -> None:
        with ControlPlane.start(directory, controllers=False) as plane:
            plane.kubectl("apply", "--filename=-", input=config_map("kept"))
            before = plane.kubectl("get", "configmap", "kept", "--output=jsonpath={.metadata.uid}")
            first = plane.running[API_SERVER].identity

            plane.stop_api_server()
            assert not plane.ready()
            with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
                stranger.bind((HOST, int(plane.url.rpartition(":")[2])))
            plane.start_api_server()
            assert plane.kubectl("get", "configmap", "kept", "--output=jsonpath={.metadata.uid}") == before

            plane.restart_api_server()
            assert plane.kubectl("get", "configmap", "kept", "--output=jsonpath={.metadata.uid}") == before
            assert plane.running[API_SERVER].identity != first
            assert running_in(directory) == {ETCD, API_SERVER}

    def test_it_ends_with_the_process_that_started_it_even_if_that_is_killed(self, directory: Path) -> None:
        with subprocess.Popen(
            [sys.executable, "-c", START_AND_WAIT, str(directory)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
        ) as starter:
            assert starter.stdout is not None
            assert starter.stdout.readline() == "started\n"
            assert running_in(directory) == {ETCD, API_SERVER}
            starter.kill()
        eventually("nothing runs any more", lambda: running_in(directory) == set(), within_seconds=10)


class TestOneThatOutlives:
    def test_it_lives_until_it_is_stopped_and_continues_after_the_machine_restarted(self, directory: Path) -> None:
        assert command(directory, "status").returncode == 3
        started = command(directory, "up")
        assert started.returncode == 0, started.stderr
        assert running_in(directory) == ALL

        plane = ControlPlane.attach(directory)
        assert plane is not None
        plane.kubectl("apply", "--filename=-", input=config_map("kept"))
        assert started.stdout.strip() == plane.shell_line
        listing = subprocess.run(
            ["sh", "-c", f"{plane.shell_line}; kubectl get configmap kept --output=name"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert listing.stdout == "configmap/kept\n"

        again = command(directory, "up")
        assert "runs already" in again.stderr
        assert processes.recorded(directory) == dict(plane.running)

        for process in plane.running.values():  # as a machine that is switched off does
            process.send(signal.SIGKILL)
        for process in plane.running.values():
            assert process.wait(10)
        assert command(directory, "status").returncode == 3

        assert command(directory, "up").returncode == 0
        continued = ControlPlane.attach(directory)
        assert continued is not None
        assert continued.url == plane.url
        assert continued.kubectl("get", "configmap", "kept", "--output=name") == "configmap/kept\n"
        assert all(name in command(directory, "status").stdout for name in ALL)

        assert command(directory, "down").returncode == 0
        assert running_in(directory) == set()
        assert "nothing runs" in command(directory, "down").stdout
        assert command(directory, "erase").returncode == 0
        assert not directory.exists()

    def test_what_a_killed_start_left_is_ended_by_the_next(self, directory: Path) -> None:
        starting = [sys.executable, "-m", "hack.controlplane", "--directory", str(directory), "up"]
        with subprocess.Popen(
            starting, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as starter:
            eventually("the API server is starting", lambda: API_SERVER in processes.recorded(directory))
            starter.kill()
        left = processes.recorded(directory)
        assert left.keys() == {ETCD, API_SERVER}

        with started(directory) as plane:
            assert running_in(directory) == ALL
            assert not any(process.runs() for process in left.values())
            assert plane.ready()
        assert running_in(directory) == set()

    def test_one_of_which_a_part_ended_is_started_again_with_its_data(self, directory: Path) -> None:
        with started(directory) as plane:
            plane.kubectl("apply", "--filename=-", input=config_map("kept"))
            controllers = plane.running[CONTROLLER_MANAGER]
            controllers.end(grace_seconds=0)
            assert ControlPlane.attach(directory) is None
            with started(directory) as whole:
                assert running_in(directory) == ALL
                assert whole.kubectl("get", "configmap", "kept", "--output=name") == "configmap/kept\n"

    def test_data_that_cannot_be_used_is_set_aside(self, directory: Path) -> None:
        with started(directory) as plane:
            plane.kubectl("apply", "--filename=-", input=config_map("lost"))
        logs = list(Layout(directory).etcd_data.glob("member/wal/*.wal"))
        assert logs
        for log in logs:
            log.write_bytes(os.urandom(4096))

        with started(directory) as plane:
            assert "NotFound" in plane.kubectl("get", "configmap", "lost", check=False)
            assert (directory / "etcd.unusable").is_dir()

    def test_a_server_that_cannot_start_says_why_and_leaves_nothing(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch, control_plane: ControlPlane, tmp_path: Path
    ) -> None:
        assets = tmp_path / "assets"
        assets.mkdir()
        for name in (ETCD, CONTROLLER_MANAGER, "kubectl"):
            (assets / name).symlink_to(control_plane.binaries / name)
        (assets / API_SERVER).write_text("#!/bin/sh\necho no such flag\nexit 2\n")
        (assets / API_SERVER).chmod(0o755)
        monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))

        with pytest.raises(ControlPlaneError, match=re.escape(f"{directory / API_SERVER}.log") + r":\s+no such flag"):
            ControlPlane.start(directory)
        assert running_in(directory) == set()


@contextlib.contextmanager
def started(directory: Path) -> Iterator[ControlPlane]:
    with ControlPlane.start(directory, outlives=True) as plane:
        yield plane


def test_a_process_is_what_the_kernel_says_it_is(control_plane: ControlPlane) -> None:
    server: Process = control_plane.running[API_SERVER]
    assert server.runs()
    assert Path(f"/proc/{server.identity.pid}/exe").readlink() == control_plane.binaries / API_SERVER
