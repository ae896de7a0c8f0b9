"""What one row does to its item, as the item is when the row takes effect.

Formats were checked when the row came in; here is what depends on the item: whether it exists, who owns it, what a
partial row leaves as it was.
"""

from dataclasses import dataclass
from typing import TypeAlias

from hack.emulator.documented import Provenance, behaviour
from hack.emulator.items import BATCH_OWNER, Item
from hack.emulator.sections.catalog import item_fields, item_rules
from hack.emulator.sections.catalog.item_rules import Issue
from hack.emulator.world import Feed, Session, World

REPLACE, PATCH, CREATE, UPDATE, DELETE = "R", "P", "C", "U", "D"
# (operation, line, item id, layout, values)
Row: TypeAlias = "tuple[str, int, str, int, str]"

behaviour(
    "effects.owner",
    page="Catalog Overview / Product Feed",
    section="Feeds",
    provenance=Provenance.DOCUMENTED,
    says="an id belongs to one feed at a time; a row for an item that a batch created makes the feed its owner",
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a row does to its item."""

    after: tuple[int, int, str] | None = None  # owner, layout, values
    delete: bool = False
    issues: tuple[Issue, ...] = ()

    @property
    def refused(self) -> bool:
        return any(issue.severity == item_rules.FATAL for issue in self.issues)


DUPLICATE = Issue(
    item_rules.FATAL,
    "DUPLICATE_RETAILER_ID",
    "id",
    "Duplicate IDs in the feed",
    "The same id appears in more than one row, so all rows with this id were ignored. "
    "Give each product an id of its own.",
)


def _refused(type_: str, field_name: str, summary: str, description: str) -> Verdict:
    return Verdict(issues=(Issue(item_rules.FATAL, type_, field_name, summary, description),))


def judge(world: World, session: Session, row: Row, before: Item | None) -> Verdict:
    """What a row does to the item as it is now. Formats were checked when the row came in."""
    operation, _, rid, layout, values = row
    if operation == DELETE:
        if before is None and world.switches.delete_unknown == "error" and session.kind == "batch":
            return _refused("ITEM_NOT_FOUND", "id", "Item not found", f"There is no item with the id {rid} to delete.")
        return Verdict(delete=before is not None)
    if operation == CREATE and before is not None and world.switches.create_existing == "refuse":
        words = "Duplicate retailer_id when attempting to create a product."
        return _refused("DUPLICATE_RETAILER_ID", "id", "(#10800) Duplicate retailer_id", words)
    if operation == UPDATE and before is None and not session.upsert:
        if world.switches.update_unknown == "silent":
            return Verdict()
        words = f"There is no item with the id {rid} to update."
        return _refused("ITEM_NOT_FOUND", "id", "Item not found", words)
    owner = session.feed or (before.owner if before is not None else BATCH_OWNER)
    if before is not None and not _may_own(world, session, before):
        words = f"The item {rid} belongs to another data feed. An item can be in one data feed only."
        return _refused("ITEM_OWNED_BY_OTHER_FEED", "id", "Item belongs to another data feed", words)
    if operation == REPLACE and (before is None or not session.keep_columns):
        return Verdict(after=(owner, layout, values))
    return _merged(world, session, row, before, owner)


def _may_own(world: World, session: Session, before: Item) -> bool:
    if not session.feed or before.owner in (session.feed, BATCH_OWNER):
        return True
    feed = world.nodes.get(session.feed)
    if isinstance(feed, Feed) and feed.migrated_from == before.owner and feed.completed == 0:
        return True
    return world.switches.foreign_owner == "adopt"


def _merged(world: World, session: Session, row: Row, before: Item | None, owner: int) -> Verdict:
    """A row that says only part of its item."""
    operation, _, _, layout, values = row
    new = world.items.decode(layout, values, empty=True)
    old = world.items.decode(before.layout, before.row) if before is not None else {}
    if operation == PATCH and new.pop(item_fields.DELETE_COLUMN, "").strip().lower() == "true":
        return Verdict(delete=before is not None)
    if operation == REPLACE:
        merged = {**{name: old[name] for name in session.keep_columns if name in old}, **new}
    else:
        merged = {**old, **new}
    merged = {name: value for name, value in merged.items() if value}
    issues: tuple[Issue, ...] = ()
    if before is None:
        checked = item_rules.check_row(
            merged, complete=True, recommend=world.switches.warn_missing_recommended == "true"
        )
        if checked.fatal:
            return Verdict(issues=tuple(issue for issue in checked.issues if issue.severity == item_rules.FATAL))
        merged, issues = checked.values, checked.issues
    else:
        relation = item_rules.relate(merged)
        if relation is not None:
            merged.pop(relation.field, None)
            issues = (relation,)
    encoded_layout, encoded = world.items.encode(merged)
    return Verdict(after=(owner, encoded_layout, encoded), issues=issues)
