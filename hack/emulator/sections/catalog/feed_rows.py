"""From a feed file to the rows that will take effect.

Everything that can be known from the file alone is decided here: ids, duplicates, formats, missing fields. What depends
on the item as it is then is decided when the row takes effect (`effects.judge`).
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING

from hack.emulator import keysets
from hack.emulator.effects import (
    PACK_ROWS,
    SCATTER_ROWS_MAX,
    Effects,
    Uniform,
    pack,
    pack_uniform,
)
from hack.emulator.items import SEPARATOR
from hack.emulator.judging import PATCH, REPLACE, Row
from hack.emulator.keysets import canonical_id, item_key
from hack.emulator.sections.catalog import feed_files, item_fields, item_rules
from hack.emulator.sections.catalog.feed_files import FileProblem, Table
from hack.emulator.sections.catalog.item_rules import Issue
from hack.emulator.world import Session, World

if TYPE_CHECKING:
    from hack.emulator.sections.catalog import feed_columns

COLUMNS_FROM_BYTES = 1024 * 1024  # smaller blocks are read as fast row by row, without the columns' library
FIRST_DATA_LINE = 2  # the header is line 1


@dataclass(slots=True)
class Staged:
    """What a file came to."""

    keys: "array[int]"  # ids of the file, each once
    last_effect: float
    duplicate_samples: list[str] = field(default_factory=list)
    duplicate_ids: int = 0


@dataclass(slots=True)
class _Kept:
    """Rows that are kept as they are, column by column."""

    lines: list[int] = field(default_factory=list)
    rids: list[str] = field(default_factory=list)
    values: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Staging:
    world: World
    effects: Effects
    session: Session
    currency: str
    operation: str
    columns: tuple[str, ...] = ()
    line: int = FIRST_DATA_LINE
    layout: int = 0  # of rows that are kept as they are
    held: list[Row] = field(default_factory=list)
    uniform: _Kept = field(default_factory=_Kept)
    packs: int = 0
    keys: "array[int]" = field(default_factory=lambda: array("Q"))  # every readable id, as often as it stands there
    refused: "array[int]" = field(default_factory=lambda: array("Q"))  # ids of rows that were refused
    spelled: dict[int, str] = field(default_factory=dict)  # ids that need no longer be written alike to be alike
    issues: list[tuple[int, str, tuple[Issue, ...]]] = field(default_factory=list)

    def add(self, row: Row) -> None:
        self.held.append(row)
        if len(self.held) + len(self.uniform.rids) > SCATTER_ROWS_MAX:
            self.flush()

    def flush(self) -> None:
        for start in range(0, len(self.held), PACK_ROWS):
            self._stage(pack(self.held[start : start + PACK_ROWS]))
        self.held = []
        kept = self.uniform
        for start in range(0, len(kept.lines), PACK_ROWS):
            span = slice(start, start + PACK_ROWS)
            some = Uniform(self.operation, self.layout, kept.lines[span], kept.rids[span], kept.values[span])
            self._stage(pack_uniform(some))
        for column in (kept.lines, kept.rids, kept.values):
            column.clear()

    def _stage(self, packed: bytes) -> None:
        self.effects.stage(self.session, self.world.draw("pack", self.session.id, self.packs), packed)
        self.packs += 1

    def rows(self) -> list[Row]:
        """All rows of a file that is small enough to be held."""
        kept = self.uniform
        uniform = Uniform(self.operation, self.layout, kept.lines, kept.rids, kept.values)
        return [*self.held, *uniform.rows()]

    def refuse(self, line: int, rid: str, issues: Sequence[Issue]) -> None:
        self.session.invalid += 1
        self.issues.append((line, rid, tuple(issues)))
        if rid:
            self.refused.append(item_key(rid))


def stage(world: World, effects: Effects, session: Session, table: Table, *, currency: str) -> Staged:
    """Raises FileProblem where nothing of the file may be used. Sets the session's counters, span and columns."""
    staging = _Staging(world, effects, session, currency, REPLACE if session.kind == "replace" else PATCH)
    staging.columns = tuple(
        name if item_fields.known(name) or name == item_fields.DELETE_COLUMN else "" for name in table.columns
    )
    _warn_columns(staging, table.columns)
    if session.kind == "replace" and world.switches.omitted_fields_in_replace == "keep_volatile":
        session.keep_columns = [name for name in item_fields.VOLATILE if name not in table.columns]
    try:
        for block in table.blocks:
            _stage_block(staging, table, block)
    except FileProblem:
        effects.cancel(session)
        raise
    session.detected = staging.line - FIRST_DATA_LINE
    if session.detected == 0:
        raise FileProblem("The file is empty", feed_files.EMPTY_WORDS)
    return _settle(staging)


def _warn_columns(staging: _Staging, columns: Sequence[str]) -> None:
    for name in columns:
        if name and not (item_fields.known(name) or name == item_fields.DELETE_COLUMN):
            words = f"The column {name[:100]} is not a supported field and was ignored."
            issue = Issue(item_rules.WARNING, "UNRECOGNISED_FIELD", name[:100], "Unrecognised column", words)
            staging.issues.append((1, "", (issue,)))


def _stage_block(staging: _Staging, table: Table, block: bytes) -> None:
    if len(block) >= COLUMNS_FROM_BYTES:
        from hack.emulator.sections.catalog import feed_columns

        frame = feed_columns.read(table, block)
        if frame is not None:
            complete = staging.operation == REPLACE
            recommend = complete and staging.world.switches.warn_missing_recommended == "true"
            columns = staging.columns
            _stage_clean(staging, feed_columns.clean_rows(frame, columns, complete=complete, recommend=recommend))
            return
    for fields in feed_files.rows(table, block):
        _stage_fields(staging, fields)


