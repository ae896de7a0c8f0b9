"""The definitions on a real API server: what is stored, what is refused and with which words, what kubectl shows."""

import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest
import yaml

from controller.api.resource import Declared, Resource
from controller.api.v1alpha1 import (
    KINDS,
    Catalog,
    CatalogLedger,
    CatalogShard,
    DeletionApproval,
    FeedSchedule,
    MetaConnection,
    SyncOperation,
)
from hack.controlplane.cluster import ControlPlane
from tests.unit.api.examples import CATALOG, CONTENTS, ENTRY

pytestmark = pytest.mark.controlplane

HTTP: dict[str, Any] = CATALOG["items"][0]["source"]
GRAPH = CONTENTS[MetaConnection]["spec"]["graph"]
SHARD = CONTENTS[CatalogShard]["spec"]
OPERATION = CONTENTS[SyncOperation]["spec"]
APPROVAL = CONTENTS[DeletionApproval]["spec"]
SCHEDULE: dict[str, Any] = {"catalogRef": {"name": "germany"}, "method": "ItemsBatch", "interval": "15m"}


def manifest(kind: type[Resource], spec: Mapping[str, Any], name: str = "germany") -> dict[str, Any]:
    return {
        "apiVersion": kind.api_version(),
        "kind": kind.KIND,
        "metadata": {"name": name},
        kind.content_key(): deepcopy(dict(spec)),
    }


