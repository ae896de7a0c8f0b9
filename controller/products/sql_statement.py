"""One SELECT over the table `source`, which may say nothing that has reach.

The statement is parsed by DuckDB's own parser, and only a tree made of known parts passes: one SELECT, from `source`
and what it names itself, columns, constants, operators, casts to plain types, and functions of a list that have no
reach (no file, network, setting, secret, clock or chance) and whose results stay in proportion to their input. What
runs is the text written back from that tree. The walk also tells whether a row of the result depends on one row alone.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from controller.faults import Disposition, Fault
from controller.products.records import LINE

SOURCE = "source"
LINE_OUT = "__line"
"""Column of a result with the lines of its rows, beside whatever the statement names."""
PAD_LENGTH_MAX = 1_000
GROWTH_MAX = 1_000
"""By how much replacing may lengthen a value, over all replacements in one another."""
DEPTH_MAX = 8
"""SELECTs in one another."""
SPREAD_MAX = 1_000
"""By how much joining texts may lengthen a value: columns joined to one, multiplied over all SELECTs."""

Tree = Mapping[str, Any]

_FUNCTIONS_TEXT = """
+ - * / // % || ~~ !~~ ~~* !~~* ~~~ !~~~ abs ceil ceiling floor round trunc sign mod greatest least lower upper
lcase ucase trim ltrim rtrim length len char_length character_length strlen substr substring left right lpad rpad
replace translate reverse concat concat_ws contains prefix suffix starts_with ends_with strpos position instr
split_part string_split str_split split regexp_matches regexp_replace regexp_extract regexp_full_match nfc_normalize
strip_accents ascii chr unicode md5 sha256 url_encode url_decode format printf coalesce nullif ifnull if
list_extract array_extract list_element struct_extract array_length list_contains list_value array_to_string
list_distinct list_sort json_extract json_extract_string -> ->> json_valid json_type json_array_length
json_keys strptime try_strptime strftime date_part date_trunc year month day hour minute second make_date date_diff
date_add date_sub last_day to_days to_weeks to_months to_years to_hours to_minutes to_seconds dayofweek isodow
weekofyear epoch epoch_ms to_timestamp like_escape ilike_escape not_like_escape not_ilike_escape not
"""
FUNCTIONS = frozenset(_FUNCTIONS_TEXT.split())
_AGGREGATES_TEXT = """
count count_star sum min max avg mean median mode any_value first last arg_min arg_max min_by max_by string_agg
group_concat listagg bool_and bool_or count_if
"""
AGGREGATES = frozenset(_AGGREGATES_TEXT.split())
_WINDOWS_TEXT = """
row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value
"""
WINDOWS = frozenset(_WINDOWS_TEXT.split())
_JOINING = frozenset({"||", "concat", "concat_ws", "format", "printf", "list_value", "array_to_string"})
_GROWING = {"replace": (1, 2), "regexp_replace": (None, 2)}
"""Functions that lengthen a value: places of the searched text, which makes it shorter, and of the new one."""
_TYPES_TEXT = """
varchar text string char bpchar boolean bool logical tinyint smallint short integer int int4 signed bigint long int8
hugeint utinyint usmallint uinteger ubigint decimal numeric dec real float float4 double float8 date timestamp
datetime time json
"""
_TYPES = frozenset(_TYPES_TEXT.split())
_EXPRESSIONS_TEXT = """
COLUMN_REF CONSTANT FUNCTION CAST CASE COMPARISON CONJUNCTION OPERATOR BETWEEN STAR SUBQUERY WINDOW TYPE
"""
_EXPRESSIONS = frozenset(_EXPRESSIONS_TEXT.split())
_MODIFIERS = frozenset({"ORDER_MODIFIER", "LIMIT_MODIFIER", "DISTINCT_MODIFIER"})
_KEYWORDS_TEXT = """
current_date current_time current_timestamp localtime localtimestamp current_user session_user user current_role
current_catalog current_schema current_database current_query get_current_time get_current_timestamp today
"""
_KEYWORDS = frozenset(_KEYWORDS_TEXT.split())
"""Names that mean the clock or the session where no column has them."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A SELECT that passed, as it will run."""

    sql: str
    row_local: bool
    keeps_lines: bool
    """Its rows can be told to be those of the source, and carry their lines."""
    leaves_out: bool
    """It may yield fewer rows than the source has."""


