"""What every resource has: metadata, a key, and the way from and to the wire.

`Resource` is any kind of the group; `Declared` is one whose content is a spec with a status beside it. Reading a
resource that breaks its own rules raises `InvalidResource`, which names each field and never repeats its value.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Generic, Self, TypeVar

from pydantic import Field, ValidationError
from typing_extensions import override

from controller.api import names
from controller.api.base import FreeForm, ListMap, Observation, WireModel
from controller.api.conditions import Condition, ConditionType, find_condition
from controller.api.values import STATUS_LIST_MAX, ShortText, Timestamp


@dataclass(frozen=True, slots=True, order=True)
class ObjectKey:
    """Which object, of whatever generation."""

    kind: str
    namespace: str
    name: str

    @override
    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class InvalidResource(ValueError):  # noqa: N818 - names what it is about, as everywhere here
    """An object from the API server that this release cannot read."""

    def __init__(self, key: ObjectKey, problems: tuple[str, ...]) -> None:
        super().__init__(f"{key}: " + "; ".join(problems))
        self.key = key
        self.problems = problems


class OwnerReference(Observation):
    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(Observation):
    """The part of Kubernetes' metadata that this operator looks at."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: Timestamp | None = None
    deletion_timestamp: Timestamp | None = None
    finalizers: tuple[str, ...] = ()
    labels: Mapping[str, str] = Field(default_factory=dict)
    annotations: Mapping[str, str] = Field(default_factory=dict)
    owner_references: tuple[OwnerReference, ...] = ()

    @property
    def deleting(self) -> bool:
        return self.deletion_timestamp is not None

    @property
    def has_finalizer(self) -> bool:
        """Whether this operator keeps the object from going."""
        return names.FINALIZER in self.finalizers

    @property
    def controller(self) -> OwnerReference | None:
        """The owner whose part this object is."""
        return next((owner for owner in self.owner_references if owner.controller), None)


class Spec(WireModel):
    """What is wanted. A field that this release does not know is an error: ignoring an intent is not safe.

    Defaults are values of the fields, so whoever reads a spec finds every value filled in, while what is written
    back holds only what was set.
    """

    def filled_in(self) -> dict[str, Any]:
        """Every default that was filled in, for status.effective. Entries of lists are told apart by their names."""
        return _missing(self.model_dump(mode="json", by_alias=True, exclude_none=True), self.to_wire())


class Status(Observation):
    """What was seen."""

    observed_generation: Annotated[int, Field(json_schema_extra={"format": "int64"})] = Field(
        default=-1,
        description="Generation of the spec that this status was written for; -1 until the first look.",
    )
    owner_uid: ShortText | None = Field(
        default=None,
        description="uid of the object that this status was written for. A copy or a restored backup carries another.",
    )


Effective = Annotated[Mapping[str, Any], FreeForm()]
"""Defaults that were filled in, as `Spec.filled_in` gives them."""


