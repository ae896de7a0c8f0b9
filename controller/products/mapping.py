"""Columns of a source become Meta's fields. Nothing is checked here.

In this order, the later on top of the earlier:

1. a preset, or a SELECT, turns the rows of the source into other rows with more or other columns (`assembly`);
2. a column with the name of a field, also as "Image Link" or g:image_link, gives that field;
3. a preset says where else a field comes from;
4. `columns`, `constants` and `templates` win over both. A field stands in one of the three: more is an error;
5. values are trimmed, blank is none, and `values` replaces whole values.

A name in `columns` or in a template is a column or, where no column has it, a path: `images[0].url` is the column
`images.0.url`, as readers of nested formats name it, or reaches into the JSON text of the column `images`. What is
wrong with a mapping is said in one message, with the lines that mend it.
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from controller.api.v1alpha1.items import DecimalSeparator, ItemsEntry, RejectedRows
from controller.faults import Disposition, Fault
from controller.products import assembly, presets, suggestions
from controller.products.advice import Rule
from controller.products.assembly import Assembly, AsTheyAre
from controller.products.fields import CURRENCY, ID, IDENTIFIERS, REQUIRED, VOLATILE, in_order, is_known
from controller.products.rules import ROW_CURRENCY, rules_for
from controller.products.templates import Template, parse
from controller.products.variants import PREVIOUS_ID, previous_id

NEAREST_MAX = 3
BRAND = "brand"
"""Stands for the three identifiers, of which one is required."""
SAMPLE_ROWS = 200
"""Rows that suggestions look at: enough to see a pattern, few enough to cost nothing."""
_PATH = re.compile(r"[.\[]")
_INDEX = re.compile(r"\[(\d+)\]")
_NUMBER = re.compile(r"\.(\d+)(?=[.\[]|$)")


@dataclass(frozen=True, slots=True)
class MappingPlan:
    """Where each field comes from. A field stands in exactly one of columns, constants and templates."""

    columns: dict[str, str]
    constants: dict[str, str]
    templates: dict[str, Template] = field(default_factory=dict)
    values: dict[str, dict[str, str | None]] = field(default_factory=dict)
    paths: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Names that are no column but lead to one, and there perhaps along a JSON path."""
    assembly: Assembly = field(default_factory=lambda: AsTheyAre(()))
    decimal_comma: bool = False
    previous: str | None = None
    """Pattern that finds the previous id in an id."""
    hints: dict[str, str] = field(default_factory=dict)
    """What to add to a rule's message, as far as the first rows show it."""
    currency: str | None = None
    """The one that prices should have."""
    overlaid: frozenset[str] = frozenset()
    """Fields that overlays give; where nothing else does, they are null until then."""

    @property
    def row_local(self) -> bool:
        return self.assembly.row_local

    def rules(self) -> list[Rule]:
        """Everything that its rows are judged by."""
        return rules_for(self.fields, self.hints, self.currency)

    @property
    def fields(self) -> list[str]:
        """Fields of the result, in the fixed order; volatile ones are always there, if only as nulls."""
        own = {PREVIOUS_ID} if self.previous else set()
        given = {*self.columns, *self.constants, *self.templates, *own, *self.overlaid, *VOLATILE}
        return in_order(given - {CURRENCY})


def invalid(why: str) -> Fault:
    return Fault("MappingInvalid", Disposition.STALLED, why)


def is_row_local(entry: ItemsEntry) -> bool:
    """Tell, without its source, whether each item of an entry depends on one record alone."""
    mapping = entry.mapping
    if mapping.sql is not None:
        from controller.products.sql_statement import analyse  # an engine of its own, loaded only where it is used

        return analyse(mapping.sql).row_local
    return mapping.preset is None or presets.is_row_local(mapping.preset)