def refused(why: str) -> Fault:
    return Fault("MappingInvalid", Disposition.STALLED, f"mapping.sql: {why}")


def first_words(error: duckdb.Error) -> str:
    return " ".join(str(error).split("LINE 1")[0].split())[:500]


def analyse(sql: str) -> Statement:
    """Parse a statement and refuse whatever is not known to be harmless."""
    tree = _parsed(sql)
    walk = _Walk()
    walk.query(tree, frozenset(), 0)
    if not walk.reads_source:
        raise refused("read from the table source: SELECT … FROM source")
    single = _is_plain(tree)
    row_local = single and not walk.group_wide and not tree.get("modifiers")
    keeps = single and not walk.aggregates and not _has_distinct(tree)
    if keeps:
        tree = {**tree, "select_list": [*tree["select_list"], _line_reference(tree)]}
    leaves_out = bool(tree.get("where_clause")) or not row_local
    return Statement(_text(tree), row_local, keeps, leaves_out)


def _parsed(sql: str) -> Tree:
    if ";" in sql.rstrip().rstrip(";") and _statements(sql) != 1:
        raise refused("must be one SELECT")
    with duckdb.connect(":memory:") as parser:
        document = parser.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()[0][0]
    found = json.loads(document)
    if found.get("error"):
        message = str(found.get("error_message", "cannot be parsed"))
        raise refused("must be one SELECT" if "Only SELECT" in message else message.split("\n", maxsplit=1)[0])
    statements = found["statements"]
    if len(statements) != 1 or statements[0].get("named_param_map"):
        raise refused("must be one SELECT without parameters")
    node: Tree = statements[0]["node"]
    return node


def _statements(sql: str) -> int:
    try:
        return len(duckdb.extract_statements(sql))
    except duckdb.Error as error:
        raise refused(first_words(error)) from None


def _text(tree: Tree) -> str:
    document = json.dumps({"error": False, "statements": [{"node": tree, "named_param_map": []}]})
    with duckdb.connect(":memory:") as parser:
        return str(parser.execute("SELECT json_deserialize_sql(?)", [document]).fetchall()[0][0])


def _is_plain(tree: Tree) -> bool:
    """Tell whether it is one SELECT from the table itself, without joins and without SELECTs inside."""
    table = tree.get("from_table") or {}
    named = {each["key"] for each in tree["cte_map"]["map"]}
    return tree["type"] == "SELECT_NODE" and table.get("type") == "BASE_TABLE" and not named


def _has_distinct(tree: Tree) -> bool:
    return any(each["type"] == "DISTINCT_MODIFIER" for each in tree.get("modifiers", ()))


def _line_reference(tree: Tree) -> Tree:
    table = tree["from_table"].get("alias") or SOURCE
    return {
        "class": "COLUMN_REF",
        "type": "COLUMN_REF",
        "alias": LINE_OUT,
        "query_location": 0,
        "query_location_length": 0,
        "column_names": [table, LINE],
    }