def _stage_clean(staging: _Staging, clean: "feed_columns.Clean") -> None:
    """Rows that are clean beyond doubt go through as they are; the others take the one true path."""
    staging.layout = staging.world.items.layout([name for name in staging.columns if name])
    kept = staging.uniform
    if all(clean.values):  # an id is never empty, so neither is a row that is kept
        kept.lines.extend(range(staging.line, staging.line + len(clean.ids)))
        kept.rids.extend(clean.ids)
        kept.values.extend(values for values in clean.values if values)
        staging.line += len(clean.ids)
        staging.keys.extend(keysets.keys_in_order(clean.ids))
    else:
        _stage_mixed(staging, clean)
    if len(staging.held) + len(staging.uniform.rids) > SCATTER_ROWS_MAX:
        staging.flush()


def _stage_mixed(staging: _Staging, clean: "feed_columns.Clean") -> None:
    kept = staging.uniform
    for place, (rid, values) in enumerate(zip(clean.ids, clean.values, strict=True)):
        if values is None:
            _stage_fields(staging, clean.fields(place))
        else:
            kept.lines.append(staging.line)
            kept.rids.append(rid)
            kept.values.append(values)
            staging.line += 1
    good = [rid for rid, values in zip(clean.ids, clean.values, strict=True) if values is not None]
    staging.keys.extend(keysets.keys_in_order(good))


def _stage_fields(staging: _Staging, fields: Sequence[str]) -> None:
    line = staging.line
    staging.line += 1
    if len(fields) > len(staging.columns):
        words = (
            f"The row has {len(fields)} columns, the header has {len(staging.columns)}. "
            "Quote values that contain the separator."
        )
        issue = Issue(item_rules.FATAL, "INVALID_ROW", "", "Row doesn't match the header", words)
        staging.refuse(line, _readable_id(staging, fields), [issue])
        return
    padded = zip_longest(staging.columns, fields, fillvalue="")
    values = {name: value.replace(SEPARATOR, " ") for name, value in padded if name}
    rid = canonical_id(values.get("id", ""))
    if not rid or len(rid) > item_fields.ID_MAX:
        staging.refuse(line, "", [item_rules.missing("id") if not rid else ID_TOO_LONG])
        return
    values["id"] = rid
    staging.keys.append(item_key(rid))
    complete = staging.operation == REPLACE
    if not complete and values.get(item_fields.DELETE_COLUMN, "").strip().lower() == "true":
        values = {"id": rid, item_fields.DELETE_COLUMN: "true"}
    recommend = complete and staging.world.switches.warn_missing_recommended == "true"
    checked = item_rules.check_row(values, complete=complete, default_currency=staging.currency, recommend=recommend)
    if checked.fatal:
        staging.refuse(line, rid, checked.issues)
        return
    if checked.issues:
        staging.issues.append((line, rid, checked.issues))
    kept = {name: checked.values[name] for name in values if name in checked.values}
    if complete:
        kept.pop(item_fields.DELETE_COLUMN, None)
    layout, text = staging.world.items.encode(kept)
    staging.add((staging.operation, line, rid, layout, text))


ID_TOO_LONG = Issue(
    item_rules.FATAL,
    "PROPERTY_VALUE_STRING_EXCEEDS_LENGTH",
    "id",
    "Field is too long",
    f"id must not be longer than {item_fields.ID_MAX} characters.",
)


def _readable_id(staging: _Staging, fields: Sequence[str]) -> str:
    """The id of a row whose columns are shifted: only where it stands first."""
    rid = canonical_id(fields[0]) if staging.columns[0] == "id" else ""
    if rid:
        staging.keys.append(item_key(rid))
    return rid


def _settle(staging: _Staging) -> Staged:
    """Everything is read: instants, duplicates, and what the end of a replace keeps."""
    world, session, effects = staging.world, staging.session, staging.effects
    session.rows = session.detected
    session.ends = (
        session.starts
        + world.switches.upload_base_seconds
        + session.detected / max(1.0, world.switches.upload_rows_per_second)
    )
    unique, duplicates = keysets.distinct(staging.keys)
    scattered = staging.packs == 0 and session.detected <= SCATTER_ROWS_MAX
    session.reads_late = scattered
    last = session.ends
    samples: list[str] = []
    if duplicates:
        doubled = frozenset(duplicates)
        samples = sorted({row[2] for row in staging.rows() if item_key(row[2]) in doubled})[:10]
    if scattered:
        last = effects.scatter(session, staging.rows())
    else:
        staging.flush()
        effects.spread(session)
    effects.keep(session, _kept(staging, unique, duplicates), duplicates)
    for line, rid, issues in staging.issues:
        effects.record_issues(session, line, rid, issues, session.starts)
    effects.add(session, "end", session.ends)
    return Staged(keys=unique, last_effect=last, duplicate_samples=samples, duplicate_ids=len(duplicates))


def _kept(staging: _Staging, unique: "array[int]", duplicates: "array[int]") -> "array[int]":
    """Ids that are not missing at the end of a replace upload."""
    switches = staging.world.switches
    lost = array("Q")
    if switches.fatal_row_in_replace == "deleted":
        lost.extend(staging.refused)
    if switches.duplicate_rows_in_replace == "deleted":
        lost.extend(duplicates)
    return keysets.without(unique, lost)
