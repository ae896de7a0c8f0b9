"""What a source needs from the cluster, read by name for one look; it reaches the child on standard input only."""

import base64

from controller.api.v1alpha1.items import (
    BasicAuthSecretRef,
    ConfigMapSource,
    HTTPSource,
    ItemsEntry,
    ObjectSource,
)
from controller.api.values import SecretKeyRef
from controller.faults import Disposition, Fault
from controller.ports.preparing import BasicAuth, SourceCredentials
from controller.reconcile.context import Context
from controller.reconcile.meta_connection import read_secret

OBJECT_KEYS = {
    "s3": (("access-key-id", True), ("secret-access-key", True), ("session-token", False)),
    "gs": (("service-account.json", True),),
    "az": (("account-name", True), ("account-key", True)),
}
"""Keys of a Secret by the scheme of the address, and whether each must be there."""


async def read_credentials(context: Context, namespace: str, entry: ItemsEntry) -> SourceCredentials:
    """Read what the entry refers to. Raises Fault that names the field of the spec."""
    source = entry.source
    path = f"spec.items[{entry.name}].source"
    if source.http is not None:
        return await _for_http(context, namespace, source.http, f"{path}.http")
    if source.object_ is not None:
        return await _for_object(context, namespace, source.object_, f"{path}.object.credentialsSecretRef")
    if source.config_map is not None:
        return await _from_config_map(context, namespace, source.config_map, f"{path}.configMap")
    if source.sql is not None:
        dsn = await read_secret(context, namespace, source.sql.dsn_secret_ref, f"{path}.sql.dsnSecretRef")
        return SourceCredentials(dsn=dsn.reveal())
    return SourceCredentials()


async def _for_http(context: Context, namespace: str, http: HTTPSource, path: str) -> SourceCredentials:
    url = None
    if http.url_secret_ref is not None:
        url = (await read_secret(context, namespace, http.url_secret_ref, f"{path}.urlSecretRef")).reveal()
    auth = None
    if http.basic_auth_secret_ref is not None:
        auth = await _basic_auth(context, namespace, http.basic_auth_secret_ref, f"{path}.basicAuthSecretRef")
    token = None
    if http.bearer_token_secret_ref is not None:
        where = f"{path}.bearerTokenSecretRef"
        token = (await read_secret(context, namespace, http.bearer_token_secret_ref, where)).reveal()
    headers = []
    for header in http.headers:
        if header.value_secret_ref is not None:
            secret = await read_secret(context, namespace, header.value_secret_ref, f"{path}.headers[{header.name}]")
            headers.append((header.name, secret.reveal()))
        else:
            headers.append((header.name, header.value or ""))
    return SourceCredentials(url=url, basic_auth=auth, bearer_token=token, headers=tuple(headers))


async def _basic_auth(context: Context, namespace: str, ref: BasicAuthSecretRef, path: str) -> BasicAuth:
    username = await read_secret(context, namespace, SecretKeyRef(name=ref.name, key=ref.username_key), path)
    password = await read_secret(context, namespace, SecretKeyRef(name=ref.name, key=ref.password_key), path)
    return BasicAuth(username=username.reveal(), password=password.reveal())


async def _for_object(context: Context, namespace: str, source: ObjectSource, path: str) -> SourceCredentials:
    """Without a reference there is nothing to read: whether the operator's own identity serves is decided later."""
    if source.credentials_secret_ref is None:
        return SourceCredentials()
    name = source.credentials_secret_ref.name
    found: list[tuple[str, str]] = []
    for key, required in OBJECT_KEYS[source.url.partition(":")[0]]:
        try:
            secret = await read_secret(context, namespace, SecretKeyRef(name=name, key=key), path)
        except Fault as fault:
            if required or fault.reason != "SecretMissing":
                raise
        else:
            found.append((key, secret.reveal().strip()))
    return SourceCredentials(object_keys=tuple(found))


async def _from_config_map(context: Context, namespace: str, source: ConfigMapSource, path: str) -> SourceCredentials:
    values = await context.cluster.config_map(namespace, source.name)
    if values is None:
        message = f"{path}.name: there is no ConfigMap {source.name} in namespace {namespace}; make it"
        raise Fault("SourceUnreachable", Disposition.RETRY, message)
    if source.key not in values:
        known = ", ".join(sorted(values)[:8]) or "none"
        message = f"{path}.key: ConfigMap {source.name} has no key {source.key}; it has {known}"
        raise Fault("SourceUnreachable", Disposition.RETRY, message)
    return SourceCredentials(content=base64.b64encode(values[source.key]).decode("ascii"))
