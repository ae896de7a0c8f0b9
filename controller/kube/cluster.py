"""The port `Cluster` over a transport: typed resources in and out, every failure a `Fault`.

Promises: one attempt per request; a status is written by server-side apply, as a whole, under our field manager, and
only for the object with the given uid; nothing is ever overwritten that changed since it was read.
"""

import base64
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from pydantic import BaseModel

from controller.api import names
from controller.api.resource import InvalidResource, ObjectKey, ObjectMeta, Resource
from controller.api.v1alpha1 import SyncOperation
from controller.api.v1alpha1.catalog_ledger import CatalogLedger
from controller.faults import Disposition, Fault
from controller.kube import paths
from controller.kube.answers import to_fault
from controller.kube.events import EventRecorder
from controller.kube.statuses import Known, StatusMemory
from controller.kube.transport import Accept, ContentType, Failure, Json, Refused, Request, Transport
from controller.ports.kubernetes import Event, SecretData
from controller.ports.meta import Secret

LOG = logging.getLogger(__name__)

R = TypeVar("R", bound=Resource)

PAGE_LENGTH = 500
"""Objects per page of a LIST: a page of large objects stays below some MiB."""
APPLY_TRIES_MAX = 4
"""People and controllers write the same objects; losing four times in a row is a fight that waits for later."""
INSTALLATION_KEY = "id"
"""Key inside the ConfigMap that names the installation."""


