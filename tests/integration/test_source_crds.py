"""What the API server refuses of sources and formats, and with which words."""

import json
from typing import Any

import pytest

from controller.api.v1alpha1 import Catalog
from hack.controlplane.cluster import ControlPlane
from tests.integration.test_crds import answer, catalog, manifest, source

pytestmark = pytest.mark.controlplane

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "two kinds of authorization": (
        source(
            url="https://shop.example/a",
            basicAuthSecretRef={"name": "a"},
            bearerTokenSecretRef={"name": "a", "key": "t"},
        ),
        "give at most one of basicAuthSecretRef and bearerTokenSecretRef: both are the header Authorization",
    ),
    "address of an object": (
        catalog({"source": {"object": {"url": "https://bucket.s3.amazonaws.com/a.csv"}}}),
        "must be s3://bucket/key (or gs://, az://)",
    ),
    "keys in an address": (
        catalog({"source": {"object": {"url": "s3://bucket/a.csv", "endpoint": "https://key:hunter2@s3.example"}}}),
        (
            "spec.items[0].source.object.endpoint: Invalid value: must not carry a user name or password: "
            "put the keys into a Secret and name it in credentialsSecretRef"
        ),
    ),
    "region of another provider": (
        catalog({"source": {"object": {"url": "gs://bucket/a.csv", "region": "eu-west-1"}}}),
        "only s3 has regions: remove it",
    ),
    "query without database": (
        catalog({"source": {"sql": {"query": "SELECT 1"}}}),
        "spec.items[0].source.sql.dsnSecretRef: Required value",
    ),
    "password in the checksum's address": (
        catalog({"evidence": {"checksumURL": "https://u:hunter2@shop.example/a.sha256"}}),
        (
            "spec.items[0].evidence.checksumURL: Invalid value: must not carry a user name or password: "
            "the credentials of the source serve for the same host"
        ),
    ),
    "unknown format": (
        catalog({"format": {"type": "Excel"}}),
        'supported values: "Auto", "CSV", "TSV", "JSONLines", "JSON", "XML", "Parquet"',
    ),
}


@pytest.mark.parametrize("story", REFUSED)
def test_a_wrong_source_is_refused_with_what_to_do(control_plane: ControlPlane, story: str) -> None:
    spec, words = REFUSED[story]
    said = answer(control_plane, Catalog, json.dumps(manifest(Catalog, spec)))
    assert words in said
    assert 'The Catalog "germany" is invalid' in said
    assert "hunter2" not in said
