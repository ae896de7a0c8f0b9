"""What is shipped under manifests/, applied to a real API server."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from controller.api import names
from controller.api.v1alpha1 import KINDS
from hack.controlplane.cluster import ControlPlane
from tests.unit.api.examples import CONTENTS

pytestmark = pytest.mark.controlplane

MANIFESTS = Path(__file__).parents[2] / "manifests"
SAMPLES = sorted((MANIFESTS / "samples").glob("*.yaml"))
BY_KIND = {kind.KIND: kind for kind in KINDS}
OPERATOR = f"system:serviceaccount:{names.OPERATOR_NAMESPACE}:{names.SERVICE_ACCOUNT}"
POLICY_SECONDS = 30.0
"""The API server looks for new admission policies every few seconds."""


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
def test_a_sample_is_stored_as_it_was_written(control_plane: ControlPlane, namespace: str, sample: Path) -> None:
    def apply() -> list[dict[str, Any]]:
        options = ("--server-side", "--validate=strict", f"--namespace={namespace}", "--output=json")
        return _documents(control_plane.kubectl("apply", f"--filename={sample}", *options))

    apply()
    found = apply()  # applying it again changes nothing
    assert found
    for document in found:
        if document["apiVersion"] == names.API_VERSION:
            resource = BY_KIND[document["kind"]].from_wire(document)
            assert resource.metadata.generation == 1
            assert resource.namespace == namespace


def _documents(text: str) -> list[dict[str, Any]]:
    """What kubectl prints for one object, or for several as a list."""
    printed = json.loads(text)
    items: list[dict[str, Any]] = printed["items"] if printed["kind"] == "List" else [printed]
    return items


@pytest.mark.parametrize("manifest", ["namespace.yaml", "rbac.yaml", "roles.yaml", "admission.yaml"])
def test_what_is_installed_is_understood(control_plane: ControlPlane, manifest: str) -> None:
    said = control_plane.kubectl("apply", "--dry-run=server", "--validate=strict", f"--filename={MANIFESTS / manifest}")
    assert said


@pytest.mark.parametrize(
    ("verb", "resource", "namespace", "allowed"),
    [
        ("get", "secrets", "default", True),
        ("list", "secrets", "default", False),
        ("watch", "secrets", "default", False),
        ("update", "secrets", "default", False),
        ("watch", "catalogs.metacatalog.dev", "default", True),
        ("patch", "catalogs.metacatalog.dev", "default", True),
        ("create", "catalogs.metacatalog.dev", "default", False),
        ("delete", "catalogs.metacatalog.dev", "default", False),
        ("create", "catalogshards.metacatalog.dev", "default", True),
        ("delete", "syncoperations.metacatalog.dev", "default", True),
        ("create", "deletionapprovals.metacatalog.dev", "default", False),
        ("approve", "catalogs.metacatalog.dev", "default", False),
        ("create", "catalogledgers.metacatalog.dev", names.OPERATOR_NAMESPACE, True),
        ("update", "catalogledgers.metacatalog.dev", names.OPERATOR_NAMESPACE, True),
        ("get", "catalogledgers.metacatalog.dev", "default", False),
        ("update", "leases.coordination.k8s.io", names.OPERATOR_NAMESPACE, True),
        ("update", "leases.coordination.k8s.io", "default", False),
        ("create", "configmaps", names.OPERATOR_NAMESPACE, True),
        ("list", "configmaps", names.OPERATOR_NAMESPACE, False),
        ("get", "configmaps", "default", True),
        ("list", "configmaps", "default", False),
        ("watch", "configmaps", "default", False),
        ("create", "configmaps", "default", False),
        ("update", "configmaps", names.OPERATOR_NAMESPACE, False),
        ("create", "events.events.k8s.io", "default", True),
        ("get", "pods", names.OPERATOR_NAMESPACE, False),
    ],
)
def test_the_operator_may_do_what_it_needs_and_no_more(
    control_plane: ControlPlane,
    verb: str,
    resource: str,
    namespace: str,
    *,
    allowed: bool,
) -> None:
    said = control_plane.kubectl(
        "auth",
        "can-i",
        verb,
        resource,
        f"--namespace={namespace}",
        f"--as={OPERATOR}",
        check=False,
    )
    assert said.split()[-1] == ("yes" if allowed else "no")


def approve(control_plane: ControlPlane, namespace: str, *, user: str, in_the_name_of: str) -> str:
    """What the API server answers to an approval, without storing it."""
    document = {
        "apiVersion": names.API_VERSION,
        "kind": "DeletionApproval",
        "metadata": {"name": "clearance"},
        "spec": {**CONTENTS[BY_KIND["DeletionApproval"]]["spec"], "approvedBy": in_the_name_of},
    }
    return control_plane.kubectl(
        "create",
        "--filename=-",
        f"--namespace={namespace}",
        f"--as={user}",
        "--dry-run=server",
        input=json.dumps(document),
        check=False,
    )


def test_who_may_approve_deletions_is_a_right_of_its_own(control_plane: ControlPlane, namespace: str) -> None:
    for manifest in ("roles.yaml", "admission.yaml"):
        control_plane.kubectl("apply", "--server-side", f"--filename={MANIFESTS / manifest}")
    control_plane.kubectl(
        "create",
        "role",
        "writer",
        "--verb=create",
        "--resource=deletionapprovals.metacatalog.dev",
        f"--namespace={namespace}",
    )
    control_plane.kubectl("create", "rolebinding", "eve", "--role=writer", "--user=eve", f"--namespace={namespace}")
    for user, role in (("alice", "metacatalog-approver"), ("flux", "metacatalog-approver-on-behalf")):
        control_plane.kubectl(
            "create",
            "rolebinding",
            user,
            f"--clusterrole={role}",
            f"--user={user}",
            f"--namespace={namespace}",
        )

    deadline = time.monotonic() + POLICY_SECONDS
    while "approving deletions needs the verb approve" not in (
        said := approve(control_plane, namespace, user="eve", in_the_name_of="eve")
    ):
        assert time.monotonic() < deadline, said

    assert "created" in approve(control_plane, namespace, user="alice", in_the_name_of="alice")
    said = approve(control_plane, namespace, user="alice", in_the_name_of="bob")
    assert "spec.approvedBy must be alice: approving for somebody else needs the verb approve-on-behalf" in said
    assert "created" in approve(control_plane, namespace, user="flux", in_the_name_of="bob")
