"""Files in a real S3-compatible server: read by a presigned address, quiet when unchanged, refused with a field."""

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path

import obstore
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from obstore.store import S3Store

from controller.api.v1alpha1.items import ObjectSource, Source
from controller.faults import Disposition, Fault
from controller.ports.preparing import RefreshResult, SourceCredentials
from controller.ports.sources import Look
from controller.preparing import entry, failures
from controller.sources import objects
from controller.sources.probe import SourceProbe
from hack.objectstore import Server
from tests.unit.preparing.world import World, as_csv, products

LOOPBACK = ("127.0.0.0/8",)
KEY = "export/every thing/products ü.csv"
HOSTILE = {
    "AWS_SESSION_TOKEN": "leaked", "AWS_ENDPOINT": "http://169.254.169.254", "AWS_ENDPOINT_URL": "http://evil",
    "AWS_ACCESS_KEY_ID": "leaked", "AWS_SECRET_ACCESS_KEY": "leaked", "AWS_REGION": "leaked",
    "AWS_SKIP_SIGNATURE": "true", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true", "AWS_DEFAULT_REGION": "leaked",
}  # fmt: skip


@pytest.fixture(scope="module")
def bucket(object_server: Server) -> S3Store:
    object_server.make_bucket("shop")
    return S3Store(
        "shop",
        endpoint=object_server.url,
        region="us-east-1",
        access_key_id=object_server.access_key,
        secret_access_key=object_server.secret_key,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )


def source(server: Server, key: str = KEY, **changes: object) -> dict[str, object]:
    wanted = {"url": f"s3://shop/{key}", "endpoint": server.url, "credentialsSecretRef": {"name": "keys"}, **changes}
    return {"object": {name: value for name, value in wanted.items() if value is not None}}


def keys(server: Server, secret: str | None = None) -> SourceCredentials:
    given = (("access-key-id", server.access_key), ("secret-access-key", secret or server.secret_key))
    return SourceCredentials(object_keys=given)


def probe(*ambient: str, networks: tuple[str, ...] = LOOPBACK) -> SourceProbe:
    return SourceProbe(allowed_networks=networks, ambient_objects=ambient)


def look(server: Server) -> Look:
    return asyncio.run(probe().look(Source.model_validate(source(server)), keys(server), None))


def refused(call: "Coroutine[object, object, object]") -> Fault:
    with pytest.raises(Fault) as caught:
        asyncio.run(call)
    for secret in ("X-Amz", "not-a-secret-key", "wrong-key"):
        assert secret not in str(caught.value)
    return caught.value


def test_an_object_becomes_items_and_an_unchanged_one_is_a_quiet_look(
    object_server: Server, bucket: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)
    obstore.put(bucket, KEY, as_csv(products(40)))
    world = World(tmp_path, source=source(object_server))
    wanted = Source.model_validate(source(object_server))
    credentials = asyncio.run(probe().authorise(wanted, keys(object_server)))
    assert credentials.object_keys == ()
    assert credentials.url is not None
    assert "leaked" not in credentials.url
    result = failures.unless_failed(
        entry.run(world.refresh_request(allowed_networks=LOOPBACK), credentials, durable=False)
    )
    assert isinstance(result, RefreshResult)
    assert result.refused is None
    world.head = result.head
    world.send_full()
    assert world.meta.items == {row["id"]: row for row in products(40)}

    first = look(object_server)
    assert first.version is not None
    assert first.version.etag
    again = asyncio.run(probe().look(wanted, keys(object_server), first.version))
    assert again == Look(None)
    obstore.put(bucket, KEY, as_csv(products(41)))
    assert look(object_server).version != first.version


def test_what_is_not_there_or_not_allowed_is_told(object_server: Server, bucket: S3Store) -> None:
    obstore.put(bucket, "x.csv", b"id\n1\n")
    wanted = Source.model_validate(source(object_server, "x.csv"))
    missing = refused(probe().look(Source.model_validate(source(object_server, "none.csv")), keys(object_server), None))
    assert (missing.reason, missing.disposition) == ("SourceUnreachable", Disposition.RETRY)
    wrong = refused(probe().look(wanted, keys(object_server, "wrong-key"), None))
    assert (wrong.reason, wrong.disposition) == ("SourceRefused", Disposition.STALLED)
    assert "credentials" in wrong.message
    closed = refused(probe(networks=()).look(wanted, keys(object_server), None))
    assert "--allow-source-network" in closed.message


def test_the_operators_own_identity_is_for_allowed_buckets_only(
    object_server: Server, bucket: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", object_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", object_server.secret_key)
    obstore.put(bucket, "own.csv", b"id\n1\n")
    wanted = Source.model_validate(source(object_server, "own.csv", credentialsSecretRef=None))
    nobody = SourceCredentials()
    for allowed in ((), ("s3://sho",), ("s3://shop/other/",), ("s3://shop/own",)):
        fault = refused(probe(*allowed).look(wanted, nobody, None))
        assert "credentialsSecretRef" in fault.message
        assert "--allow-ambient-object-credentials" in fault.message
    for allowed in (("s3://shop",), ("s3://shop/",), ("s3://shop/own.csv",)):
        assert asyncio.run(probe(*allowed).look(wanted, nobody, None)).version is not None


@pytest.mark.parametrize(
    ("prefix", "url", "expected"),
    [
        ("s3://a", "s3://a/x", True),
        ("s3://a/x/", "s3://a/x/y.csv", True),
        ("s3://a/x", "s3://a/xy.csv", False),
        ("s3://a/x/", "s3://a/x/../y.csv", False),
        ("gs://a", "s3://a/x", False),
    ],
)
def test_prefixes_cover_whole_names(prefix: str, url: str, expected: bool) -> None:
    assert objects.covers(prefix, url) is expected


def test_google_and_azure_addresses_are_signed() -> None:
    """Their servers are not here; what is shown is that the keys given are used, and no network."""
    key = rsa.generate_private_key(65_537, 2_048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {"type": "service_account", "private_key": key.decode(), "private_key_id": "1", "client_email": "a@b.c"}
    named = {"credentials_secret_ref": {"name": "keys"}}
    google = ObjectSource.model_validate({"url": "gs://shop/a/b.csv", **named})

    url = objects.signed(google, {"service-account.json": json.dumps(account)}, ())
    assert url.startswith("https://storage.googleapis.com/shop/a/b.csv?")
    azure = ObjectSource.model_validate({"url": "az://shop/a/b.csv", **named})
    url = objects.signed(azure, {"account-name": "acme", "account-key": "a2V5"}, ())
    assert url.startswith("https://acme.blob.core.windows.net/shop/a/b.csv?")


@pytest.mark.parametrize(
    ("url", "given"),
    [("gs://shop/x", {"service-account.json": "not-a-secret-key"}), ("az://shop/x", {"account-name": "a"})],
)
def test_keys_that_make_no_sense_are_refused_without_showing_them(url: str, given: dict[str, str]) -> None:
    wanted = ObjectSource.model_validate({"url": url, "credentials_secret_ref": {"name": "keys"}})
    with pytest.raises(Fault) as caught:
        objects.signed(wanted, given, ())
    assert caught.value.reason == "SourceRefused"
    assert "not-a-secret-key" not in str(caught.value)
