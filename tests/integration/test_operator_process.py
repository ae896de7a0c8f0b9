"""The operator as a process under its real role: lease, take-over, watches, probes, and what it never writes."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.operators.process import EXIT_DONE, EXIT_LEASE_LOST, LEASE_NAME
from hack.controlplane.cluster import ControlPlane, KubectlError
from tests.contract.kube.objects import connection, operation
from tests.integration.operator_runs import REPOSITORY, OperatorRun, eventually, running

MODULE = "tests.integration.trivial_operator"
USER = "system:serviceaccount:meta-catalog-system:meta-catalog-operator"
SHORT_LEASE = ["--lease-seconds=5", "--lease-renew-seconds=4", "--lease-retry-seconds=0.5"]
"""Long enough for a busy machine not to lose it."""
LONG_LEASE = ["--lease-seconds=120", "--lease-renew-seconds=100", "--lease-retry-seconds=2"]
TAKE_OVER_SECONDS = 5 + 2 * 0.6 + 3  # the lease, two looks, and a busy machine

Start = Callable[..., OperatorRun]


@pytest.fixture
def start(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Start]:
    """Start operators that watch one namespace; a lease that an earlier test left is removed first."""
    with contextlib.suppress(KubectlError):
        control_plane.kubectl("delete", "lease", LEASE_NAME, "--namespace", control_plane.namespace)
    with contextlib.ExitStack() as stack:

        def begin(name: str, lease: list[str] = SHORT_LEASE, *flags: str) -> OperatorRun:
            arguments = [
                "--beats",
                f"{tmp_path / name}.beats",
                f"--kubeconfig={control_plane.operator_kubeconfig}",
                f"--watch-namespaces={namespace}",
                "--http-host=127.0.0.1",
                "--http-port=0",
                *lease,
                *flags,
            ]
            return stack.enter_context(running(tmp_path, name, arguments, module=MODULE))

        yield begin


def apply(control_plane: ControlPlane, *objects: Any) -> None:
    documents = "\n---\n".join(json.dumps(one.to_wire()) for one in objects)
    control_plane.kubectl("apply", "--filename=-", input=documents)


def delete(control_plane: ControlPlane, namespace: str, kind: str, name: str) -> None:
    control_plane.kubectl("delete", kind, name, "--namespace", namespace, "--wait=false")


def audit(control_plane: ControlPlane) -> list[dict[str, Any]]:
    """What the operator's account asked of the API server."""
    lines = control_plane.audit_log.read_text().splitlines()
    records = [json.loads(line) for line in lines if line.endswith("}")]
    return [one for one in records if one["user"]["username"] == USER and one["stage"] == "ResponseComplete"]


def beats(tmp_path: Path, name: str) -> list[float]:
    return [float(line) for line in (tmp_path / f"{name}.beats").read_text().split()]


def holder(control_plane: ControlPlane) -> str:
    path = "jsonpath={.spec.holderIdentity}"
    return control_plane.kubectl("get", "lease", LEASE_NAME, "--namespace", control_plane.namespace, f"--output={path}")


def test_what_it_does_and_what_it_never_writes(control_plane: ControlPlane, namespace: str, start: Start) -> None:
    apply(control_plane, connection(namespace))
    earlier = len(audit(control_plane))
    run = start("first", LONG_LEASE)
    run.expect("reconciled", object=f"MetaConnection {namespace}/acme", there=True)
    apply(control_plane, operation(namespace), connection(namespace, "later"))
    run.expect("reconciled", object=f"SyncOperation {namespace}/run", there=True)
    run.expect("reconciled", object=f"MetaConnection {namespace}/later", there=True)
    delete(control_plane, namespace, "metaconnection", "acme")
    run.expect("reconciled", object=f"MetaConnection {namespace}/acme", there=False)

    assert run.get("/livez").status_code == 200
    assert run.get("/readyz").status_code == 200
    metrics = run.get("/metrics").text
    assert "metacatalog_leader 1.0" in metrics
    assert 'metacatalog_watch_last_event_age_seconds{kind="MetaConnection"}' in metrics

    run.signal(signal.SIGTERM)
    assert run.wait() == EXIT_DONE
    assert run.logged("closed")
    assert holder(control_plane) == "", "a clean end lets others take the lease at once"

    asked = audit(control_plane)[earlier:]
    assert asked
    assert [one for one in asked if one["responseStatus"]["code"] in (401, 403)] == []
    ours = [one for one in asked if one.get("objectRef", {}).get("apiGroup") == "metacatalog.dev"]
    assert {one["verb"] for one in ours} <= {"list", "watch", "get"}
    assert {one["objectRef"]["resource"] for one in asked if one["verb"] not in ("list", "watch", "get")} == {"leases"}
    left = json.loads(
        control_plane.kubectl("get", "metaconnection", "later", "--namespace", namespace, "--output=json")
    )
    assert "finalizers" not in left["metadata"]
    assert not [name for name in left["metadata"]["annotations"] if "kopf" in name or "metacatalog.dev" in name]


