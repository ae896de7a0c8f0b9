"""What one row of a localised batch does to an item's values for one language or country, when it takes effect."""

from collections.abc import Mapping
from dataclasses import dataclass

from hack.emulator.items import Item
from hack.emulator.judging import DELETE, Row
from hack.emulator.sections.catalog import item_rules
from hack.emulator.sections.catalog.item_rules import Issue
from hack.emulator.world import World

KIND = "localized"  # of sessions and mutations
TYPE, KEY = "localization.type", "localization.value"  # columns of a row beside its fields


@dataclass(frozen=True, slots=True)
class Change:
    """The values after the row (None: as they are), for which localization, and what was found."""

    type: str
    key: str
    after: Mapping[str, str] | None = None
    issues: tuple[Issue, ...] = ()

    @property
    def refused(self) -> bool:
        return any(issue.severity == item_rules.FATAL for issue in self.issues)


def watched(name: str, key: str, values: Mapping[str, str]) -> str:
    """The value that a witness calls `field@key`, e.g. price@FR; empty where there is none."""
    field_name, _, of = name.partition("@")
    return values.get(field_name, "") if of == key else ""


def judge(world: World, row: Row, item: Item | None) -> Change:
    operation, _, rid, layout, text = row
    new = world.items.decode(layout, text, empty=True)
    type_, key = new.pop(TYPE), new.pop(KEY)
    new.pop("id", None)
    if item is None:
        words = f"There is no item with the id {rid} whose values could differ by language or country."
        return Change(type_, key, issues=(_fatal("ITEM_NOT_FOUND", "Item not found", words),))
    before = world.overrides.get((item.n, type_, key))
    if operation == DELETE:
        if not before and world.switches.delete_unknown_override == "error":
            words = f"The item {rid} has no values for {key}."
            return Change(type_, key, issues=(_fatal("OVERRIDE_NOT_FOUND", "Override not found", words),))
        return Change(type_, key, {})
    merged = {**before, **new} if world.switches.localized_update == "merge" else new
    merged = {name: value for name, value in merged.items() if value}
    price = merged.get("price") or world.items.value(item.layout, item.row, "price")
    relation = item_rules.relate({**merged, "price": price}) if "sale_price" in merged else None
    if relation is None:
        return Change(type_, key, merged)
    del merged[relation.field]
    return Change(type_, key, merged, (relation,))


def _fatal(type_: str, summary: str, description: str) -> Issue:
    return Issue(item_rules.FATAL, type_, "id", summary, description)
