"""What a source needs of the cluster: read by name, named by field when it is missing, shown to nobody."""

import base64
from pathlib import Path
from typing import Any

import pytest

from controller.api import names
from controller.api.v1alpha1.items import ItemsEntry
from controller.faults import Disposition, Fault
from controller.kube import paths
from controller.kube.transport import Request
from controller.ports.preparing import SourceCredentials
from controller.reconcile.source_credentials import read_credentials
from tests.unit.reconcile.contexts import Surroundings

NAMESPACE = names.OPERATOR_NAMESPACE


async def read(directory: Path, source: dict[str, Any], secret: dict[str, str], **others: Any) -> SourceCredentials:
    around = Surroundings(directory)
    context = around.life().context
    transport = context.cluster._transport  # type: ignore[attr-defined]
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "keys", "namespace": NAMESPACE, "labels": {names.LABEL_CREDENTIAL: "true"}},
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in secret.items()},
    }
    await transport.send(Request("POST", f"{paths.namespace(NAMESPACE)}/secrets", body=body))
    return await read_credentials(
        context, NAMESPACE, ItemsEntry.model_validate({"name": "products", "source": source, **others})
    )


async def refused(directory: Path, source: dict[str, Any], secret: dict[str, str]) -> Fault:
    with pytest.raises(Fault) as caught:
        await read(directory, source, secret)
    return caught.value


S3 = {"object": {"url": "s3://bucket/a.csv", "credentialsSecretRef": {"name": "keys"}}}


async def test_keys_of_an_object_store(tmp_path: Path) -> None:
    found = await read(tmp_path, S3, {"access-key-id": "k\n", "secret-access-key": "s3cr3t", "other": "x"})
    assert found.object_keys == (("access-key-id", "k"), ("secret-access-key", "s3cr3t"))
    assert "s3cr3t" not in repr(found)


async def test_a_session_token_is_taken_where_there_is_one(tmp_path: Path) -> None:
    found = await read(tmp_path, S3, {"access-key-id": "k", "secret-access-key": "s", "session-token": "t"})
    assert dict(found.object_keys)["session-token"] == "t"


async def test_a_key_that_is_missing_is_named(tmp_path: Path) -> None:
    fault = await refused(tmp_path, S3, {"access-key-id": "k"})
    assert (fault.reason, fault.disposition) == ("SecretMissing", Disposition.STALLED)
    assert "spec.items[products].source.object.credentialsSecretRef" in fault.message
    assert "secret-access-key" in fault.message


async def test_a_bearer_token_and_a_connection_string(tmp_path: Path) -> None:
    http = {"http": {"url": "https://x.example/a", "bearerTokenSecretRef": {"name": "keys", "key": "token"}}}
    assert (await read(tmp_path, http, {"token": "s3cr3t"})).bearer_token == "s3cr3t"


async def test_a_connection_string_is_no_part_of_anything_shown(tmp_path: Path) -> None:
    sql = {"sql": {"dsnSecretRef": {"name": "keys", "key": "dsn"}, "query": "SELECT 1"}}
    found = await read(tmp_path, sql, {"dsn": "postgresql://u:s3cr3t@h/d"})
    assert found.dsn == "postgresql://u:s3cr3t@h/d"
    assert "s3cr3t" not in repr(found)


async def test_an_object_without_keys_reads_no_secret(tmp_path: Path) -> None:
    assert await read(tmp_path, {"object": {"url": "s3://bucket/a.csv"}}, {}) == SourceCredentials()