def is_record_by_record(entry: ItemsEntry) -> bool:
    """Tell whether each record of the source gives exactly one row, which depends on nothing else.

    Only then may records that did not change be skipped unread. A row-local SELECT may still leave rows out.
    """
    mapping = entry.mapping
    if mapping.sql is not None:
        from controller.products.sql_statement import analyse

        statement = analyse(mapping.sql)
        return statement.row_local and not statement.leaves_out
    return mapping.preset is None or presets.is_record_by_record(mapping.preset)


def plan(entry: ItemsEntry, available: Iterable[str], sample: pl.DataFrame | None = None) -> MappingPlan:
    """Resolve the declared mapping against the columns that a source has, and its first rows where there are some."""
    return _Planning(entry, list(available), sample).plan()


def apply(frame: pl.DataFrame, mapping: MappingPlan, keep: Iterable[str] = ()) -> pl.DataFrame:
    """Select and rename; trim every value; blank is null. Columns named in `keep` pass unchanged."""
    cells = _Cells(mapping, frame)
    expressions = [_value(mapping, field, cells).alias(field) for field in mapping.fields]
    if CURRENCY in mapping.columns or CURRENCY in mapping.constants:
        expressions.append(_value(mapping, CURRENCY, cells).alias(ROW_CURRENCY))
    mapped = cells.frame.select(*expressions, *keep)
    if mapping.previous is not None:
        return mapped.with_columns(previous_id(pl.col(ID).str.extract(mapping.previous, 1)))
    return mapped.with_columns(previous_id(pl.col(PREVIOUS_ID))) if PREVIOUS_ID in mapped.columns else mapped


class _Cells:
    """Columns of a frame, each trimmed once however often it is used."""

    def __init__(self, mapping: MappingPlan, frame: pl.DataFrame) -> None:
        self._paths = mapping.paths
        self._present = set(frame.columns)
        names = [*mapping.columns.values(), *(name for each in mapping.templates.values() for name in each.columns)]
        found = [self._paths.get(name, (name, "")) for name in names]
        entered = {column for column, path in found if path}
        self._trimmed = {column for column, path in found if not path} & self._present - entered
        self.frame = frame.with_columns(
            pl.col(name).str.strip_chars() for name in frame.columns if name in self._trimmed
        )

    def of(self, name: str) -> pl.Expr:
        """Value of a column or of a path into one; trimmed, blank is null."""
        column, path = self._paths.get(name, (name, ""))
        if column not in self._present:
            return pl.lit(None, dtype=pl.String)
        if column in self._trimmed:
            return _not_blank(pl.col(column))
        value = pl.col(column).str.json_path_match(path) if path else pl.col(column)
        return _not_blank(value.str.strip_chars())


def _value(mapping: MappingPlan, field: str, cells: _Cells) -> pl.Expr:
    if field in mapping.constants:
        value = pl.lit(mapping.constants[field] or None, dtype=pl.String)
    elif field in mapping.templates:
        template = mapping.templates[field]
        value = _not_blank(template.expression({name: cells.of(name) for name in template.columns}))
    else:
        column = mapping.columns.get(field)
        value = pl.lit(None, dtype=pl.String) if column is None else cells.of(column)
    return _replaced(value, mapping.values.get(field))


def _not_blank(text: pl.Expr) -> pl.Expr:
    return pl.when(text != "").then(text)


def _replaced(value: pl.Expr, values: dict[str, str | None] | None) -> pl.Expr:
    if not values:
        return value
    named = {old: new for old, new in values.items() if old}
    changed = value.replace(list(named), pl.Series(list(named.values()), dtype=pl.String)) if named else value
    return changed.fill_null(pl.when(value.is_null()).then(pl.lit(values[""]))) if values.get("") else changed


