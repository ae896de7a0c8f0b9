"""Server-side apply of a status: who owns which field, and what goes when its owner lets go of it.

Objects are granular, lists are atomic, except the conditions, which are a map by their type. Pure.
"""

from dataclasses import dataclass
from typing import Any

Step = str | tuple[str, str]
"""A field, or ("type", its value) for an element of the conditions."""
Path = tuple[Step, ...]
Leaves = dict[Path, Any]
Owned = dict[str, frozenset[Path]]
"""Per field manager: the paths it applied last."""

LIST_MAPS: dict[Path, str] = {("conditions",): "type"}


@dataclass(frozen=True, slots=True)
class Applied:
    status: dict[str, Any]
    owned: Owned


def apply(live: dict[str, Any], owned: Owned, manager: str, wanted: dict[str, Any]) -> Applied:
    """Apply with force: what was ours and is no longer wanted goes, what is wanted is ours now."""
    there = leaves(live)
    new = leaves(wanted)
    others = {name: paths for name, paths in owned.items() if name != manager}
    for path in owned.get(manager, frozenset()) - new.keys():
        if not any(path in paths for paths in others.values()):
            there.pop(path, None)
    for path in list(there):
        if any(_shadows(path, other) for other in new):
            del there[path]
    taken = {path for path, value in new.items() if path not in there or there[path] != value}
    left = {name: frozenset(paths - taken) for name, paths in others.items()}
    order = _order(_elements(live), _elements(wanted))
    status = _build({**there, **new}, order)
    return Applied(status, {**{name: paths for name, paths in left.items() if paths}, manager: frozenset(new)})


def update(live: dict[str, Any], owned: Owned, manager: str, new: dict[str, Any]) -> Owned:
    """Who owns what after a write that was no apply: its manager owns what it changed."""
    there = leaves(live)
    changed = frozenset(path for path, value in leaves(new).items() if path not in there or there[path] != value)
    left = {name: paths - changed for name, paths in owned.items()}
    return {**left, manager: left.get(manager, frozenset()) | changed}


def leaves(value: Any, path: Path = ()) -> Leaves:
    """Every value that is owned as one piece, by its path."""
    key = LIST_MAPS.get(path)
    if key is not None and isinstance(value, list):
        return _merged(leaves(element, (*path, (key, str(element[key])))) for element in value)
    if isinstance(value, dict) and (value or not path):
        return _merged(leaves(inner, (*path, name)) for name, inner in value.items())
    return {path: value}


def _merged(parts: Any) -> Leaves:
    return {path: value for part in parts for path, value in part.items()}


def _shadows(path: Path, other: Path) -> bool:
    """One is inside the other: a value changed its shape."""
    shorter = min(len(path), len(other))
    return path != other and path[:shorter] == other[:shorter]


def _elements(status: dict[str, Any]) -> list[str]:
    return [str(element["type"]) for element in status.get("conditions", ())]


def _order(live: list[str], wanted: list[str]) -> list[str]:
    """The order of Kubernetes' structured merge: elements of others keep their place among those that didn't move."""
    order: list[str] = []
    left, right = list(live), list(wanted)
    while left or right:
        if left and left[0] not in wanted:
            order.append(left.pop(0))
        elif right and right[0] not in live:
            order.append(right.pop(0))
        elif left and right and left[0] == right[0]:
            order.append(left.pop(0))
            right.pop(0)
        elif left and left[0] in right:
            left.pop(0)
        elif right:
            order.append(right.pop(0))
        else:
            left.pop(0)
    return order


def _build(found: Leaves, order: list[str]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    elements: dict[str, dict[str, Any]] = {}
    for path, value in found.items():
        if len(path) > 1 and isinstance(path[1], tuple):
            at = elements.setdefault(path[1][1], {})
            inner = path[2:]
        else:
            at, inner = result, path
        for step in inner[:-1]:
            at = at.setdefault(str(step), {})
        at[str(inner[-1])] = value
    if elements:
        result["conditions"] = [elements[name] for name in order if name in elements]
    return result
