"""Secrets that a source needs, read by name for one look; they reach the child on standard input only."""

from controller.api.v1alpha1.items import BasicAuthSecretRef, ItemsEntry
from controller.api.values import SecretKeyRef
from controller.ports.preparing import BasicAuth, SourceCredentials
from controller.reconcile.context import Context
from controller.reconcile.meta_connection import read_secret


async def read_credentials(context: Context, namespace: str, entry: ItemsEntry) -> SourceCredentials:
    """Read what the entry refers to. Raises Fault that names the field of the spec."""
    http = entry.source.http
    if http is None:
        return SourceCredentials()
    path = f"spec.items[{entry.name}].source.http"
    url = None
    if http.url_secret_ref is not None:
        url = (await read_secret(context, namespace, http.url_secret_ref, f"{path}.urlSecretRef")).reveal()
    auth = None
    if http.basic_auth_secret_ref is not None:
        auth = await _basic_auth(context, namespace, http.basic_auth_secret_ref, f"{path}.basicAuthSecretRef")
    headers = []
    for header in http.headers:
        if header.value_secret_ref is not None:
            secret = await read_secret(context, namespace, header.value_secret_ref, f"{path}.headers[{header.name}]")
            headers.append((header.name, secret.reveal()))
        else:
            headers.append((header.name, header.value or ""))
    return SourceCredentials(url=url, basic_auth=auth, headers=tuple(headers))


async def _basic_auth(context: Context, namespace: str, ref: BasicAuthSecretRef, path: str) -> BasicAuth:
    username = await read_secret(context, namespace, SecretKeyRef(name=ref.name, key=ref.username_key), path)
    password = await read_secret(context, namespace, SecretKeyRef(name=ref.name, key=ref.password_key), path)
    return BasicAuth(username=username.reveal(), password=password.reveal())