@dataclass(slots=True)
class _Walk:
    """Visits every part of a statement. A part that is not known is refused, never skipped."""

    reads_source: bool = False
    group_wide: bool = False
    aggregates: bool = False
    growth: float = 1.0
    spread: int = 1
    widest: int = 1

    def query(self, node: Tree, tables: frozenset[str], depth: int) -> None:
        if depth > DEPTH_MAX:
            raise refused(f"has more than {DEPTH_MAX} SELECTs in one another")
        for each in node["cte_map"]["map"]:
            self.group_wide = True
            value = each["value"]
            self.query(_node(value["query"] if "query" in value else value["query_node"]), tables, depth + 1)
            tables |= {each["key"].lower()}
        for modifier in node.get("modifiers") or ():
            self._modifier(modifier, tables, depth)
        match node["type"]:
            case "SELECT_NODE":
                self._select(node, tables, depth)
            case "SET_OPERATION_NODE":
                self.group_wide = True
                for child in node.get("children") or (node["left"], node["right"]):
                    self.query(_node(child), tables, depth + 1)
            case other:
                raise refused(f"{_plain(other)} is not allowed")

    def _select(self, node: Tree, tables: frozenset[str], depth: int) -> None:
        if node.get("sample") or node.get("qualify"):
            self.group_wide = True
            if node.get("sample"):
                raise refused("SAMPLE is not allowed: it depends on chance")
        if node.get("group_expressions") or node.get("group_sets") or _grouped(node):
            self.group_wide = self.aggregates = True
        self._table(node["from_table"], tables, depth)
        around, self.widest = self.widest, 1
        parts = (*node["select_list"], *(node.get("group_expressions") or ()))
        for part in (*parts, node.get("where_clause"), node.get("having"), node.get("qualify")):
            self.expression(part, tables, depth)
        self.spread *= self.widest
        self.widest = around
        if self.spread > SPREAD_MAX:
            raise refused("joins texts so often that a value could grow beyond all measure")

    def _modifier(self, modifier: Tree, tables: frozenset[str], depth: int) -> None:
        if modifier["type"] not in _MODIFIERS:
            raise refused(f"{_plain(modifier['type'])} is not allowed")
        self.group_wide = True
        for order in modifier.get("orders") or ():
            self.expression(order["expression"], tables, depth)
        for name in ("limit", "offset"):
            self.expression(modifier.get(name), tables, depth)
        for each in modifier.get("distinct_on_targets") or ():
            self.expression(each, tables, depth)

    def _table(self, table: Tree, tables: frozenset[str], depth: int) -> None:
        if table.get("sample"):
            raise refused("SAMPLE is not allowed: it depends on chance")
        match table["type"]:
            case "EMPTY":
                self.group_wide = True
            case "BASE_TABLE":
                self._base_table(table, tables)
            case "SUBQUERY":
                self.group_wide = True
                self.query(_node(table["subquery"]), tables, depth + 1)
            case "JOIN":
                self.group_wide = True
                self._table(table["left"], tables, depth)
                self._table(table["right"], tables, depth)
                self.expression(table.get("condition"), tables, depth)
            case other:
                raise refused(f"{_plain(other)} in FROM is not allowed: read from source")

    def _base_table(self, table: Tree, tables: frozenset[str]) -> None:
        name = table["table_name"].lower()
        path = (table.get("qualified_name") or {}).get("path", [name])
        if table["schema_name"] or table["catalog_name"] or len(path) != 1 or table.get("at_clause"):
            raise refused("only the table source can be read")
        if name not in {SOURCE, *tables}:
            raise refused(f"there is no table {table['table_name']!r}: only source can be read")
        self.reads_source |= name == SOURCE

    def expression(self, node: Tree | None, tables: frozenset[str], depth: int) -> None:
        if node is None:
            return
        kind = node["class"]
        if kind not in _EXPRESSIONS:
            raise refused(f"{_plain(kind)} is not allowed")
        match kind:
            case "COLUMN_REF":
                if len(node["column_names"]) == 1 and node["column_names"][0].lower() in _KEYWORDS:
                    raise refused(
                        f"{node['column_names'][0]} is not allowed: the clock and the session are out of reach"
                    )
            case "TYPE":
                self._type(node)
            case "SUBQUERY":
                self.group_wide = True
                self.query(_node(node["subquery"]), tables, depth + 1)
            case "STAR" if node.get("columns") or node.get("expr"):
                raise refused("COLUMNS(…) is not allowed: name the columns")
            case "FUNCTION":
                self._function(node)
            case "WINDOW":
                self._window(node)
            case _:
                pass
        before = self.growth
        self.growth *= self._grows(node)
        if self.growth > GROWTH_MAX:
            raise refused("replaces so much that a value could grow more than a thousandfold")
        for child in _children(node):
            self.expression(child, tables, depth)
        self.growth = before

    def _function(self, node: Tree) -> None:
        name = node["function_name"].lower()
        path = (node.get("qualified_name") or {}).get("path", [name])
        if node.get("schema") or node.get("catalog") or len(path) != 1:
            raise refused(f"the function {name} must be called by its plain name")
        if name in AGGREGATES:
            self.group_wide = self.aggregates = True
        elif name not in FUNCTIONS:
            raise refused(f"the function {name} is not allowed")
        if name in _JOINING:
            self.widest = max(self.widest, _count_columns(node))
        arguments = [each["expression"] for each in node["arguments"]]
        if name in {"lpad", "rpad"} and not (len(arguments) > 1 and _number(arguments[1]) <= PAD_LENGTH_MAX):
            raise refused(f"{name} must pad to a fixed length of at most {PAD_LENGTH_MAX}")
        if name in {"format", "printf"} and not (arguments and _is_short_format(arguments[0])):
            raise refused(f"{name} needs a fixed format without widths")

    def _window(self, node: Tree) -> None:
        self.group_wide = True
        name = node["function_name"].lower()
        if node.get("schema") or node.get("catalog") or name not in WINDOWS | AGGREGATES:
            raise refused(f"the function {name} is not allowed")

    def _grows(self, node: Tree) -> float:
        if node["class"] != "FUNCTION" or node["function_name"].lower() not in _GROWING:
            return 1
        searched, new = _GROWING[node["function_name"].lower()]
        arguments = [each["expression"] for each in node["arguments"]]
        if len(arguments) <= new or (text := _constant_text(arguments[new])) is None:
            raise refused(f"{node['function_name']} must replace by a fixed text")
        before = 1 if searched is None else len(_constant_text(arguments[searched]) or "x")
        return max(1.0, len(text) / max(before, 1))

    def _type(self, node: Tree) -> None:
        name = node["type_name"].lower()
        if node.get("schema") or node.get("catalog") or name not in _TYPES:
            raise refused(f"casting to {name} is not allowed")


