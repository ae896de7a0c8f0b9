"""The definitions that are generated from the models."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
import yaml
from pydantic import Field

from controller.api.base import PERSISTED, VALIDATIONS, Persisted
from controller.api.crds import NotStructuralError, crd, crd_name, structural_schema
from controller.api.resource import Declared, Resource, Spec, Status
from controller.api.v1alpha1 import KINDS, Catalog, CatalogLedger, SyncOperation
from hack import generate

BYTES_MAX = 262_144
"""What kubectl apply can keep in its annotation."""
COLUMNS_MAX = 120
PEOPLES = [kind for kind in KINDS if kind is not CatalogLedger]


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if isinstance(schema.get("items"), dict):
        yield from nodes(schema["items"], f"{path}[]")


def described(kind: type[Resource]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, node in nodes(structural_schema(kind)):
        if path.startswith((".spec", ".status", ".ledger")):
            yield path, node


def by_kind(kinds: list[type[Resource]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("kind", kinds, ids=lambda kind: kind.KIND)


def test_the_committed_definitions_are_fresh() -> None:
    files = {path: text for path, text in generate.generated().items() if path.parent.name == "crds"}
    assert generate.differences(files) == []


def test_staleness_is_told_with_the_name_and_the_line(tmp_path: Path) -> None:
    (tmp_path / "crds").mkdir()
    (tmp_path / "crds" / "old.yaml").write_text("gone: true\n")
    (tmp_path / "crds" / "changed.yaml").write_text("a: 1\n")
    report = "\n".join(generate.differences({tmp_path / "crds" / "changed.yaml": "a: 2\n"}, tmp_path))
    assert "crds/changed.yaml" in report
    assert "-a: 1" in report
    assert "+a: 2" in report
    assert "crds/old.yaml: no kind has this definition" in report


@by_kind(list(KINDS))
def test_the_yaml_says_what_the_definition_says(kind: type[Resource]) -> None:
    text = generate.crd_yaml(kind)
    assert yaml.safe_load(text) == crd(kind)
    assert len(text.encode()) < BYTES_MAX / 2
    assert "&id" not in text


@by_kind(list(KINDS))
def test_schemas_are_structural(kind: type[Resource]) -> None:
    forbidden = {"$ref", "$defs", "anyOf", "allOf", "title", "prefixItems", "const", PERSISTED}
    for path, node in nodes(structural_schema(kind)):
        assert not forbidden & set(node), path
        assert node.get("type"), path
        if node["type"] == "array":
            assert node["x-kubernetes-list-type"] in {"atomic", "set", "map"}, path
            assert "items" in node, path
        if node.get("x-kubernetes-list-type") == "map":
            assert set(node["x-kubernetes-list-map-keys"]) <= set(node["items"]["required"]), path


@by_kind(PEOPLES)
def test_everything_has_a_bound(kind: type[Resource]) -> None:
    for path, node in described(kind):
        if node["type"] == "array":
            assert node.get("maxItems"), path
        if node["type"] == "string":
            assert node.get("maxLength") or node.get("enum") or node.get("format") == "date-time", path


@by_kind(PEOPLES)
def test_everything_is_explained(kind: type[Resource]) -> None:
    for path, node in described(kind):
        if not path.endswith("[]"):
            assert node.get("description", "").rstrip(".!"), path


@by_kind(PEOPLES)
def test_lists_in_status_are_short(kind: type[Resource]) -> None:
    lengths = {path: node["maxItems"] for path, node in described(kind) if node["type"] == "array"}
    longer = {path for path, length in lengths.items() if path.startswith(".status") and length > 16}
    assert longer <= {".status.scopes"}


@by_kind(PEOPLES)
def test_no_default_stands_inside_a_list(kind: type[Resource]) -> None:
    assert not [path for path, node in described(kind) if "[]" in path and "default" in node]


def test_only_what_is_fixed_for_the_version_is_persisted() -> None:
    persisted = {path: node["default"] for path, node in described(Catalog) if "default" in node}
    assert persisted == {
        ".spec.adoptionPolicy": "Never",
        ".spec.vertical": "Commerce",
        ".spec.managementPolicy": "Full",
        ".spec.driftPolicy": "Correct",
        ".spec.deletionPolicy": "Orphan",
        ".spec.deleteWhileLive": False,
        ".spec.suspend": False,
        ".spec.existingFeeds": "Report",
        ".status": {"observedGeneration": -1},
    }
    nodes_by_path = dict(described(Catalog))
    assert nodes_by_path[".spec.guards.gracePeriod"]["description"].endswith("Default: 2160h.")
    assert nodes_by_path[".spec.items[].interval"]["description"].endswith("Default: 5m.")


@by_kind(list(KINDS))
def test_columns_show_fields_that_exist(kind: type[Resource]) -> None:
    schema = dict(nodes(structural_schema(kind)))
    for column in kind.COLUMNS:
        plain = re.sub(r'\[\?\(@\.type=="\w+"\)\]', "[]", column.json_path)
        if not plain.startswith(".metadata"):
            assert plain in schema, column
    headers = [column.name for column in kind.COLUMNS if not column.priority]
    assert sum(len(header) + 3 for header in headers) < COLUMNS_MAX
    for path in kind.SELECTABLE:
        assert schema[path]["type"] == "string"


def test_catalogs_show_the_columns_that_people_know() -> None:
    shown = [column.name for column in Catalog.COLUMNS if not column.priority]
    assert shown == ["Ready", "Status", "Catalog ID", "Items", "Invalid", "Refused", "Issues", "Fresh", "Age"]
    operations = [column.name for column in SyncOperation.COLUMNS if not column.priority]
    assert operations == [
        "Method",
        "Shards",
        "Phase",
        "Create",
        "Update",
        "Delete",
        "Refused",
        "Phase Since",
        "Age",
    ]


def test_a_ledger_has_its_own_content_and_no_status() -> None:
    (version,) = crd(CatalogLedger)["spec"]["versions"]
    assert "subresources" not in version
    assert "ledger" in version["schema"]["openAPIV3Schema"]["properties"]
    assert "spec" not in version["schema"]["openAPIV3Schema"]["properties"]


def test_rules_of_a_type_and_of_its_use_are_added_up() -> None:
    timeout = dict(described(KINDS[0]))[".spec.timeout"]
    messages = [rule["message"] for rule in timeout[VALIDATIONS]]
    assert messages == [
        "write a duration such as 90s, 15m or 1h30m (units: h, m, s, ms)",
        "must be at least 5s",
    ]


def odd(annotation: Any) -> type[Resource]:
    class OddSpec(Spec):
        value: annotation

    class Odd(Declared[OddSpec, Status]):
        KIND: ClassVar[str] = "Odd"
        PLURAL: ClassVar[str] = "odds"
        SHORT_NAME: ClassVar[str] = "odd"

        spec: OddSpec
        status: Status = Status()

    return Odd


def test_what_a_crd_cannot_say_is_an_error() -> None:
    with pytest.raises(NotStructuralError, match=r"spec\.value: a union"):
        crd(odd(int | str))
    with pytest.raises(NotStructuralError, match=r"spec\.value: exclusiveMinimum"):
        crd(odd(Annotated[int, Field(gt=3)]))
    with pytest.raises(NotStructuralError, match="different types"):
        crd(odd(tuple[int, str]))


def test_a_persisted_default_inside_a_list_is_an_error() -> None:
    class Entry(Spec):
        suspend: Annotated[bool, Persisted()] = False

    with pytest.raises(NotStructuralError, match="a default inside a list"):
        crd(odd(tuple[Entry, ...]))


@by_kind(list(KINDS))
def test_files_are_named_by_their_definition(kind: type[Resource]) -> None:
    assert crd_name(kind) == crd(kind)["metadata"]["name"] == f"{kind.PLURAL}.metacatalog.dev"
