"""Files in object stores: keys and an address become one presigned URL, which is then read like any other.

Nothing is fetched here. The URL is asked for by the same client as every HTTP source: its address is resolved,
checked against the allowed networks and dialled as checked, so that neither an `endpoint` nor a name that moves leads
into the cluster, and the process that reads rows never holds a key. The one exception is the operator's own identity,
where its administrator allows it for a bucket: then the library may ask the cloud's token service first.

obstore signs: S3, and by the same library Google Cloud Storage and Azure Blob Storage.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from controller.api.v1alpha1.items import ObjectSource
from controller.sources.addresses import refused

if TYPE_CHECKING:
    from obstore.store import AzureStore, GCSStore, S3Store

SIGNED_FOR = timedelta(hours=6)
"""A read may wait for others before its request is made; the request must begin within this time."""
REGION = "us-east-1"


def signed(source: ObjectSource, keys: Mapping[str, str], ambient: Sequence[str]) -> str:
    """Return an address that may be read for a while."""
    # Not loaded before the first source needs it.
    import obstore
    from obstore.exceptions import BaseError

    parts = urlsplit(source.url)
    if source.credentials_secret_ref is None and not any(covers(prefix, source.url) for prefix in ambient):
        raise refused(
            "source.object.credentialsSecretRef: name the Secret with the keys; the operator's own identity may be "
            "used only where its administrator allows it with --allow-ambient-object-credentials"
        )
    try:
        store = _STORES[parts.scheme](source, parts.netloc, keys)
        return str(obstore.sign(store, "GET", parts.path[1:], SIGNED_FOR))
    except (BaseError, ValueError, KeyError):
        # The library's words may repeat what it was given.
        raise refused("source.object: no address can be signed with these keys; check them and the url") from None


def covers(prefix: str, url: str) -> bool:
    """Tell whether an allowed prefix covers an address: whole names only, so that `a` does not allow `ab`."""
    plain = prefix.rstrip("/")
    return "/../" not in f"{url}/" and (url == plain or url.startswith(plain + "/"))


def _s3(source: ObjectSource, bucket: str, keys: Mapping[str, str]) -> "S3Store":
    from obstore.store import S3Store

    region = source.region or REGION
    endpoint = source.endpoint or f"https://s3.{region}.amazonaws.com"
    # Said in full: what is left out, the library takes from the environment, which is the operator's and not theirs.
    options: dict[str, Any] = {"endpoint": endpoint, "region": region, "skip_signature": False}
    if source.credentials_secret_ref is not None:
        given = {
            "access_key_id": keys["access-key-id"],
            "secret_access_key": keys["secret-access-key"],
            "token": keys.get("session-token"),
            "expires_at": None,
        }
        options["credential_provider"] = lambda: given
    return S3Store(bucket, virtual_hosted_style_request=False, client_options={"allow_http": True}, **options)


def _gcs(source: ObjectSource, bucket: str, keys: Mapping[str, str]) -> "GCSStore":
    from obstore.store import GCSStore

    _no_endpoint(source)
    if source.credentials_secret_ref is None:
        return GCSStore(bucket)
    return GCSStore(bucket, service_account_key=keys["service-account.json"])


def _azure(source: ObjectSource, container: str, keys: Mapping[str, str]) -> "AzureStore":
    from obstore.store import AzureStore

    _no_endpoint(source)
    if source.credentials_secret_ref is None:
        return AzureStore(container)
    name = keys["account-name"]
    return AzureStore(
        container,
        account_name=name,
        account_key=keys["account-key"],
        endpoint=f"https://{name}.blob.core.windows.net",
    )


def _no_endpoint(source: ObjectSource) -> None:
    if source.endpoint is not None:
        raise refused("source.object.endpoint: only s3:// takes one; remove it")


_STORES: Mapping[str, "Callable[[ObjectSource, str, Mapping[str, str]], S3Store | GCSStore | AzureStore]"] = {
    "s3": _s3,
    "gs": _gcs,
    "az": _azure,
}