class _Planning:
    """Resolves one mapping and gathers all that is wrong with it."""

    def __init__(self, entry: ItemsEntry, available: list[str], sample: pl.DataFrame | None) -> None:
        self._entry = entry
        self._assembly = _assembly(entry, available)
        self._names = [name for name in self._assembly.columns if not name.startswith(assembly.PREFIX)]
        self._sample = sample
        self._paths: dict[str, tuple[str, str]] = {}
        self._problems: list[str] = []

    def plan(self) -> MappingPlan:
        declared = self._declared()
        columns, constants, templates = declared
        rest = {**same_names(self._names), **self._of_preset()}
        columns = {
            **{name: column for name, column in rest.items() if name not in {**constants, **templates}},
            **columns,
        }
        values = self._values({*columns, *constants, *templates})
        found = MappingPlan(
            columns,
            constants,
            templates,
            values,
            self._paths,
            self._assembly,
            self._entry.mapping.decimal is DecimalSeparator.COMMA,
            self._previous_pattern(),
            overlaid=frozenset(
                each.field for overlay in self._entry.overlays if overlay.override is None for each in overlay.columns
            ),
        )
        missing = self._missing({*columns, *constants, *templates, *found.overlaid})
        advised = suggestions.suggest(self._entry, self._names, missing, self._mapped(found))
        self._problems += self._of_missing(missing, advised.fields)
        if self._problems:
            raise invalid("; ".join(self._problems) + advised.text())
        return replace(found, hints=advised.hints(), currency=self._entry.currency)

    def _declared(self) -> tuple[dict[str, str], dict[str, str], dict[str, Template]]:
        mapping = self._entry.mapping
        constants = {each.field: each.value.strip() for each in mapping.constants}
        columns: dict[str, str] = {}
        for each in mapping.columns:
            if self._exists(each.column, f"mapping.columns[{each.field}]"):
                columns[each.field] = each.column
        templates: dict[str, Template] = {}
        for declared in mapping.templates:
            self._template(declared.field, declared.template, templates)
        self._previous(columns, templates)
        self._once(set(constants), {each.field for each in mapping.columns}, {each.field for each in mapping.templates})
        return columns, constants, templates

    def _template(self, name: str, text: str, templates: dict[str, Template]) -> None:
        try:
            template = parse(text, name)
        except ValueError as error:
            self._problems.append(f"mapping.templates[{name}]: {error}")
            return
        missing = [column for column in template.columns if not self._exists(column, f"mapping.templates[{name}]")]
        if not missing:
            templates[name] = template

    def _previous(self, columns: dict[str, str], templates: dict[str, Template]) -> None:
        previous = self._entry.variants.previous_id
        if previous is None:
            return
        if previous.column is not None and self._exists(previous.column, "variants.previousID.column"):
            columns[PREVIOUS_ID] = previous.column
        if previous.template is not None:
            self._template(PREVIOUS_ID, previous.template, templates)

    def _previous_pattern(self) -> str | None:
        previous = self._entry.variants.previous_id
        pattern = previous.id_pattern if previous is not None else None
        if pattern is None:
            return None
        try:
            groups = pl.Series([""]).str.extract_groups(pattern).struct.fields
        except pl.exceptions.PolarsError as error:
            self._problems.append(f"variants.previousID.idPattern is no regular expression: {error}")
            return None
        if len(groups) != 1:
            self._problems.append("variants.previousID.idPattern must have one group, e.g. ^([0-9]+)_")
        return pattern

    def _once(self, constants: set[str], columns: set[str], templates: set[str]) -> None:
        places = {"columns": columns, "constants": constants, "templates": templates}
        if self._entry.variants.previous_id is not None:
            places["variants.previousID"] = {PREVIOUS_ID}
        for name in in_order({*columns, *constants, *templates}):
            found = [place for place, names in places.items() if name in names]
            if len(found) > 1:
                self._problems.append(f"mapping: field {name} stands in {' and '.join(found)}; remove one of them")

    def _exists(self, name: str, where: str) -> bool:
        found = locate(name, self._names)
        if found is None:
            self._problems.append(f"{where}: the source has no column {name!r}{nearest(name, self._names)}")
            return False
        self._paths |= {} if found == (name, "") else {name: found}
        return True

    def _of_preset(self) -> dict[str, str]:
        added = [name for name in self._assembly.columns if name.startswith(assembly.PREFIX)]
        return {name.removeprefix(assembly.PREFIX): name for name in added}

    def _values(self, fields: set[str]) -> dict[str, dict[str, str | None]]:
        values: dict[str, dict[str, str | None]] = {}
        for each in self._entry.mapping.values:
            values.setdefault(each.field, {})[each.from_.strip()] = each.to.strip() or None
        for name in values.keys() - fields - set(VOLATILE) - {CURRENCY}:
            self._problems.append(f"mapping.values[{name}]: nothing gives {name} a value; name a column for it")
        return values

    def _missing(self, fields: set[str]) -> list[str]:
        lenient = self._entry.rejected_rows is RejectedRows.SEND
        missing = [name for name in ((ID,) if lenient else REQUIRED) if name not in fields]
        if "image_link" in missing and "image[0].url" in fields:
            missing.remove("image_link")
        if not lenient and not fields.intersection(IDENTIFIERS):
            missing.append(BRAND)
        return missing

    def _of_missing(self, missing: list[str], advised: set[str]) -> list[str]:
        """Say in a few words what nothing gives; the nearest columns only where no better advice follows."""
        preset = self._entry.mapping.preset
        required = [name for name in missing if name != BRAND]
        near = [nearest(name, self._names) for name in required if name not in advised or len(required) == 1]
        hints = [presets.hint(preset, name) for name in required]
        field = "field" if len(required) == 1 else "fields"
        words = (
            f"no column for the required {field} {', '.join(required)}{''.join(near)}; name one in mapping.columns, "
            f"or a value in mapping.constants{''.join(hints)}"
        )
        identifier = "no column for any of brand, gtin and mpn, of which Meta requires one; name one in mapping"
        return [*([words] if required else []), *([identifier] if BRAND in missing else [])]

    def _mapped(self, found: MappingPlan) -> tuple[pl.DataFrame, pl.DataFrame] | None:
        """First rows, as they are in the source and mapped as far as that is possible."""
        if self._sample is None or not self._assembly.row_local:
            return None
        head = self._sample.head(SAMPLE_ROWS)
        (rows,) = list(self._assembly.frames([head], lambda: [head])) or [head.clear()]
        return assembly.conform(rows, self._names), apply(rows, found)