def _grouped(node: Tree) -> bool:
    return node.get("aggregate_handling") not in {None, "STANDARD_HANDLING"} or node.get("having") is not None


def _node(wrapped: Tree) -> Tree:
    found: Tree = wrapped.get("node", wrapped)
    return found


def _children(node: Tree) -> Iterator[Tree]:
    """Expressions directly inside an expression, wherever the parser puts them."""
    for name, value in node.items():
        if name in {"subquery", "qualified_name", "literal", "value"}:
            continue
        yield from _inside(value)


def _inside(value: Any) -> Iterator[Tree]:
    if isinstance(value, dict):
        if "class" in value:
            yield value
        else:
            for each in value.values():
                yield from _inside(each)
    elif isinstance(value, list):
        for each in value:
            yield from _inside(each)


def _count_columns(node: Tree) -> int:
    own = 1 if node["class"] == "COLUMN_REF" else 0
    return own + sum(_count_columns(child) for child in _children(node))


def _constant_text(node: Tree) -> str | None:
    literal = node.get("literal")
    return str(literal.get("text", "")) if isinstance(literal, dict) and literal.get("kind") == "STRING" else None


def _number(node: Tree) -> float:
    literal = node.get("literal")
    if not isinstance(literal, dict) or literal.get("kind") != "INTEGER":
        return float("inf")
    return float(literal["text"])


def _is_short_format(node: Tree) -> bool:
    text = _constant_text(node)
    return text is not None and not any(letter.isdigit() or letter == "*" for letter in text)


def _plain(word: str) -> str:
    return word.replace("_NODE", "").replace("_", " ").lower()
