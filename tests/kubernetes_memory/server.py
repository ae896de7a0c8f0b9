"""The in-memory API server: objects as wire documents, versions, finalizers, owners, watches.

Single-threaded and deterministic: no clock but the given one, no timers, uids from a seed. Callbacks of watches run
inside the request that caused them, in the order of the versions.
"""

import hashlib
import re
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from controller.api.resource import Resource
from controller.kube.answers import NAMESPACE_TERMINATING
from controller.kube.transport import Accept, ContentType, Json, Refused, Request
from tests.kubernetes_memory.apply import Owned, apply, update
from tests.kubernetes_memory.kinds import NAMESPACE, SERVED, STATUS_DEFAULT, Kind, Target, served, target_of

HISTORY_LENGTH = 10_000
"""Watch events that are kept for replay."""
NAME_LENGTH_MAX = 253
_NAME = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
_SYSTEM_METADATA = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")
_GIVEN_METADATA = ("labels", "annotations", "finalizers", "ownerReferences")

Place = tuple[str, str, str]
"""(plural, namespace, name)"""
OnEvent = Callable[[str, Json], None]


@dataclass(slots=True)
class _Stored:
    wire: Json
    owned: Owned = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Change:
    version: int
    type: str
    plural: str
    wire: bytes


@dataclass(eq=False, slots=True)
class Watch:
    """A stream of changes of one kind. `close` ends it from the client's side."""

    plural: str
    on_event: OnEvent
    on_closed: Callable[[], None]
    server: "MemoryApiServer"

    def close(self) -> None:
        self.server.forget(self)


