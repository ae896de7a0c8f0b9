"""Where things are at an API server."""

from urllib.parse import quote

from controller.api import names
from controller.api.resource import Resource


def group() -> str:
    """What the API server serves of our group."""
    return f"/apis/{names.GROUP}/{names.VERSION}"


def collection(kind: type[Resource], namespace: str | None) -> str:
    """Objects of a kind, in one namespace or (None) in all."""
    base = f"/apis/{kind.GROUP}/{kind.VERSION}"
    return f"{base}/{kind.PLURAL}" if namespace is None else f"{base}/namespaces/{_part(namespace)}/{kind.PLURAL}"


def item(kind: type[Resource], namespace: str, name: str) -> str:
    return f"{collection(kind, namespace)}/{_part(name)}"


def status(kind: type[Resource], namespace: str, name: str) -> str:
    return f"{item(kind, namespace, name)}/status"


def namespace(name: str) -> str:
    return f"/api/v1/namespaces/{_part(name)}"


def secret(namespace_name: str, name: str) -> str:
    return f"{namespace(namespace_name)}/secrets/{_part(name)}"


def config_maps(namespace_name: str) -> str:
    return f"{namespace(namespace_name)}/configmaps"


def config_map(namespace_name: str, name: str) -> str:
    return f"{config_maps(namespace_name)}/{_part(name)}"


def installation(namespace_name: str) -> str:
    return config_map(namespace_name, names.INSTALLATION_CONFIG_MAP)


def leases(namespace_name: str) -> str:
    return f"/apis/coordination.k8s.io/v1/namespaces/{_part(namespace_name)}/leases"


def lease(namespace_name: str, name: str) -> str:
    return f"{leases(namespace_name)}/{_part(name)}"


def events(namespace_name: str) -> str:
    return f"/apis/events.k8s.io/v1/namespaces/{_part(namespace_name)}/events"


def event(namespace_name: str, name: str) -> str:
    return f"{events(namespace_name)}/{_part(name)}"


def _part(text: str) -> str:
    """One segment of a path. An empty one would address the collection instead."""
    if not text:
        raise ValueError("a name in a path must not be empty")
    return quote(text, safe="")