def test_one_works_and_one_waits_until_the_first_is_killed(
    control_plane: ControlPlane, namespace: str, start: Start
) -> None:
    apply(control_plane, connection(namespace))
    first = start("first")
    first.expect("working")
    second = start("second")
    second.expect("standing by", holder=first.expect("lease taken")["identity"])
    assert second.get("/readyz").status_code == 200, "a standby is ready: it is there to take over"
    assert second.get("/livez").status_code == 200
    assert not second.logged("reconciled")
    first.signal(signal.SIGKILL)
    second.expect("lease taken", seconds=TAKE_OVER_SECONDS)
    second.expect("reconciled", object=f"MetaConnection {namespace}/acme", there=True)


def test_a_paused_one_knows_at_once_that_it_lost_the_lease(
    control_plane: ControlPlane, namespace: str, start: Start, tmp_path: Path
) -> None:
    first = start("first")
    first.expect("working")
    eventually(lambda: len(beats(tmp_path, "first")) > 10, "the first one may send")
    second = start("second")
    second.expect("standing by")
    first.signal(signal.SIGSTOP)
    second.expect("working", seconds=TAKE_OVER_SECONDS + 10)
    eventually(lambda: len(beats(tmp_path, "second")) > 10, "the second one may send")
    first.signal(signal.SIGCONT)
    assert first.wait() == EXIT_LEASE_LOST
    assert first.logged("lease lost")
    assert first.logged("closed"), "what is on its way is handed over"
    assert max(beats(tmp_path, "first")) < min(beats(tmp_path, "second")), "two were allowed to send at the same time"
    assert holder(control_plane) == second.expect("lease taken")["identity"]


def test_a_deletion_that_no_watch_tells_is_noticed(control_plane: ControlPlane, namespace: str, start: Start) -> None:
    apply(control_plane, connection(namespace), connection(namespace, "stays"))
    run = start("first", LONG_LEASE)
    run.expect("reconciled", object=f"MetaConnection {namespace}/acme", there=True)
    apply(control_plane, operation(namespace))
    run.expect("reconciled", object=f"SyncOperation {namespace}/run", there=True)  # by a watch that stands
    compared = "metacatalog_watch_comparisons_total "
    eventually(lambda: f"{compared}0.0" not in run.get("/metrics").text, "the comparison that follows the start")
    # Its streams are broken, and it is stopped before it can make new ones. What happens meanwhile is forgotten.
    control_plane.stop_api_server()
    run.signal(signal.SIGSTOP)
    control_plane.start_api_server()
    delete(control_plane, namespace, "metaconnection", "acme")
    control_plane.restart_api_server()
    run.signal(signal.SIGCONT)
    run.expect("reconciled", object=f"MetaConnection {namespace}/acme", there=False)
    assert run.logged("comparison found what no watch told", kind="MetaConnection")
    apply(control_plane, connection(namespace, "new"))
    run.expect("reconciled", object=f"MetaConnection {namespace}/new", there=True)
    assert not run.logged("reconciled", object=f"MetaConnection {namespace}/stays", there=False)
    assert run.process.poll() is None


def test_it_outlives_a_short_absence_of_the_api_server(
    control_plane: ControlPlane, namespace: str, start: Start
) -> None:
    run = start("first", LONG_LEASE)
    run.expect("working")
    apply(control_plane, connection(namespace, "before"))
    run.expect("reconciled", object=f"MetaConnection {namespace}/before", there=True)
    control_plane.stop_api_server()
    run.expect("lease not written")
    control_plane.start_api_server()
    apply(control_plane, connection(namespace, "after"))
    run.expect("reconciled", object=f"MetaConnection {namespace}/after", there=True)


def test_without_the_api_server_the_lease_is_lost_in_time(control_plane: ControlPlane, start: Start) -> None:
    run = start("first")
    run.expect("working")
    control_plane.stop_api_server()
    try:
        assert run.wait() == EXIT_LEASE_LOST
    finally:
        control_plane.start_api_server()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--workers=0"], "--workers: Input should be greater than or equal to 1"),
        (["--endpoint=graph.facebook.com"], "--endpoint: "),
        (["--store-url=bucket"], "--store-url: "),
        (["--kubeconfig=/nowhere", "--http-port=0", "--http-host=127.0.0.1"], "no access to the API server"),
    ],
)
def test_a_wrong_flag_ends_it_with_one_line(flags: list[str], said: str) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("METACATALOG_", "KUBE"))}
    ended = subprocess.run(
        [sys.executable, "-m", "controller", "run", *flags],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    last = [line for line in ended.stderr.splitlines() if not line.startswith("{")]
    assert len(last) == 1
    assert last[0].startswith(f"meta-catalog-operator: {said}")
