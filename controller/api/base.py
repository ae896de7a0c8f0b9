"""What all models of the Kubernetes contract share: names on the wire, immutability, and rules for the API server.

A model here is the single source of truth of a kind. It is read from what the API server sends, written back by
alias with unset fields left out, and turned into a CRD by `controller.api.crds`. Whatever a CRD can say that pydantic
cannot (CEL rules, list types) is attached to the model by the markers of this module, so that a rule stands beside
the field it is about.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from typing_extensions import override

ACRONYMS = frozenset({"id", "ids", "url", "urls", "uid", "json"})
"""Words that Kubernetes writes in capitals (API conventions: acronyms are all upper case)."""

VALIDATIONS = "x-kubernetes-validations"
PERSISTED = "x-persisted-default"
"""Mark between the models and the generator; no CRD contains it."""


def wire_name(python_name: str) -> str:
    """`catalog_id` → `catalogID`. A trailing underscore (`from_`) only keeps a name apart from a Python keyword."""
    first, *rest = python_name.rstrip("_").split("_")
    return first + "".join(_capitalised(word) for word in rest)


def _capitalised(word: str) -> str:
    if word not in ACRONYMS:
        return word.capitalize()
    return word.upper() if not word.endswith("s") else word[:-1].upper() + "s"


class WireModel(BaseModel):
    """A part of a resource. Immutable; Python names and wire names are both accepted; input never shows in errors."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=wire_name,
        validate_by_name=True,
        validate_by_alias=True,
        hide_input_in_errors=True,
        defer_build=True,
    )

    RULES: ClassVar[tuple["Rule", ...]] = ()
    """CEL rules on the whole object; the API server enforces them."""

    @classmethod
    @override
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        reference = handler(core_schema)
        schema = handler.resolve_ref_schema(reference)
        if cls.RULES:
            schema[VALIDATIONS] = [rule.to_schema() for rule in cls.RULES]
        # What pydantic writes here itself does not pass through the serializers of the fields (a timedelta is PT1H).
        defaults = cls.model_construct().model_dump(mode="json", by_alias=True, exclude_none=True)
        for name, prop in schema.get("properties", {}).items():
            prop.pop("default", None)
            if name in defaults:
                prop["default"] = defaults[name]
        return reference

    @classmethod
    def from_wire(cls, wire: Mapping[str, object]) -> Self:
        """Read what the API server sent."""
        return cls.model_validate(wire)

    def to_wire(self) -> dict[str, object]:
        """Write by alias; what was never set, or set to None, is left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)


class Observation(WireModel):
    """A part of status or metadata: fields that this release does not know are ignored."""

    model_config = ConfigDict(extra="ignore")


@dataclass(frozen=True, slots=True)
class Rule:
    """A CEL rule that the API server checks. The message says what a person needs to do."""

    rule: str
    message: str
    field_path: str | None = None

    def to_schema(self) -> dict[str, str]:
        schema = {"rule": self.rule, "message": self.message}
        return schema if self.field_path is None else {**schema, "fieldPath": self.field_path}

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core_schema)
        return {**schema, VALIDATIONS: [*schema.get(VALIDATIONS, ()), self.to_schema()]}


@dataclass(frozen=True, slots=True)
class ListMap:
    """The list is a map: elements are told apart by these keys and merged one by one."""

    keys: tuple[str, ...]

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {
            **handler(core_schema),
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": list(self.keys),
        }


@dataclass(frozen=True, slots=True)
class ListSet:
    """The list is a set of scalars: a repeated element is refused."""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(core_schema), "x-kubernetes-list-type": "set"}


@dataclass(frozen=True, slots=True)
class Persisted:
    """The default is fixed for this version of the API, so the API server writes it into the object.

    All other defaults may change with a release; they stay absent and appear in status.effective.
    """

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(core_schema), PERSISTED: True}


@dataclass(frozen=True, slots=True)
class FreeForm:
    """The API server keeps whatever stands inside."""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def matches(pattern: str, value: str = "self") -> str:
    """CEL for "the value matches this pattern", with the pattern quoted for CEL."""
    quoted = pattern.replace("\\", "\\\\").replace("'", "\\'")
    return f"{value}.matches('{quoted}')"


def immutable(field: str, *, message: str, optional: bool = False) -> Rule:
    """The field keeps its value; stands on the parent, so that removing and adding it again is refused too."""
    if not optional:
        return Rule(f"self.{field} == oldSelf.{field}", message, f".{field}")
    rule = f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"
    return Rule(rule, message)


def settable_once(field: str, *, message: str) -> Rule:
    """The field may be added later, and from then on keeps its value."""
    rule = f"!has(oldSelf.{field}) || (has(self.{field}) && self.{field} == oldSelf.{field})"
    return Rule(rule, message)


def exactly_one(*fields: str, message: str) -> Rule:
    """One of these fields is there, and no more."""
    return Rule(" + ".join(f"(has(self.{field}) ? 1 : 0)" for field in fields) + " == 1", message)