class ConditionedStatus(Status):
    """Status of a kind that has conditions."""

    last_handled_sync_at: ShortText | None = Field(
        default=None,
        description="Last value of the annotation metacatalog.dev/sync-requested-at that was acted upon.",
    )
    conditions: Annotated[tuple[Condition, ...], Field(max_length=STATUS_LIST_MAX), ListMap(("type",))] = Field(
        default=(),
        description="What holds at the moment.",
    )

    def condition(self, kind: ConditionType) -> Condition | None:
        return find_condition(self.conditions, kind)

    def is_true(self, kind: ConditionType) -> bool:
        condition = self.condition(kind)
        return condition is not None and condition.is_true


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`. Priority 1 shows it only with `-o wide`."""

    name: str
    json_path: str
    type: str = "string"
    priority: int = 0
    description: str = ""


def condition_column(name: str, kind: ConditionType, part: str = "status", priority: int = 0) -> Column:
    """A column with one part of a condition."""
    return Column(name, f'.status.conditions[?(@.type=="{kind}")].{part}', priority=priority)


AGE = Column("Age", ".metadata.creationTimestamp", "date")


class Resource(Observation):
    """Base of all kinds. Subclasses set the class attributes and declare their content."""

    GROUP: ClassVar[str] = names.GROUP
    VERSION: ClassVar[str] = names.VERSION
    KIND: ClassVar[str]
    PLURAL: ClassVar[str]
    SHORT_NAME: ClassVar[str]
    COLUMNS: ClassVar[tuple[Column, ...]] = (AGE,)
    SELECTABLE: ClassVar[tuple[str, ...]] = ()
    """JSON paths that field selectors may use."""

    metadata: ObjectMeta

    @property
    def key(self) -> ObjectKey:
        return ObjectKey(self.KIND, self.metadata.namespace, self.metadata.name)

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        return self.metadata.namespace

    @property
    def uid(self) -> str:
        return self.metadata.uid

    @classmethod
    def content_key(cls) -> str:
        """Where the content stands: `spec`, except in records of the operator's own."""
        (content,) = set(cls.model_fields) - {"metadata", "status"}
        return content

    @classmethod
    def api_version(cls) -> str:
        return f"{cls.GROUP}/{cls.VERSION}"

    @classmethod
    @override
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        """Read an object of this kind. Raises InvalidResource with every problem, by field."""
        if wire.get("kind", cls.KIND) != cls.KIND or wire.get("apiVersion", cls.api_version()) != cls.api_version():
            raise InvalidResource(_key_of(cls.KIND, wire), (f"is not a {cls.KIND} of {cls.api_version()}",))
        try:
            return cls.model_validate(wire)
        except ValidationError as error:
            raise InvalidResource(_key_of(cls.KIND, wire), _problems(error)) from None

    @override
    def to_wire(self) -> dict[str, Any]:
        """Write the whole object, with apiVersion and kind. What was never set is left out."""
        return {"apiVersion": self.api_version(), "kind": self.KIND, **super().to_wire()}


SpecT_co = TypeVar("SpecT_co", bound=Spec, covariant=True)
StatusT_co = TypeVar("StatusT_co", bound=Status, covariant=True)


class Declared(Resource, Generic[SpecT_co, StatusT_co]):
    """A kind with a spec that people (or a parent) write and a status that the operator writes."""

    spec: SpecT_co
    status: StatusT_co

    @property
    def status_is_ours(self) -> bool:
        """Whether the status was written for this very object, not for one it was copied or restored from."""
        return self.status.owner_uid is not None and self.status.owner_uid == self.metadata.uid


_NOTHING = object()


def _missing(full: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    missing: dict[str, Any] = {}
    for name, value in full.items():
        rest = _missing_in(value, given.get(name, _NOTHING))
        if rest not in ({}, []):
            missing[name] = rest
    return missing


def _missing_in(full: object, given: object) -> object:
    if isinstance(full, Mapping) and (given is _NOTHING or isinstance(given, Mapping)):
        return _missing(full, given if isinstance(given, Mapping) else {})
    if given is _NOTHING:
        return full
    if isinstance(full, list) and isinstance(given, list):
        entries = ((one, _missing_in(one, other)) for one, other in zip(full, given, strict=True))
        return [{**_named(one), **rest} for one, rest in entries if isinstance(rest, dict) and rest]
    return {}


def _named(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": entry["name"]} if "name" in entry else {}


def _key_of(kind: str, wire: Mapping[str, Any]) -> ObjectKey:
    metadata = wire.get("metadata")
    known = metadata if isinstance(metadata, Mapping) else {}
    return ObjectKey(kind, str(known.get("namespace", "")), str(known.get("name", "")))


def _problems(error: ValidationError) -> tuple[str, ...]:
    return tuple(
        f"{_path(problem['loc'])}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_context=False, include_input=False)
    )


def _path(location: tuple[int | str, ...]) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return path.removeprefix(".") or "object"