class MemoryApiServer:
    def __init__(
        self, now: Callable[[], datetime] | None = None, *, seed: int = 0, collects_garbage: bool = True
    ) -> None:
        """With `collects_garbage` off, dependents stay until `collect` is called."""
        self._now = now or (lambda: datetime(2026, 1, 1, tzinfo=UTC))
        self._seed = seed
        self._collects_garbage = collects_garbage
        self._objects: dict[Place, _Stored] = {}
        self._version = 1
        self._compacted = 1
        self._cold: set[str] = set()
        """Kinds that nobody has asked for since a restart: their changes are not kept for watches."""
        self._floors: dict[str, int] = {}
        """Per cold kind: the version that a watch must at least start from."""
        self._made = 0
        self._history: deque[_Change] = deque()
        self._watches: list[Watch] = []
        self._unsettled = False
        self.available = True
        """False: nobody reaches the server."""
        self.requests: Counter[tuple[str, str]] = Counter()
        """(verb, plural)"""

    # What people and other controllers do

    def create_namespace(self, name: str) -> Json:
        return self._create(Target(NAMESPACE, "", "", ""), {"metadata": {"name": name}})

    def delete_namespace(self, name: str) -> None:
        """The namespace stays, terminating, until nothing is left in it."""
        stored = self._require(Target(NAMESPACE, "", name, ""))
        if not _deleting(stored.wire):
            changed = _copy(stored.wire)
            changed["metadata"]["deletionTimestamp"] = self._timestamp()
            changed["status"] = {"phase": "Terminating"}
            self._store(Target(NAMESPACE, "", name, ""), stored, changed)
        for place in [place for place in self._objects if place[1] == name]:
            stored_inside = self._objects.get(place)
            if stored_inside is not None:
                self._delete_stored(place, stored_inside)
        self._unsettled = True
        self._settle()

    def collect(self) -> None:
        """Delete every object whose owners are all gone, as the garbage collector does."""
        while True:
            uids = {stored.wire["metadata"]["uid"] for stored in self._objects.values()}
            orphans = [
                place
                for place, stored in self._objects.items()
                if not _deleting(stored.wire) and _abandoned(stored.wire, uids)
            ]
            if not orphans:
                return
            for place in orphans:
                self._delete_stored(place, self._objects[place])

    def restart(self) -> None:
        """End all watches and lose the past, and what happens until a kind is asked for again.

        Whoever watched must list again, and never hears of some deletions.
        """
        self.compact()
        self._cold = {kind.plural for kind in SERVED}
        watches, self._watches = self._watches, []
        for watch in watches:
            watch.on_closed()

    def compact(self) -> None:
        """Lose the past: watches that run go on, new ones can't start from before."""
        self._history.clear()
        self._compacted = self._version

    @property
    def version(self) -> int:
        return self._version

    def peek(self, kind: type[Resource] | str, namespace: str, name: str) -> Json | None:
        """Look at an object without a request."""
        stored = self._objects.get((served(kind).plural, namespace, name))
        return None if stored is None else _copy(stored.wire)

    def all(self, kind: type[Resource] | str) -> list[Json]:
        """Look at all objects of a kind without a request."""
        plural = served(kind).plural
        return [_copy(stored.wire) for place, stored in sorted(self._objects.items()) if place[0] == plural]

    # What clients do

    def handle(self, request: Request) -> Json:
        """Carry out one request. Raises Refused."""
        target = target_of(request.path)
        self.requests[request.verb, target.kind.plural] += 1
        query = dict(request.query)
        match request.verb:
            case "GET" if target.name:
                return _copy(self._require(target).wire)
            case "GET":
                labels = _selector(query.get("labelSelector", ""))
                return self._list(target, labels, metadata_only=request.accept is Accept.METADATA_LIST)
            case "POST":
                answer = self._create(target, _copy(request.body or {}))
            case "PUT":
                answer = self._replace(target, _copy(request.body or {}))
            case "PATCH" if request.content_type is ContentType.APPLY:
                answer = self._apply(target, _copy(request.body or {}), query["fieldManager"])
            case "PATCH":
                answer = self._merge(target, _copy(request.body or {}), query.get("fieldManager", "unknown"))
            case _:
                answer = self._delete(target, (request.body or {}).get("preconditions", {}).get("uid"))
        self._settle()
        return answer

    def watch(self, kind: type[Resource] | str, since: int, on_event: OnEvent, on_closed: Callable[[], None]) -> Watch:
        """Replay what happened after `since`, then follow. Raises Refused(410) where the past is lost."""
        if not self.available:
            raise Refused(503, "ServiceUnavailable")
        watch = Watch(served(kind).plural, on_event, on_closed, self)
        self._cold.discard(watch.plural)
        oldest = max(self._compacted, self._floors.get(watch.plural, 0))
        if since < oldest:
            raise Refused(410, "Expired", f"too old resource version: {since} ({oldest})")
        for change in [change for change in self._history if change.version > since]:
            if change.plural == watch.plural:
                on_event(change.type, orjson.loads(change.wire))
        self._watches.append(watch)
        return watch

    def forget(self, watch: Watch) -> None:
        if watch in self._watches:
            self._watches.remove(watch)

    # Verbs

    def _list(self, target: Target, labels: Mapping[str, str], *, metadata_only: bool) -> Json:
        self._cold.discard(target.kind.plural)
        found = [
            stored.wire
            for place, stored in sorted(self._objects.items())
            if place[0] == target.kind.plural and target.namespace in ("", place[1])
            if labels.items() <= (stored.wire["metadata"].get("labels") or {}).items()
        ]
        items = [{"metadata": wire["metadata"]} for wire in found] if metadata_only else found
        return _copy({"metadata": {"resourceVersion": str(self._version)}, "items": items})

    def _create(self, target: Target, wire: Json) -> Json:
        metadata = wire.setdefault("metadata", {})
        name = str(metadata.get("name", ""))
        if len(name) > NAME_LENGTH_MAX or not _NAME.match(name):
            raise _refused(422, "Invalid", f'"{name}" is invalid: metadata.name: must be a DNS subdomain', target, name)
        place = (target.kind.plural, target.namespace, name)
        if place in self._objects:
            raise _refused(409, "AlreadyExists", f'{target.kind.plural} "{name}" already exists', target, name)
        self._check_namespace(target, name)
        given = {key: metadata[key] for key in _GIVEN_METADATA if metadata.get(key)}
        made: Json = {
            **{key: value for key, value in wire.items() if key != "status" or not target.kind.status},
            "apiVersion": target.kind.api_version,
            "kind": target.kind.kind,
            "metadata": {
                "name": name,
                **({"namespace": target.namespace} if target.kind.namespaced else {}),
                **given,
                "uid": self._next_uid(),
                "creationTimestamp": self._timestamp(),
                **({"generation": 1} if target.kind.custom else {}),
            },
        }
        if target.kind.status:
            made["status"] = dict(STATUS_DEFAULT)
        stored = _Stored({})
        self._objects[place] = stored
        self._unsettled |= "ownerReferences" in given
        return self._keep("ADDED", target.kind.plural, stored, made)

    def _replace(self, target: Target, wire: Json) -> Json:
        stored = self._require(target)
        version = wire.get("metadata", {}).get("resourceVersion")
        if not version and target.kind.custom:
            message = "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
            raise _refused(422, "Invalid", message, target)
        return self._update(target, stored, wire)

    def _merge(self, target: Target, patch: Json, manager: str) -> Json:
        stored = self._require(target)
        if target.subresource == "status":
            self._check_version(target, stored.wire, patch.get("metadata", {}))
            status = _merge_patch(stored.wire.get("status", {}), patch.get("status", {}))
            stored.owned = update(stored.wire.get("status", {}), stored.owned, manager, status)
            return self._store(target, stored, {**_copy(stored.wire), "status": status})
        return self._update(target, stored, _merge_patch(_without_version(stored.wire), patch))

    def _apply(self, target: Target, wire: Json, manager: str) -> Json:
        stored = self._require(target)
        if target.subresource != "status":
            raise NotImplementedError("only a status is applied")
        self._check_version(target, stored.wire, wire.get("metadata", {}))
        applied = apply(stored.wire.get("status", {}), stored.owned, manager, wire.get("status", {}))
        stored.owned = applied.owned
        return self._store(target, stored, {**_copy(stored.wire), "status": applied.status})

    def _delete(self, target: Target, uid: str | None) -> Json:
        stored = self._require(target)
        self._check_uid(target, stored.wire, uid)
        return self._delete_stored((target.kind.plural, target.namespace, target.name), stored)

    # Rules

    def _update(self, target: Target, stored: _Stored, proposed: Json) -> Json:
        live = stored.wire
        metadata = proposed.get("metadata", {})
        self._check_version(target, live, metadata)
        self._check_uid(target, live, metadata.get("uid"))
        added = set(metadata.get("finalizers") or ()) - set(live["metadata"].get("finalizers") or ())
        if _deleting(live) and added:
            message = "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted"
            raise _refused(422, "Invalid", message, target)
        changed = {key: value for key, value in proposed.items() if key not in ("metadata", "status")}
        changed = {**changed, "apiVersion": target.kind.api_version, "kind": target.kind.kind}
        status = live.get("status") if target.kind.status else proposed.get("status")
        if status is not None:
            changed["status"] = status
        system = {key: live["metadata"][key] for key in _SYSTEM_METADATA if key in live["metadata"]}
        given = {key: metadata[key] for key in _GIVEN_METADATA if metadata.get(key)}
        changed["metadata"] = {**system, **given}
        if target.kind.custom:
            content = _content(live, target.kind) != _content(changed, target.kind)
            changed["metadata"]["generation"] = live["metadata"]["generation"] + int(content)
        return self._store(target, stored, changed)

    def _check_uid(self, target: Target, live: Json, uid: str | None) -> None:
        if uid and uid != live["metadata"]["uid"]:
            said = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {live['metadata']['uid']}"
            text = f'Operation cannot be fulfilled on {target.kind.plural} "{target.name}": '
            raise _refused(409, "Conflict", text + said, target)

    def _check_version(self, target: Target, live: Json, given: Json) -> None:
        """A write to a status looks at the version alone: the uid in it is ignored, as the real server does."""
        version = given.get("resourceVersion")
        if version and version != live["metadata"]["resourceVersion"]:
            said = "the object has been modified; please apply your changes to the latest version and try again"
            text = f'Operation cannot be fulfilled on {target.kind.plural} "{target.name}": '
            raise _refused(409, "Conflict", text + said, target)

    def _check_namespace(self, target: Target, name: str) -> None:
        if not target.kind.namespaced:
            return
        namespace = self._objects.get((NAMESPACE.plural, "", target.namespace))
        if namespace is None:
            message = f'namespaces "{target.namespace}" not found'
            raise Refused(404, "NotFound", message, name=target.namespace, kind=NAMESPACE.plural)
        if _deleting(namespace.wire):
            message = (
                f'{target.kind.plural} "{name}" is forbidden: unable to create new content in namespace '
                f"{target.namespace} because it is being terminated"
            )
            causes = (NAMESPACE_TERMINATING,)
            raise Refused(403, "Forbidden", message, name=name, kind=target.kind.plural, causes=causes)

    def _delete_stored(self, place: Place, stored: _Stored) -> Json:
        if not stored.wire["metadata"].get("finalizers"):
            return self._remove(place, stored, _copy(stored.wire))
        if _deleting(stored.wire):
            return _copy(stored.wire)
        changed = _copy(stored.wire)
        changed["metadata"]["deletionTimestamp"] = self._timestamp()
        changed["metadata"]["deletionGracePeriodSeconds"] = 0
        if "generation" in changed["metadata"]:
            changed["metadata"]["generation"] += 1
        return self._keep("MODIFIED", place[0], stored, changed)

    def _store(self, target: Target, stored: _Stored, changed: Json) -> Json:
        """Keep a changed object; one that only waited for its last finalizer goes."""
        changed["metadata"].pop("resourceVersion", None)
        if _canonical(changed) == _canonical(_without_version(stored.wire)):
            return _copy(stored.wire)
        place = (target.kind.plural, target.namespace, target.name)
        if target.kind is not NAMESPACE and _deleting(changed) and not changed["metadata"].get("finalizers"):
            return self._remove(place, stored, changed)
        return self._keep("MODIFIED", target.kind.plural, stored, changed)

    def _remove(self, place: Place, stored: _Stored, last: Json) -> Json:
        del self._objects[place]
        self._unsettled = True
        return self._keep("DELETED", place[0], stored, last)

    def _keep(self, change: str, plural: str, stored: _Stored, wire: Json) -> Json:
        self._version += 1
        wire["metadata"]["resourceVersion"] = str(self._version)
        stored.wire = wire
        content = orjson.dumps(wire)
        if plural in self._cold:
            self._floors[plural] = self._version
        else:
            self._history.append(_Change(self._version, change, plural, content))
        if len(self._history) > HISTORY_LENGTH:
            self._compacted = self._history.popleft().version
        for watch in list(self._watches):
            if watch.plural == plural:
                watch.on_event(change, orjson.loads(content))
        copy: Json = orjson.loads(content)
        return copy

    def _settle(self) -> None:
        """What the real cluster's controllers do a moment later."""
        if not self._unsettled:
            return
        if self._collects_garbage:
            self.collect()
        inhabited = {place[1] for place in self._objects}
        for place, stored in list(self._objects.items()):
            if place[0] == NAMESPACE.plural and _deleting(stored.wire) and place[2] not in inhabited:
                self._remove(place, stored, _copy(stored.wire))
        self._unsettled = False

    def _require(self, target: Target) -> _Stored:
        stored = self._objects.get((target.kind.plural, target.namespace, target.name))
        if stored is None:
            raise _refused(404, "NotFound", f'{target.kind.plural} "{target.name}" not found', target)
        return stored

    def _timestamp(self) -> str:
        return self._now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _next_uid(self) -> str:
        self._made += 1
        text = hashlib.blake2b(f"{self._seed}/{self._made}".encode(), digest_size=16).hexdigest()
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-8{text[17:20]}-{text[20:]}"


