"""Which kinds the server serves, and what differs between them."""

import re
from dataclasses import dataclass

from controller.api.resource import Declared, Resource
from controller.api.v1alpha1 import KINDS
from controller.kube.transport import Refused

STATUS_DEFAULT = {"observedGeneration": -1}


@dataclass(frozen=True, slots=True)
class Kind:
    kind: str
    api_version: str
    plural: str
    namespaced: bool = True
    custom: bool = False
    """A custom resource: has a generation, and an update must name a version."""
    status: bool = False
    """Has a status subresource."""

    @property
    def base(self) -> str:
        return f"/api/{self.api_version}" if "/" not in self.api_version else f"/apis/{self.api_version}"


def _custom(kind: type[Resource]) -> Kind:
    return Kind(kind.KIND, kind.api_version(), kind.PLURAL, custom=True, status=issubclass(kind, Declared))


NAMESPACE = Kind("Namespace", "v1", "namespaces", namespaced=False)
OURS: tuple[type[Resource], ...] = KINDS
SERVED = (
    NAMESPACE,
    Kind("Secret", "v1", "secrets"),
    Kind("ConfigMap", "v1", "configmaps"),
    Kind("Lease", "coordination.k8s.io/v1", "leases"),
    Kind("Event", "events.k8s.io/v1", "events"),
    *(_custom(kind) for kind in OURS),
)
_BY_PLACE = {(kind.base, kind.plural): kind for kind in SERVED}
_PATH = re.compile(
    r"^(?P<base>/api/v1|/apis/[^/]+/[^/]+)(?:/namespaces/(?P<namespace>[^/]+)(?=/))?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>[^/]+))?$"
)


@dataclass(frozen=True, slots=True)
class Target:
    """What a path points at."""

    kind: Kind
    namespace: str
    """Empty: all namespaces, or a kind without any."""
    name: str
    """Empty: the collection."""
    subresource: str


def target_of(path: str) -> Target:
    """Read a path; one that nobody serves is a bare 404, like the real one's."""
    found = _PATH.match(path)
    kind = None if found is None else _BY_PLACE.get((found["base"], found["plural"]))
    if found is None or kind is None:
        raise Refused(404)
    return Target(kind, found["namespace"] or "", found["name"] or "", found["sub"] or "")


def served(kind: type[Resource] | str) -> Kind:
    name = kind if isinstance(kind, str) else kind.KIND
    return next(one for one in SERVED if one.kind == name)
