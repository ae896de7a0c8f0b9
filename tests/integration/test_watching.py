"""kopf beside our own loop, on a real API server: what it delivers, and that a dead watcher is noticed."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from controller.api.v1alpha1 import MetaConnection
from controller.operators.watching import Watching
from hack.controlplane.cluster import ControlPlane
from tests.contract.kube.objects import connection
from tests.integration.operator_runs import REPOSITORY

DEADLINE_SECONDS = 40.0


@pytest.fixture
def powerless(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Path:
    """A kubeconfig of an account that may see which kinds there are, and none of their objects."""
    control_plane.kubectl("create", "serviceaccount", "nobody", "--namespace", namespace)
    token = control_plane.kubectl("create", "token", "nobody", "--namespace", namespace).strip()
    document = json.loads(control_plane.kubectl("config", "view", "--raw", "--output=json"))
    document["users"] = [{"name": user["name"], "user": {"token": token}} for user in document["users"]]
    path = tmp_path / "powerless"
    path.write_text(json.dumps(document))
    return path


DYING = """
import asyncio, sys
from pathlib import Path
from controller.api.v1alpha1 import MetaConnection
from controller.operators import watching

async def main():
    options = watching.settings()
    options.networking.error_backoffs = (0.1,)
    dying = watching.Watching(
        (MetaConnection,), lambda *_: None, kubeconfig=Path(sys.argv[1]), namespaces=(sys.argv[2],), options=options
    )
    dying.start()
    print("died of", type(await dying.ended).__name__)

asyncio.run(main())
"""


def test_a_watcher_that_dies_ends_the_watching(powerless: Path, namespace: str) -> None:
    """In a process of its own, as in the operator: what kopf leaves open when it dies ends with that."""
    ended = subprocess.run(
        [sys.executable, "-c", DYING, str(powerless), namespace],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert ended.stdout.strip() == "died of APIForbiddenError", ended.stderr


async def test_events_come_in_order_and_none_after_the_end(control_plane: ControlPlane, namespace: str) -> None:
    heard: list[tuple[str | None, str]] = []
    more = asyncio.Event()

    def deliver(_kind: object, change: str | None, wire: object) -> None:
        assert isinstance(wire, dict)
        heard.append((change, wire["metadata"]["name"]))
        more.set()

    async def until(count: int) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(heard) < count:
                more.clear()
                await more.wait()

    def apply(name: str) -> None:
        control_plane.kubectl("apply", "--filename=-", input=json.dumps(connection(namespace, name).to_wire()))

    await asyncio.to_thread(apply, "first")
    running = Watching(
        (MetaConnection,), deliver, kubeconfig=control_plane.operator_kubeconfig, namespaces=(namespace,)
    )
    running.start()
    await until(1)
    await asyncio.to_thread(apply, "second")
    await until(2)
    await asyncio.to_thread(control_plane.kubectl, "delete", "metaconnection", "first", "--namespace", namespace)
    await until(3)
    assert heard == [(None, "first"), ("ADDED", "second"), ("DELETED", "first")]
    await running.close()
    assert running.ended.done()
    assert running.ended.result() is None
    await asyncio.to_thread(apply, "third")
    assert len(heard) == 3