def _selector(text: str) -> dict[str, str]:
    """Labels that a selector of the form a=b,c=d asks for."""
    return dict(each.split("=", 1) for each in text.split(",") if each)


def _refused(status: int, reason: str, message: str, target: Target, name: str = "") -> Refused:
    return Refused(status, reason, message, name=name or target.name, kind=target.kind.plural)


def _copy(wire: Json) -> Json:
    copied: Json = orjson.loads(orjson.dumps(wire))
    return copied


def _canonical(wire: Json) -> bytes:
    return orjson.dumps(wire, option=orjson.OPT_SORT_KEYS)


def _without_version(wire: Json) -> Json:
    metadata = {key: value for key, value in wire["metadata"].items() if key != "resourceVersion"}
    return {**wire, "metadata": metadata}


def _deleting(wire: Json) -> bool:
    return "deletionTimestamp" in wire["metadata"]


def _abandoned(wire: Json, uids: set[str]) -> bool:
    owners = wire["metadata"].get("ownerReferences") or ()
    return bool(owners) and not any(owner["uid"] in uids for owner in owners)


def _content(wire: Json, kind: Kind) -> Json:
    """What the generation counts."""
    left_out = ("metadata", "status") if kind.status else ("metadata",)
    return {key: value for key, value in wire.items() if key not in left_out}


def _merge_patch(value: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(value) if isinstance(value, dict) else {}
    for name, inner in patch.items():
        if inner is None:
            result.pop(name, None)
        else:
            result[name] = _merge_patch(result.get(name), inner)
    return result
