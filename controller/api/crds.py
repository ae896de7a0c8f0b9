"""Custom resource definitions, made from the models.

A CRD needs a *structural* schema: no references, no `anyOf` with null, every list with its merge strategy, CEL rules
and bounds that keep their estimated cost below the API server's limit. pydantic emits JSON Schema 2020-12, and the
libraries that turn it into a CRD know neither list types nor `x-kubernetes-validations`, so the models carry those
(see `controller.api.base`) and this module does the rest. A keyword that it does not know is an error, never dropped:
a bound that silently disappeared would be found by the API server's users, not by us.
"""

from collections.abc import Mapping
from typing import Any

from controller.api import names
from controller.api.base import PERSISTED, VALIDATIONS
from controller.api.resource import Column, Resource

Schema = dict[str, Any]

KEPT = (
    "description",
    "type",
    "format",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minimum",
    "maximum",
    "required",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-preserve-unknown-fields",
    VALIDATIONS,
)
"""Keywords that mean the same in JSON Schema and in a structural schema."""
ORDER = (*KEPT, "default", "properties", "items", "additionalProperties")
"""In which order a person wants to read them."""
DROPPED = frozenset({"title", PERSISTED})

STATUS_DEFAULT = {"observedGeneration": -1}
"""Tools that follow kstatus then wait for the first look, instead of calling a new object ready."""


class NotStructuralError(TypeError):
    """A model says something that a CRD cannot."""


def crd_name(kind: type[Resource]) -> str:
    """Name of the CustomResourceDefinition object."""
    return f"{kind.PLURAL}.{kind.GROUP}"


def crd(kind: type[Resource]) -> Schema:
    """The CustomResourceDefinition of a kind."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": crd_name(kind)},
        "spec": {
            "group": kind.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.KIND,
                "listKind": f"{kind.KIND}List",
                "plural": kind.PLURAL,
                "singular": kind.KIND.lower(),
                "shortNames": [kind.SHORT_NAME],
                "categories": [names.CATEGORY],
            },
            "versions": [_version(kind)],
        },
    }


def _version(kind: type[Resource]) -> Schema:
    schema = structural_schema(kind)
    version: Schema = {"name": kind.VERSION, "served": True, "storage": True}
    if "status" in schema["properties"]:
        version["subresources"] = {"status": {}}
    if kind.SELECTABLE:
        version["selectableFields"] = [{"jsonPath": path} for path in kind.SELECTABLE]
    version["additionalPrinterColumns"] = [_column(column) for column in kind.COLUMNS]
    version["schema"] = {"openAPIV3Schema": schema}
    return version


def _column(column: Column) -> Schema:
    written: Schema = {"name": column.name, "type": column.type, "jsonPath": column.json_path}
    if column.priority:
        written["priority"] = column.priority
    return written


def structural_schema(kind: type[Resource]) -> Schema:
    """The schema of a kind as the API server wants it."""
    raw = kind.model_json_schema(by_alias=True, mode="validation")
    whole = _resolve({key: value for key, value in raw.items() if key != "$defs"}, raw.get("$defs", {}), kind.KIND)
    content = {name: schema for name, schema in whole["properties"].items() if name != "metadata"}
    if "status" in content:
        content["status"]["default"] = STATUS_DEFAULT
    properties = {
        "apiVersion": {"type": "string", "description": kind.api_version()},
        "kind": {"type": "string", "description": kind.KIND},
        "metadata": {"type": "object"},
        **content,
    }
    required = [name for name in whole.get("required", ()) if name != "metadata"]
    whole.pop("required", None)
    return _ordered({**whole, **({"required": required} if required else {}), "properties": properties})


def _resolve(node: Mapping[str, Any], definitions: Mapping[str, Any], path: str, *, in_list: bool = False) -> Schema:
    """Make one node structural; what stands beside a reference wins over what is referred to, rules are added up."""
    if "$ref" in node:
        target = definitions[node["$ref"].removeprefix("#/$defs/")]
        return _resolve(_merged(target, node, "$ref"), definitions, path, in_list=in_list)
    if "anyOf" in node:
        return _resolve(_merged(_only_option(node["anyOf"], path), node, "anyOf"), definitions, path, in_list=in_list)
    schema: Schema = {}
    for keyword, value in node.items():
        schema.update(_keyword(keyword, value, definitions, path, in_list=in_list))
    if schema.get("type") == "array":
        schema.setdefault("x-kubernetes-list-type", "atomic")
    return _ordered(_with_default(schema, node, path, in_list=in_list))


def _ordered(schema: Schema) -> Schema:
    return {keyword: schema[keyword] for keyword in ORDER if keyword in schema}


def _keyword(keyword: str, value: Any, definitions: Mapping[str, Any], path: str, *, in_list: bool) -> Schema:
    if keyword in KEPT:
        return {keyword: value}
    match keyword:
        case "const":
            return {"enum": [value]}
        case "properties":
            return {
                keyword: {
                    name: _resolve(schema, definitions, f"{path}.{name}", in_list=in_list)
                    for name, schema in value.items()
                },
            }
        case "items":
            return {keyword: _resolve(value, definitions, f"{path}[]", in_list=True)}
        case "prefixItems":
            return {"items": _resolve(_same(value, path), definitions, f"{path}[]", in_list=True)}
        case "additionalProperties":
            # The API server prunes what is not declared; strictness is kubectl's and the models'.
            return {} if isinstance(value, bool) else {keyword: _resolve(value, definitions, path, in_list=True)}
        case "default":
            return {}
        case _ if keyword in DROPPED:
            return {}
        case _:
            raise NotStructuralError(f"{path}: {keyword} has no counterpart in a structural schema")


def _merged(target: Mapping[str, Any], node: Mapping[str, Any], without: str) -> Schema:
    beside = {key: value for key, value in node.items() if key != without}
    rules = [*target.get(VALIDATIONS, ()), *beside.get(VALIDATIONS, ())]
    return {**target, **beside, **({VALIDATIONS: rules} if rules else {})}


def _only_option(options: list[Mapping[str, Any]], path: str) -> Mapping[str, Any]:
    given = [option for option in options if option.get("type") != "null"]
    if len(given) != 1:
        raise NotStructuralError(f"{path}: a union has no counterpart in a structural schema")
    return given[0]


def _same(options: list[Mapping[str, Any]], path: str) -> Mapping[str, Any]:
    if any(option != options[0] for option in options):
        raise NotStructuralError(f"{path}: a tuple of different types has no counterpart in a structural schema")
    return options[0]


def _with_default(schema: Schema, node: Mapping[str, Any], path: str, *, in_list: bool) -> Schema:
    """Persisted defaults are the API server's; others are told to people, because a release may change them."""
    default = node.get("default")
    if node.get(PERSISTED):
        if in_list:
            raise NotStructuralError(f"{path}: a default inside a list fights with whoever applies the list")
        return {**schema, "default": default}
    if default in (None, "") or isinstance(default, list | dict) or ".spec" not in path:
        return schema
    shown = str(default).lower() if isinstance(default, bool) else str(default)
    return {**schema, "description": f"{schema.get('description', '')} Default: {shown}.".strip()}
