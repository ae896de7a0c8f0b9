"""A mapping written as one SELECT, run where it can reach nothing but the table `source`.

Two fences, each of which would do: only statements made of known parts pass (`sql_statement`), and the engine they run
in has no access to anything external, loads no extension, and has its configuration locked, its memory limited and its
time too.

Every value goes in and comes out as text. One thread keeps results the same from run to run.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import duckdb
import polars as pl

from controller.products.assembly import Again, Frames, conform
from controller.products.records import LINE
from controller.products.rules import RuleFinding
from controller.products.sql_statement import LINE_OUT, SOURCE, Statement, first_words, refused

MEMORY_BYTES_MAX = 1 << 30
BLOCK_SECONDS_MAX = 60
"""For one block of a row-local statement; a hundred times what a plain one takes."""
WHOLE_SECONDS_MAX = 1_200
"""For a statement over all rows."""


class Selected:
    """Rows of a source as a SELECT makes them."""

    def __init__(self, statement: Statement, available: Sequence[str]) -> None:
        self._statement = statement
        self._available = tuple(available)
        empty = pl.DataFrame(schema=dict.fromkeys(self._available, pl.String))
        self._columns = tuple(
            name for name in self._run([empty], BLOCK_SECONDS_MAX).columns if not name.startswith("_")
        )

    @property
    def row_local(self) -> bool:
        return self._statement.row_local

    @property
    def columns(self) -> Sequence[str]:
        return self._columns

    def frames(self, blocks: Frames, again: Again) -> Iterator[pl.DataFrame]:  # noqa: ARG002 - the protocol's signature
        if self._statement.row_local:
            for block in blocks:
                yield self._run([block], BLOCK_SECONDS_MAX)
        else:
            yield self._run(blocks, WHOLE_SECONDS_MAX)

    def findings(self) -> list[RuleFinding]:
        return []

    def _run(self, blocks: Iterable[pl.DataFrame], seconds_max: int) -> pl.DataFrame:
        names = (*self._available, LINE)
        tables = (_with_line(conform(block, self._available)).select(names) for block in blocks)
        found = run(self._statement.sql, tables, names, seconds_max)
        lines = pl.col(LINE_OUT) if self._statement.keeps_lines else pl.lit(None)
        return found.with_columns(lines.cast(pl.UInt64).alias(LINE)).drop(LINE_OUT, strict=False)


def run(
    sql: str,
    blocks: Iterable[pl.DataFrame],
    columns: Sequence[str],
    seconds_max: int,
    memory_bytes_max: int = MEMORY_BYTES_MAX,
) -> pl.DataFrame:
    """Fill the table `source` and run a statement on it, in an engine that reaches nothing else."""
    with _engine(seconds_max, memory_bytes_max) as engine:
        try:
            types = ("UBIGINT" if name == LINE else "VARCHAR" for name in columns)
            declared = ", ".join(f"{_quoted(name)} {kind}" for name, kind in zip(columns, types, strict=True))
            engine.execute(f"CREATE TABLE {SOURCE} ({declared})")
            for block in blocks:
                engine.register("block", _Arrow(block))
                engine.execute(f"INSERT INTO {SOURCE} SELECT * FROM block")  # noqa: S608 - a constant
                engine.unregister("block")
            return _texts(engine, sql)
        except duckdb.InterruptException:
            raise refused(f"takes longer than {seconds_max} s") from None
        except duckdb.OutOfMemoryException:
            raise refused(
                f"needs more than {memory_bytes_max >> 20} MiB of memory; a SELECT that looks at several rows at once "
                "holds the whole source: use a preset, or write one that looks at single rows"
            ) from None
        except duckdb.Error as error:
            raise refused(first_words(error)) from None


@dataclass(slots=True)
class _Arrow:
    """A frame by Arrow's C stream, which the engine reads without a further library."""

    frame: pl.DataFrame

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.frame.__arrow_c_stream__(requested_schema)


def _engine(seconds_max: int, memory_bytes_max: int) -> duckdb.DuckDBPyConnection:
    engine = duckdb.connect(
        ":memory:",
        config={
            "enable_external_access": "false",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "allow_unsigned_extensions": "false",
            "allow_persistent_secrets": "false",
            "python_enable_replacements": "false",
            "temp_directory": "",
            "memory_limit": f"{memory_bytes_max}B",
            "threads": "1",
            "max_execution_time": str(seconds_max * 1_000),
        },
    )
    engine.execute("SET TimeZone='UTC'")
    engine.execute("SET lock_configuration=true")
    return engine


def _texts(engine: duckdb.DuckDBPyConnection, sql: str) -> pl.DataFrame:
    """Run the statement; every column comes out as text."""
    described = engine.execute(f"DESCRIBE {sql}").fetchall()
    names = _unique([row[0] for row in described])
    aliases = ", ".join(_quoted(f"c{number}") for number in range(len(names)))
    casts = ", ".join(f'CAST("c{number}" AS VARCHAR)' for number in range(len(names)))
    whole = engine.sql(f"SELECT {casts} FROM ({sql}) AS mapped({aliases})")  # noqa: S608 - from the checked tree
    frame = pl.DataFrame(whole)
    return frame.rename(dict(zip(frame.columns, names, strict=True))).cast(pl.String)


def _unique(names: list[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        if name in found and not name.startswith("_"):
            raise refused(f"gives two columns the name {name!r}; name one of them otherwise with AS")
        found.append(name if name not in found else f"_{len(found)}")
    return found


def _with_line(block: pl.DataFrame) -> pl.DataFrame:
    return block if LINE in block.columns else block.with_columns(pl.lit(None, dtype=pl.UInt64).alias(LINE))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