def catalog(entry: Mapping[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {**CATALOG, "items": [{**ENTRY, **(entry or {})}], **spec}


def source(**http: Any) -> dict[str, Any]:
    return catalog({"source": {"http": http}})


def volume(path: str) -> dict[str, Any]:
    return catalog({"source": {"volume": {"name": "exports", "path": path}}})


def answer(control_plane: ControlPlane, kind: type[Resource], text: str) -> str:
    """What the API server says about an object, without storing it."""
    arguments = ("create", "--dry-run=server", "--filename=-", "--namespace=default", "--output=name")
    return control_plane.kubectl(*arguments, input=text, check=False)


def stored(control_plane: ControlPlane, namespace: str, kind: type[Resource], name: str = "germany") -> dict[str, Any]:
    text = control_plane.kubectl("get", kind.PLURAL, name, f"--namespace={namespace}", "--output=json")
    found: dict[str, Any] = json.loads(text)
    return found


def create(control_plane: ControlPlane, namespace: str, kind: type[Resource], spec: Mapping[str, Any]) -> None:
    document = json.dumps(manifest(kind, spec))
    control_plane.kubectl("create", "--filename=-", f"--namespace={namespace}", "--validate=strict", input=document)


def patch(
    control_plane: ControlPlane,
    namespace: str,
    kind: type[Resource],
    change: Mapping[str, Any],
    *options: str,
    check: bool = True,
) -> str:
    """Change an object by a merge patch, in which None removes a field."""
    return control_plane.kubectl(
        "patch",
        kind.PLURAL,
        "germany",
        f"--namespace={namespace}",
        "--type=merge",
        f"--patch={json.dumps(change)}",
        *options,
        check=check,
    )


def by_kind(*kinds: type[Resource]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("kind", kinds, ids=lambda kind: kind.KIND)


def test_every_kind_is_served_under_its_names(control_plane: ControlPlane) -> None:
    served = control_plane.kubectl("api-resources", "--api-group=metacatalog.dev", "--no-headers")
    rows = [line.split()[:4] for line in served.splitlines()]
    expected = [[kind.PLURAL, kind.SHORT_NAME, kind.api_version(), "true"] for kind in KINDS]
    assert sorted(rows) == sorted(expected)


@by_kind(*KINDS)
def test_the_api_server_keeps_all_that_the_models_write(
    control_plane: ControlPlane,
    namespace: str,
    kind: type[Resource],
) -> None:
    content = CONTENTS[kind]
    create(control_plane, namespace, kind, content[kind.content_key()])
    if "status" in content:
        patch(control_plane, namespace, kind, {"status": content["status"]}, "--subresource=status")
    resource = kind.from_wire(stored(control_plane, namespace, kind))
    written = resource.to_wire()
    for part, fields in content.items():
        assert {name: written[part][name] for name in fields} == fields


@by_kind(*(kind for kind in KINDS if issubclass(kind, Declared)))
def test_a_new_object_shows_that_nobody_looked_yet(
    control_plane: ControlPlane,
    namespace: str,
    kind: type[Resource],
) -> None:
    create(control_plane, namespace, kind, CONTENTS[kind]["spec"])
    found = stored(control_plane, namespace, kind)
    assert found["status"] == {"observedGeneration": -1}
    patch(control_plane, namespace, kind, {"status": {"observedGeneration": 1}}, "--subresource=status")
    patch(control_plane, namespace, kind, {"status": {"observedGeneration": 99}})
    assert stored(control_plane, namespace, kind)["status"] == {"observedGeneration": 1}


def test_a_ledger_is_one_object_without_status(control_plane: ControlPlane, namespace: str) -> None:
    create(control_plane, namespace, CatalogLedger, CONTENTS[CatalogLedger]["ledger"])
    assert "status" not in stored(control_plane, namespace, CatalogLedger)
    said = patch(control_plane, namespace, CatalogLedger, {"ledger": {}}, "--subresource=status", check=False)
    assert "not find the requested resource" in said or "not found" in said


def test_only_defaults_that_are_fixed_are_written_into_a_catalog(control_plane: ControlPlane, namespace: str) -> None:
    create(control_plane, namespace, Catalog, CATALOG)
    found = stored(control_plane, namespace, Catalog)["spec"]
    assert {name: value for name, value in found.items() if name not in CATALOG} == {
        "adoptionPolicy": "Never",
        "deleteWhileLive": False,
        "deletionPolicy": "Orphan",
        "driftPolicy": "Correct",
        "existingFeeds": "Report",
        "managementPolicy": "Full",
        "suspend": False,
        "vertical": "Commerce",
    }
    assert found["items"] == CATALOG["items"]


REFUSED: dict[str, tuple[type[Resource], dict[str, Any], str]] = {
    "no source": (
        Catalog,
        catalog({"source": {}}),
        "spec.items[0].source: Invalid value: give exactly one source: http, object, volume, configMap or sql",
    ),
    "two sources": (
        Catalog,
        catalog({"source": {**HTTP, "volume": {"name": "exports", "path": "a.csv"}}}),
        "spec.items[0].source: Invalid value: give exactly one source: http, object, volume, configMap or sql",
    ),
    "no address": (Catalog, source(), "give exactly one of url and urlSecretRef"),
    "two addresses": (
        Catalog,
        source(url="https://shop.example/a", urlSecretRef={"name": "a", "key": "b"}),
        "give exactly one of url and urlSecretRef",
    ),
    "another scheme": (
        Catalog,
        source(url="ftp://shop.example/a"),
        "must start with http:// or https:// and name a host",
    ),
    "no host": (Catalog, source(url="https:///a"), "must start with http:// or https:// and name a host"),
    "user info": (
        Catalog,
        source(url="https://user:hunter2@shop.example/a"),
        "url: Invalid value: must not carry a user name or password: put them into a Secret and name it in basicAuth",
    ),
    "user only": (Catalog, source(url="https://user@shop.example/a"), "must not carry a user name or password"),
    "presigned": (
        Catalog,
        source(url="https://s3.example/a?X-Amz-Date=1&X-Amz-Signature=hunter2"),
        "a presigned address is a secret: put it into a Secret and name it in urlSecretRef",
    ),
    "secret header": (
        Catalog,
        source(url="https://shop.example/a", headers=[{"name": "Authorization", "value": "Bearer hunter2"}]),
        "a header with credentials must come from a Secret: use valueSecretRef",
    ),
    "empty header": (
        Catalog,
        source(url="https://shop.example/a", headers=[{"name": "X-Shop"}]),
        "give exactly one of value and valueSecretRef",
    ),
    "absolute path": (
        Catalog,
        volume("/etc/passwd"),
        "must be relative to the root of the volume: remove the leading /",
    ),
    "path upwards": (Catalog, volume("a/../../token"), "must not contain '..'"),
    "backslash": (Catalog, volume("a\\b"), "must not contain control characters or backslashes"),
    "unquoted yes": (
        Catalog,
        catalog({"mapping": {"constants": [{"field": "brand", "value": True}]}}),
        "spec.items[0].mapping.constants[0].value in body must be of type string",
    ),
    "unquoted yes in a value map": (
        Catalog,
        catalog({"mapping": {"values": [{"field": "availability", "from": True, "to": "in stock"}]}}),
        "spec.items[0].mapping.values[0].from in body must be of type string",
    ),
    "one value replaced twice": (
        Catalog,
        catalog({"mapping": {"values": [{"field": "color", "from": "rot", "to": to} for to in ("red", "Red")]}}),
        "spec.items[0].mapping.values[1]: Duplicate value",
    ),
    "template with a single brace": (
        Catalog,
        catalog({"mapping": {"templates": [{"field": "link", "template": "https://shop.example/{Handle"}]}}),
        "name columns in single braces, e.g. {Handle}; a brace itself is written twice",
    ),
    "template without a column": (
        Catalog,
        catalog({"mapping": {"templates": [{"field": "link", "template": "https://shop.example/{{x}}"}]}}),
        "names no column: use constants for a fixed value",
    ),
    "preset and SELECT": (
        Catalog,
        catalog({"mapping": {"preset": "Shopify", "sql": "SELECT * FROM source"}}),
        "give at most one of preset and sql",
    ),
    "two previous ids": (
        Catalog,
        catalog({"variants": {"previousID": {"column": "old", "template": "{old}"}}}),
        "give exactly one of column, template and idPattern",
    ),
    "same field twice": (
        Catalog,
        catalog({"mapping": {"columns": [{"field": "id", "column": "a"}, {"field": "id", "column": "b"}]}}),
        'spec.items[0].mapping.columns[1]: Duplicate value: {"field":"id"}',
    ),
    "days": (Catalog, catalog({"interval": "3d"}), "write a duration such as 90s, 15m or 1h30m (units: h, m, s, ms)"),
    "too often": (
        Catalog,
        catalog({"interval": "4s999ms"}),
        'spec.items[0].interval: Invalid value: "4s999ms": must be at',
    ),
    "currency": (Catalog, catalog({"currency": "Euro"}), "spec.items[0].currency"),
    "two entries": (
        Catalog,
        catalog(items=[ENTRY, {**ENTRY, "name": "more"}]),
        "spec.items: Too many: 2: must have at most 1 item",
    ),
    "no entry": (Catalog, catalog(items=[]), "spec.items in body should have at least 1 items"),
    "number as id": (Catalog, catalog(catalogID=998877), "spec.catalogID in body must be of type string"),
    "id and search": (
        Catalog,
        catalog(catalogID="1", adoptionPolicy="IfNameMatches"),
        "catalogID and adoptionPolicy IfNameMatches exclude each other: an id needs no search by name",
    ),
    "another vertical": (Catalog, catalog(vertical="Jobs"), 'spec.vertical: Unsupported value: "Jobs"'),
    "too many shards": (Catalog, catalog(sharding={"shards": 257}), "spec.sharding.shards"),
    "percentage": (Catalog, catalog(guards={"maxDeletePercent": 101}), "spec.guards.maxDeletePercent"),
    "connection without token": (MetaConnection, {"graph": {"businessID": "1"}}, "spec.graph.tokenSecretRef: Required"),
    "number as business": (
        MetaConnection,
        {"graph": {**GRAPH, "businessID": 1}},
        "spec.graph.businessID in body must be of type string",
    ),
    "version without v": (MetaConnection, {"graph": {**GRAPH, "graphVersion": "26.0"}}, "spec.graph.graphVersion"),
    "hasty": (
        MetaConnection,
        {"graph": GRAPH, "timeout": "1s"},
        'spec.timeout: Invalid value: "1s": must be at least 5s',
    ),
    "cron and interval": (
        FeedSchedule,
        {**SCHEDULE, "cron": "0 3 * * *"},
        "spec: Invalid value: give exactly one of cron and interval",
    ),
    "neither": (
        FeedSchedule,
        {name: value for name, value in SCHEDULE.items() if name != "interval"},
        "give exactly one of cron and interval",
    ),
    "cron of six fields": (
        FeedSchedule,
        {**SCHEDULE, "interval": None, "cron": "0 0 3 * * *"},
        "write five fields: minute, hour, day of month, month, day of week, e.g. 0 3 * * *",
    ),
    "fields of a replace": (
        FeedSchedule,
        {**SCHEDULE, "method": "ReplaceFeed", "fields": ["price"]},
        "ReplaceFeed always sends complete rows",
    ),
    "method that is not offered": (
        FeedSchedule,
        {**SCHEDULE, "method": "UpdateFeed"},
        'spec.method: Unsupported value: "UpdateFeed": supported values: "ReplaceFeed", "ItemsBatch"',
    ),
    "unquoted time": (
        FeedSchedule,
        {**SCHEDULE, "quietHours": [{"from": 1320, "to": "23:00"}]},
        "spec.quietHours[0].from in body must be of type string",
    ),
    "slots upside down": (
        CatalogShard,
        {**SHARD, "partition": {"slots": {"from": 2, "to": 1}}},
        "from must not be greater than to",
    ),
    "slot 4096": (CatalogShard, {**SHARD, "partition": {"slots": {"from": 0, "to": 4096}}}, "spec.partition.slots.to"),
    "replace of two shards": (
        SyncOperation,
        {**OPERATION, "shards": ["a", "b"]},
        "ReplaceFeed sends one file to one feed: name exactly one shard",
    ),
    "replace of some items": (
        SyncOperation,
        {**OPERATION, "itemIDs": ["SKU-1"]},
        "itemIDs and fields narrow an ItemsBatch; ReplaceFeed always sends every row of its shard",
    ),
    "operation without shards": (
        SyncOperation,
        {**OPERATION, "shards": []},
        "spec.shards in body should have at least 1",
    ),
    "short digest": (
        DeletionApproval,
        {**APPROVAL, "digest": "sha256:abc"},
        "copy the digest from status.held.digest of the Catalog; it is sha256: and 64 hexadecimal digits",
    ),
    "endless approval": (
        DeletionApproval,
        {name: value for name, value in APPROVAL.items() if name != "expiresAt"},
        "spec.expiresAt: Required value",
    ),
}


@pytest.mark.parametrize("story", REFUSED)
def test_what_is_wrong_is_refused_with_what_to_do(control_plane: ControlPlane, story: str) -> None:
    kind, spec, words = REFUSED[story]
    said = answer(control_plane, kind, json.dumps(manifest(kind, spec)))
    assert words in said
    assert f'The {kind.KIND} "germany" is invalid' in said
    assert "user info" not in story or "hunter2" not in said
    assert story not in {"presigned", "secret header"} or "hunter2" not in said


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a" * 41, "the name must be no more than 40 characters long: children append to it"),
        ("1st", "the name must start with a letter and hold only lower-case letters, digits and dashes"),
        ("a.b", "the name must start with a letter and hold only lower-case letters, digits and dashes"),
    ],
)
def test_names_leave_room_for_children(control_plane: ControlPlane, name: str, words: str) -> None:
    assert words in answer(control_plane, Catalog, json.dumps(manifest(Catalog, CATALOG, name)))


def test_a_yes_without_quotes_is_told_apart_from_a_string(control_plane: ControlPlane) -> None:
    text = yaml.safe_dump(manifest(Catalog, catalog({"mapping": {"constants": [{"field": "brand", "value": "YES"}]}})))
    assert "'YES'" in text
    assert "catalog.metacatalog.dev/germany" in answer(control_plane, Catalog, text)
    said = answer(control_plane, Catalog, text.replace("'YES'", "yes"))
    assert 'constants[0].value in body must be of type string: "boolean"' in said


ADMITTED: dict[str, tuple[type[Resource], dict[str, Any]]] = {
    "longest name": (Catalog, manifest(Catalog, CATALOG, "a" * 40)),
    "at sign in the path": (
        Catalog,
        manifest(Catalog, source(url="https://shop.example/@team/a.csv?mail=a@b.example")),
    ),
    "address from a secret": (Catalog, manifest(Catalog, source(urlSecretRef={"name": "export", "key": "url"}))),
    "dots in a name": (Catalog, manifest(Catalog, volume("a..b/...csv"))),
    "tab": (Catalog, manifest(Catalog, catalog({"format": {"delimiter": "\t"}}))),
    "shortest interval": (Catalog, manifest(Catalog, catalog({"interval": "5s"}))),
    "no grace": (Catalog, manifest(Catalog, catalog(guards={"gracePeriod": "0s"}))),
    "batch of many shards": (
        SyncOperation,
        manifest(
            SyncOperation,
            {
                **OPERATION,
                "method": "ItemsBatch",
                "shards": [f"g-1-{n}" for n in range(256)],
                "itemIDs": ["0001"] * 1_000,
            },
        ),
    ),
    "cron": (FeedSchedule, manifest(FeedSchedule, {**SCHEDULE, "interval": None, "cron": "*/5 22-23 * JAN,JUN 1-5"})),
}


@pytest.mark.parametrize("story", ADMITTED)
def test_what_is_right_is_admitted(control_plane: ControlPlane, story: str) -> None:
    kind, document = ADMITTED[story]
    said = answer(control_plane, kind, json.dumps(document))
    assert said.strip() == f"{kind.KIND.lower()}.metacatalog.dev/{document['metadata']['name']}"


UNCHANGEABLE: dict[type[Resource], list[tuple[dict[str, Any], str]]] = {
    Catalog: [
        ({"catalogID": "2"}, "catalogID is immutable once set"),
        ({"catalogID": None}, "catalogID is immutable once set"),
    ],
    CatalogShard: [
        ({"catalogRef": {"name": "other"}}, "catalogRef is immutable"),
        ({"itemsName": "other"}, "itemsName is immutable"),
        ({"partition": {"slots": {"from": 1}}}, "partition is immutable: shards are split by making new ones"),
        ({"feedID": "2"}, "feedID is immutable once set"),
        ({"feedID": None}, "feedID is immutable once set"),
    ],
    FeedSchedule: [
        ({"catalogRef": {"name": "other"}}, "catalogRef is immutable; make another FeedSchedule"),
        ({"method": "ReplaceFeed", "fields": None}, "method is immutable; make another FeedSchedule"),
    ],
    SyncOperation: [
        ({"catalogRef": {"name": "other"}}, "immutable except cancel; make another SyncOperation"),
        ({"shards": ["germany-1-1"]}, "immutable except cancel; make another SyncOperation"),
        ({"method": "ItemsBatch"}, "immutable except cancel; make another SyncOperation"),
        ({"dryRun": True}, "immutable except cancel; make another SyncOperation"),
        ({"deadline": "1h"}, "immutable except cancel; make another SyncOperation"),
    ],
    DeletionApproval: [
        ({"catalogRef": {"name": "other"}}, "an approval is immutable; make another DeletionApproval"),
        ({"digest": "sha256:" + "1" * 64}, "an approval is immutable; make another DeletionApproval"),
        ({"approvedBy": "somebody-else"}, "an approval is immutable; make another DeletionApproval"),
        ({"expiresAt": "2031-01-01T00:00:00Z"}, "an approval is immutable; make another DeletionApproval"),
    ],
}


@by_kind(*UNCHANGEABLE)
def test_what_must_not_change_does_not(control_plane: ControlPlane, namespace: str, kind: type[Resource]) -> None:
    spec = {**CONTENTS[kind]["spec"], **({"catalogID": "1"} if kind is Catalog else {})}
    create(control_plane, namespace, kind, spec)
    before = stored(control_plane, namespace, kind)["spec"]
    for change, words in UNCHANGEABLE[kind]:
        assert words in patch(control_plane, namespace, kind, {"spec": change}, check=False), change
    assert stored(control_plane, namespace, kind)["spec"] == before


def test_optional_parts_cannot_be_removed_and_added_anew(control_plane: ControlPlane, namespace: str) -> None:
    spec = {**OPERATION, "method": "ItemsBatch", "itemIDs": ["SKU-1"], "fields": ["price"], "deadline": "1h"}
    create(control_plane, namespace, SyncOperation, spec)
    for field in ("itemIDs", "fields", "deadline"):
        said = patch(control_plane, namespace, SyncOperation, {"spec": {field: None}}, check=False)
        assert "immutable except cancel" in said, field


def test_a_cancelled_operation_stays_cancelled(control_plane: ControlPlane, namespace: str) -> None:
    create(control_plane, namespace, SyncOperation, OPERATION)
    patch(control_plane, namespace, SyncOperation, {"spec": {"cancel": True}})
    for value in (False, None):
        said = patch(control_plane, namespace, SyncOperation, {"spec": {"cancel": value}}, check=False)
        assert "a cancelled operation stays cancelled" in said


def test_an_id_can_be_added_once_and_a_connection_changed(control_plane: ControlPlane, namespace: str) -> None:
    create(control_plane, namespace, Catalog, CATALOG)
    patch(control_plane, namespace, Catalog, {"spec": {"catalogID": "998877"}})
    patch(control_plane, namespace, Catalog, {"spec": {"connectionRef": {"name": "rotated"}}})
    assert "immutable once set" in patch(control_plane, namespace, Catalog, {"spec": {"catalogID": "1"}}, check=False)
    found = stored(control_plane, namespace, Catalog)["spec"]
    assert (found["catalogID"], found["connectionRef"]["name"]) == ("998877", "rotated")


def test_kubectl_shows_a_catalog_on_one_line(control_plane: ControlPlane, namespace: str) -> None:
    create(control_plane, namespace, Catalog, CATALOG)
    conditions = [
        {**CONTENTS[Catalog]["status"]["conditions"][0], "type": kind, "status": status}
        for kind, status in (("Ready", "True"), ("Fresh", "False"))
    ]
    totals = {"items": 1047903, "invalid": 308, "refused": 6, "issues": 5120}
    status = {"catalogID": "998877", "totals": totals, "conditions": conditions}
    patch(control_plane, namespace, Catalog, {"status": status}, "--subresource=status")
    header, row = control_plane.kubectl("get", "metacatalog", f"--namespace={namespace}").splitlines()
    assert header.split() == (
        ["NAME", "READY", "STATUS", "CATALOG", "ID", "ITEMS", "INVALID", "REFUSED", "ISSUES", "FRESH", "AGE"]
    )
    expected = [
        "catalog.metacatalog.dev/germany",
        "True",
        "Available",
        "998877",
        "1047903",
        "308",
        "6",
        "5120",
        "False",
    ]
    assert row.split()[:-1] == expected
    assert max(len(header), len(row)) <= 120
    control_plane.kubectl("wait", "--for=condition=Ready", "mcat/germany", f"--namespace={namespace}", "--timeout=5s")


def test_kubectl_shows_an_operation_on_one_line(control_plane: ControlPlane, namespace: str) -> None:
    create(control_plane, namespace, SyncOperation, OPERATION)
    totals = {"create": 0, "update": 4301, "delete": 3, "refused": 6}
    status = {"phase": "Processing", "phaseSince": "2026-11-22T12:00:00Z", "shardCount": 4, "totals": totals}
    patch(control_plane, namespace, SyncOperation, {"status": status}, "--subresource=status")
    header, row = control_plane.kubectl("get", "mop", f"--namespace={namespace}").splitlines()
    assert header.split() == (
        ["NAME", "METHOD", "SHARDS", "PHASE", "CREATE", "UPDATE", "DELETE", "REFUSED", "PHASE", "SINCE", "AGE"]
    )
    assert row.split()[:8] == ["germany", "ReplaceFeed", "4", "Processing", "0", "4301", "3", "6"]


@by_kind(CatalogShard, FeedSchedule, SyncOperation, DeletionApproval)
def test_children_are_found_by_their_catalog(
    control_plane: ControlPlane,
    namespace: str,
    kind: type[Resource],
) -> None:
    create(control_plane, namespace, kind, CONTENTS[kind]["spec"])

    def found(name: str) -> str:
        selector = f"--field-selector=spec.catalogRef.name={name}"
        return control_plane.kubectl("get", kind.PLURAL, selector, f"--namespace={namespace}", "--output=name")

    assert found("germany").strip() == f"{kind.KIND.lower()}.metacatalog.dev/germany"
    assert found("austria").strip() == ""


def test_conditions_are_merged_by_type(control_plane: ControlPlane, namespace: str) -> None:
    create(control_plane, namespace, Catalog, CATALOG)
    (ready,) = CONTENTS[Catalog]["status"]["conditions"]
    for manager, kind in (("one", "Ready"), ("two", "Elsewhere")):
        document = {**manifest(Catalog, {}), "status": {"conditions": [{**ready, "type": kind}]}}
        del document["spec"]
        control_plane.kubectl(
            "apply",
            "--server-side",
            "--subresource=status",
            f"--field-manager={manager}",
            "--filename=-",
            f"--namespace={namespace}",
            input=json.dumps(document),
        )
    found = stored(control_plane, namespace, Catalog)["status"]["conditions"]
    assert {condition["type"] for condition in found} == {"Ready", "Elsewhere"}


def test_a_status_may_not_grow_without_bound(control_plane: ControlPlane, namespace: str) -> None:
    create(control_plane, namespace, Catalog, CATALOG)
    check = {"rule": "price", "level": "Error", "count": 1, "sampleIDs": [str(n) for n in range(11)]}
    for checks, words in (
        ([check], "status.checks[0].sampleIDs: Too many: 11: must have at most 10 items"),
        ([{**check, "sampleIDs": []}] * 17, "status.checks: Too many: 17: must have at most 16 items"),
    ):
        said = patch(
            control_plane,
            namespace,
            Catalog,
            {"status": {"checks": checks}},
            "--subresource=status",
            check=False,
        )
        assert words in said


def test_people_can_ask_what_a_field_means(control_plane: ControlPlane) -> None:
    said = " ".join(control_plane.kubectl("explain", "catalog.spec.guards.gracePeriod").split())
    assert "stays at Meta, out of stock, before it is deleted" in said
    assert "Default: 2160h." in said