def locate(name: str, names: Sequence[str]) -> tuple[str, str] | None:
    """Find the column that a declared name means, and the path within its cells; None where there is neither."""
    dotted = _INDEX.sub(r".\1", name)
    if name in names or dotted in names:
        return (name if name in names else dotted), ""
    for match in reversed(list(_PATH.finditer(name))):
        path = "$" + _NUMBER.sub(r"[\1]", name[match.start() :])
        if name[: match.start()] in names and _is_path(path):
            return name[: match.start()], path
    return None


def _assembly(entry: ItemsEntry, available: Sequence[str]) -> Assembly:
    mapping = entry.mapping
    if mapping.sql is not None:
        from controller.products.sql_mapping import Selected
        from controller.products.sql_statement import analyse

        return Selected(analyse(mapping.sql), available)
    if mapping.preset is not None:
        return presets.assembly(mapping.preset, available)
    return AsTheyAre(available)


def _is_path(path: str) -> bool:
    try:
        pl.Series(["{}"]).str.json_path_match(path)
    except pl.exceptions.PolarsError:
        return False
    return True


def same_names(names: Sequence[str]) -> dict[str, str]:
    """Columns that carry Meta's names already, also as "Image Link"; an exact name wins over a similar one."""
    found: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[\s-]+", "_", name.strip().lower()).removeprefix("g:")
        if (is_known(plain) or plain == CURRENCY) and (plain not in found or name == plain):
            found[plain] = name
    return found


def nearest(wanted: str, names: Sequence[str]) -> str:
    """Name the columns that may be meant, for the end of a message."""
    lower = {name.lower(): name for name in names}
    close = difflib.get_close_matches(wanted.lower(), lower, n=NEAREST_MAX, cutoff=0.5)
    shown = [lower[each] for each in close] or list(names[:NEAREST_MAX])
    return f"; nearest: {', '.join(map(repr, shown))}" if shown else ""
