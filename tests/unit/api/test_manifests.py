"""What is shipped under manifests/ fits the models."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.api import names
from controller.api.resource import Resource
from controller.api.v1alpha1 import KINDS, RECORDS, Catalog, MetaConnection

MANIFESTS = Path(__file__).parents[3] / "manifests"
SAMPLES = sorted((MANIFESTS / "samples").glob("*.yaml"))
BY_KIND = {kind.KIND: kind for kind in KINDS}


def documents(path: Path) -> Iterator[dict[str, Any]]:
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        if document:
            yield document


def resources(path: Path) -> Iterator[Resource]:
    for document in documents(path):
        if document["apiVersion"] == names.API_VERSION:
            yield BY_KIND[document["kind"]].from_wire(document)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_each_sample_tells_a_story_and_is_readable(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("# ")
    assert list(resources(path))


def test_no_two_samples_make_the_same_object() -> None:
    # The demo's sample tells the whole story again, in a namespace of its own.
    told = [path for path in SAMPLES if path.name != "demo.yaml"]
    keys = [(doc["kind"], doc["metadata"]["name"]) for path in told for doc in documents(path)]
    assert len(keys) == len(set(keys))


def test_every_secret_of_a_sample_may_be_read() -> None:
    secrets = [doc for path in SAMPLES for doc in documents(path) if doc["kind"] == "Secret"]
    assert secrets
    for secret in secrets:
        assert secret["metadata"]["labels"] == {names.LABEL_CREDENTIAL: "true"}


def test_the_full_sample_leaves_nothing_out() -> None:
    full = {type(resource): resource for resource in resources(MANIFESTS / "samples" / "full.yaml")}
    connection, catalog = full[MetaConnection], full[Catalog]
    assert isinstance(connection, MetaConnection)
    assert isinstance(catalog, Catalog)
    assert connection.spec.filled_in() == {}
    assert catalog.spec.filled_in() == {}


def test_the_full_sample_shows_the_defaults() -> None:
    smallest, full = (
        next(one for one in resources(MANIFESTS / "samples" / name) if isinstance(one, Catalog))
        for name in ("smallest.yaml", "full.yaml")
    )
    assert full.spec.freshness == smallest.spec.freshness
    assert full.spec.operations == smallest.spec.operations
    assert full.spec.ingestion == smallest.spec.ingestion
    shown = {"max_deletes": None, "max_price_change": None}
    assert full.spec.guards.model_copy(update=shown) == smallest.spec.guards
    assert full.spec.items[0].interval == smallest.spec.items[0].interval


def rules(kind: str) -> list[dict[str, Any]]:
    (role,) = [
        doc
        for doc in documents(MANIFESTS / "rbac.yaml")
        if doc["kind"] == kind and doc["metadata"]["name"] == names.SERVICE_ACCOUNT
    ]
    found: list[dict[str, Any]] = role["rules"]
    return found


def test_the_operator_reads_secrets_one_by_one() -> None:
    verbs = [
        rule["verbs"] for kind in ("Role", "ClusterRole") for rule in rules(kind) if "secrets" in rule["resources"]
    ]
    assert verbs == [["get"]]


def test_the_operator_reads_config_maps_one_by_one_and_makes_its_own() -> None:
    verbs = {
        (kind, tuple(rule["verbs"]))
        for kind in ("Role", "ClusterRole")
        for rule in rules(kind)
        if "configmaps" in rule["resources"]
    }
    assert verbs == {("ClusterRole", ("get",)), ("Role", ("create",)), ("Role", ("get",))}


def test_the_operator_may_do_nothing_by_wildcard() -> None:
    for kind in ("Role", "ClusterRole"):
        for rule in rules(kind):
            assert "*" not in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}


def test_the_operator_watches_every_kind_but_its_own_records() -> None:
    watched = {resource for rule in rules("ClusterRole") if "watch" in rule["verbs"] for resource in rule["resources"]}
    assert watched == {kind.PLURAL for kind in KINDS} - {kind.PLURAL for kind in RECORDS}
    statuses = {resource for rule in rules("ClusterRole") for resource in rule["resources"] if "/status" in resource}
    assert statuses == {f"{plural}/status" for plural in watched}


def test_the_role_is_bound_to_the_operators_account() -> None:
    bindings = [doc for doc in documents(MANIFESTS / "rbac.yaml") if doc["kind"].endswith("Binding")]
    assert len(bindings) == 2
    for binding in bindings:
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": names.SERVICE_ACCOUNT, "namespace": names.OPERATOR_NAMESPACE},
        ]