class KubernetesCluster:
    """Implements controller.ports.kubernetes.Cluster."""

    def __init__(
        self,
        transport: Transport,
        recorder: EventRecorder,
        *,
        namespace: str,
        watch_namespaces: tuple[str, ...] = (),
        known: Callable[[type[Resource], ObjectKey], Resource | None],
        on_secret: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`known` looks an object up among the watched ones, `namespace` is the operator's own.

        `on_secret` is told every secret text that was read, so that logs can leave it out.
        """
        self._transport = transport
        self._recorder = recorder
        self._namespace = namespace
        self._watch_namespaces = watch_namespaces
        self._known = known
        self._on_secret = on_secret
        self._statuses = StatusMemory()

    async def get(self, kind: type[R], key: ObjectKey) -> R | None:
        return await self._find_as(kind, Request("GET", paths.item(kind, key.namespace, key.name)), str(key))

    async def list(self, kind: type[R], of: ObjectKey | None = None) -> tuple[R, ...]:
        found = []
        for wire in await (self._list(kind, Accept.JSON) if of is None else self._labelled(kind, of)):
            try:
                found.append(kind.from_wire(wire))
            except InvalidResource as invalid:
                LOG.error("object can't be read", extra={"object": str(invalid.key), "problems": invalid.problems})
        return tuple(found)

    async def identities(self, kind: type[Resource]) -> Mapping[ObjectKey, ObjectMeta]:
        metadata = [
            ObjectMeta.model_validate(wire["metadata"]) for wire in await self._list(kind, Accept.METADATA_LIST)
        ]
        return {ObjectKey(kind.KIND, meta.namespace, meta.name): meta for meta in metadata}

    async def create(self, resource: R) -> R:
        path = paths.collection(type(resource), resource.namespace)
        request = Request("POST", path, query=_AS_US, body=resource.to_wire())
        return _parse(type(resource), await self._send(request, str(resource.key)))

    async def replace(self, resource: R) -> R:
        path = paths.item(type(resource), resource.namespace, resource.name)
        request = Request("PUT", path, query=_AS_US, body=resource.to_wire())
        return _parse(type(resource), await self._send(request, str(resource.key)))

    async def apply_status(self, kind: type[R], key: ObjectKey, uid: str, status: BaseModel) -> R | None:
        wire = status.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
        known = self._known_as(kind, key, uid)
        if known is not None and self._statuses.unchanged(uid, wire, _known_status(known)):
            return known.model_copy(update={"status": status})
        await self._statuses.turn(uid)
        version = self._statuses.newest_version(uid, None if known is None else known.metadata.resource_version)
        applied = await self._apply_at(kind, key, uid, version, wire)
        if applied is None:
            self._statuses.forget(uid)
        else:
            self._statuses.written(uid, wire, applied.metadata.resource_version, _status_of(applied))
        return applied

    async def _apply_at(self, kind: type[R], key: ObjectKey, uid: str, version: str | None, wire: Json) -> R | None:
        """Apply against a version: the API server ignores the uid of a status, so only the version names the object."""
        conflict: Fault | None = None
        for _ in range(APPLY_TRIES_MAX):
            if version is None:
                there = await self.get(kind, key)
                if there is None or there.uid != uid:
                    return None
                version = there.metadata.resource_version
            try:
                return await self._find_as(kind, _application(kind, key, version, wire), str(key))
            except Fault as fault:
                if fault.reason != "Conflict":
                    raise
                conflict, version = fault, None
        assert conflict is not None
        raise conflict

    async def set_finalizer(self, resource: R, *, present: bool) -> R | None:
        held = resource.metadata.finalizers
        if (names.FINALIZER in held) == present:
            return resource
        wanted = [*held, names.FINALIZER] if present else [name for name in held if name != names.FINALIZER]
        metadata = resource.metadata
        # A merge patch that carries the version is refused with 409 when the object changed. (A `test` of a JSON patch
        # is answered with 422 instead, like any invalid object.)
        request = Request(
            "PATCH",
            paths.item(type(resource), metadata.namespace, metadata.name),
            query=_AS_US,
            body={
                "metadata": {
                    "uid": metadata.uid,
                    "resourceVersion": metadata.resource_version,
                    "finalizers": wanted,
                },
            },
            content_type=ContentType.MERGE_PATCH,
        )
        try:
            return await self._find_as(type(resource), request, str(resource.key))
        except Fault as fault:
            if fault.reason != "Conflict" or await self._is_there(type(resource), resource.key, resource.uid):
                raise
            return None

    async def set_cancel(self, key: ObjectKey) -> None:
        request = Request(
            "PATCH",
            paths.item(SyncOperation, key.namespace, key.name),
            query=_AS_US,
            body={"spec": {"cancel": True}},
            content_type=ContentType.MERGE_PATCH,
        )
        await self._find(request, str(key))

    async def delete(self, kind: type[R], key: ObjectKey, uid: str) -> None:
        body: Json = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        }
        request = Request("DELETE", paths.item(kind, key.namespace, key.name), body=body)
        try:
            await self._find(request, str(key))
        except Fault as fault:
            if fault.reason != "Conflict" or await self._is_there(kind, key, uid):
                raise
        self._statuses.forget(uid)

    async def secret(self, namespace: str, name: str) -> SecretData | None:
        wire = await self._find(Request("GET", paths.secret(namespace, name)), f"Secret {namespace}/{name}")
        if wire is None:
            return None
        metadata = wire.get("metadata") or {}
        labelled = (metadata.get("labels") or {}).get(names.LABEL_CREDENTIAL) == "true"
        data = (wire.get("data") or {}) if labelled else {}
        texts = {key: _decoded(value) for key, value in sorted(data.items())}
        for text in texts.values():
            self._on_secret(text)
        return SecretData(
            name=name,
            resource_version=str(metadata.get("resourceVersion", "")),
            labelled=labelled,
            values=tuple((key, Secret(text)) for key, text in texts.items()),
        )

    async def config_map(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        wire = await self._find(Request("GET", paths.config_map(namespace, name)), f"ConfigMap {namespace}/{name}")
        if wire is None:
            return None
        texts = {key: str(value).encode() for key, value in (wire.get("data") or {}).items()}
        return texts | {key: base64.b64decode(str(value)) for key, value in (wire.get("binaryData") or {}).items()}

    async def installation(self, proposed: str) -> str:
        subject = f"ConfigMap {self._namespace}/{names.INSTALLATION_CONFIG_MAP}"
        wire = await self._find(Request("GET", paths.installation(self._namespace)), subject)
        if wire is None:
            wire = await self._propose_installation(proposed, subject)
        identity = (wire.get("data") or {}).get(INSTALLATION_KEY)
        if not identity:
            message = f"{subject}: data.{INSTALLATION_KEY} is missing; put the id of the installation there"
            raise Fault("InvalidObject", Disposition.STALLED, message)
        return str(identity)

    async def namespace_terminating(self, namespace: str) -> bool:
        wire = await self._find(Request("GET", paths.namespace(namespace)), f"Namespace {namespace}")
        return wire is None or wire["metadata"].get("deletionTimestamp") is not None

    def record(self, event: Event) -> None:
        self._recorder.record(event)

    async def _propose_installation(self, proposed: str, subject: str) -> Json:
        body: Json = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": names.INSTALLATION_CONFIG_MAP, "namespace": self._namespace},
            "data": {INSTALLATION_KEY: proposed},
        }
        try:
            return await self._transport.send(
                Request("POST", paths.config_maps(self._namespace), query=_AS_US, body=body)
            )
        except Refused as refused:
            if refused.reason != "AlreadyExists":
                raise to_fault(refused, subject, write=True) from None
        except Failure as failure:
            raise to_fault(failure, subject, write=True) from None
        return await self._send(Request("GET", paths.installation(self._namespace)), subject)

    async def _list(self, kind: type[Resource], accept: Accept) -> Sequence[Json]:
        if kind is CatalogLedger:
            return await self._pages(paths.collection(kind, self._namespace), accept)
        if not self._watch_namespaces:
            return await self._pages(paths.collection(kind, None), accept)
        items: list[Json] = []
        for namespace in self._watch_namespaces:
            items += await self._pages(paths.collection(kind, namespace), accept)
        return items

    async def _labelled(self, kind: type[Resource], catalog: ObjectKey) -> Sequence[Json]:
        chosen = (("labelSelector", f"{names.LABEL_CATALOG}={catalog.name}"),)
        return await self._pages(paths.collection(kind, catalog.namespace), Accept.JSON, chosen)

    async def _pages(self, path: str, accept: Accept, chosen: tuple[tuple[str, str], ...] = ()) -> Sequence[Json]:
        """All pages of one LIST. Pages that expired half way (410) are a failure like others: the next try is whole."""
        items: list[Json] = []
        query: tuple[tuple[str, str], ...] = (*chosen, ("limit", str(PAGE_LENGTH)))
        while True:
            page = await self._send(Request("GET", path, query=query, accept=accept), path)
            items += page.get("items") or ()
            following = (page.get("metadata") or {}).get("continue")
            if not following:
                return items
            query = (*chosen, ("limit", str(PAGE_LENGTH)), ("continue", following))

    async def _send(self, request: Request, subject: str) -> Json:
        try:
            return await self._transport.send(request)
        except Failure as failure:
            raise to_fault(failure, subject, write=request.write) from None

    async def _find(self, request: Request, subject: str) -> Json | None:
        """Send, where an object that does not exist is an answer."""
        try:
            return await self._transport.send(request)
        except Refused as refused:
            if refused.object_missing:
                return None
            raise to_fault(refused, subject, write=request.write) from None
        except Failure as failure:
            raise to_fault(failure, subject, write=request.write) from None

    async def _find_as(self, kind: type[R], request: Request, subject: str) -> R | None:
        wire = await self._find(request, subject)
        return None if wire is None else _parse(kind, wire)

    async def _is_there(self, kind: type[Resource], key: ObjectKey, uid: str) -> bool:
        """Whether this very object exists, not another one with its name."""
        there = await self.get(kind, key)
        return there is not None and there.uid == uid

    def _known_as(self, kind: type[R], key: ObjectKey, uid: str) -> R | None:
        known = self._known(kind, key)
        return known if isinstance(known, kind) and known.uid == uid else None


_AS_US = (("fieldManager", names.FIELD_MANAGER),)


def _application(kind: type[Resource], key: ObjectKey, version: str, status: Json) -> Request:
    body: Json = {
        "apiVersion": kind.api_version(),
        "kind": kind.KIND,
        "metadata": {"name": key.name, "namespace": key.namespace, "resourceVersion": version},
        "status": status,
    }
    return Request(
        "PATCH",
        paths.status(kind, key.namespace, key.name),
        query=(*_AS_US, ("force", "true")),
        body=body,
        content_type=ContentType.APPLY,
    )


def _parse(kind: type[R], wire: Json) -> R:
    try:
        return kind.from_wire(wire)
    except InvalidResource as invalid:
        raise Fault("InvalidObject", Disposition.DEFECT, str(invalid)) from None


def _status_of(resource: Resource) -> Json:
    status = getattr(resource, "status", None)
    return status.to_wire() if isinstance(status, BaseModel) and hasattr(status, "to_wire") else {}


def _known_status(resource: Resource) -> Known:
    return Known(resource.metadata.resource_version, _status_of(resource))


def _decoded(value: object) -> str:
    """Bytes that are no text can't be a credential; what reads them will say so."""
    return base64.b64decode(str(value)).decode("utf-8", errors="replace")
