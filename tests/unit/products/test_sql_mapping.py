# ruff: noqa: S608 - hostile statements are the subject
"""One SELECT over the source: what it may say, what it may never reach, and what it yields."""

import socket
from pathlib import Path

import polars as pl
import pytest

from controller.faults import Fault
from controller.products import sql_mapping, sql_statement
from controller.products.records import LINE
from controller.products.sql_mapping import Selected, run
from controller.products.sql_statement import analyse

ROWS = pl.DataFrame(
    {"sku": ["1", "2", "3"], "parent": ["A", "A", None], "price": ["1.50", "007", None], LINE: [2, 3, 4]},
    schema_overrides={LINE: pl.UInt64},
)
NAMES = ("sku", "parent", "price")


def selected(sql: str, *blocks: pl.DataFrame) -> pl.DataFrame:
    rows = Selected(analyse(sql), NAMES)
    given = blocks or (ROWS,)
    return pl.concat(list(rows.frames(given, lambda: given)))


def refusal(sql: str) -> str:
    with pytest.raises(Fault) as caught:
        analyse(sql)
    assert caught.value.reason == "MappingInvalid"
    assert caught.value.message.startswith("mapping.sql: ")
    return caught.value.message


def test_values_go_in_and_come_out_as_text() -> None:
    found = selected("SELECT sku AS id, price, price::DECIMAL(10,2) + 1 AS more, sku = '1' AS first_one FROM source")
    assert found.schema.dtypes() == [pl.String] * 4 + [pl.UInt64]
    assert found.get_column("price").to_list() == ["1.50", "007", None]
    assert found.get_column("more").to_list() == ["2.50", "8.00", None]
    assert found.get_column("first_one").to_list() == ["true", "false", "false"]


def test_rows_keep_their_lines_also_when_some_are_left_out() -> None:
    found = selected("SELECT * FROM source AS s WHERE price IS NOT NULL")
    assert found.select("sku", LINE).rows() == [("1", 2), ("2", 3)]
    windowed = selected("SELECT sku, count(*) OVER (PARTITION BY parent) AS n FROM source ORDER BY sku DESC")
    assert windowed.select("sku", "n", LINE).rows() == [("3", "1", 4), ("2", "2", 3), ("1", "2", 2)]
    grouped = selected(
        "SELECT parent, string_agg(sku, ',' ORDER BY sku) AS skus FROM source GROUP BY parent ORDER BY 1"
    )
    assert grouped.select("parent", "skus", LINE).rows() == [("A", "1,2", None), (None, "3", None)]


def test_a_group_wide_statement_sees_all_blocks() -> None:
    sql = "SELECT c.sku AS id, p.price FROM source c JOIN source p ON p.sku = c.parent"
    children = pl.DataFrame({"sku": ["x"], "parent": ["P"], "price": [None]}, schema=dict.fromkeys(NAMES, pl.String))
    parents = pl.DataFrame({"sku": ["P"], "parent": [None], "price": ["9"]}, schema=dict.fromkeys(NAMES, pl.String))
    assert selected(sql, children, parents).select("id", "price").rows() == [("x", "9")]


def test_columns_are_known_before_any_row() -> None:
    rows = Selected(analyse("SELECT *, 'EUR' AS currency FROM source"), NAMES)
    assert tuple(rows.columns) == (*NAMES, "currency")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT sku FROM source",
        "from source",
        "SELECT upper(sku) || '-' || coalesce(price, '0') AS id FROM source WHERE price <> ''",
        "SELECT CASE WHEN price::DOUBLE > 5 THEN 'a' ELSE 'b' END AS c FROM source",
        "SELECT * EXCLUDE (price), regexp_replace(price, '[^0-9.]', '') AS price FROM source",
        "SELECT TRY_CAST(price AS DECIMAL(10,2)) AS p, sku IN ('1', '2') AS q, sku LIKE 'a%' AS r FROM source;",
        "SELECT lpad(sku, 13, '0') AS gtin, replace(replace(sku, 'ä', 'ae'), 'ö', 'oe') AS s FROM source",
    ],
)
def test_what_looks_at_one_row_is_row_local(sql: str) -> None:
    assert analyse(sql).row_local


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM source",
        "SELECT max(price) FROM source GROUP BY parent",
        "SELECT sku FROM source GROUP BY ALL",
        "SELECT sku, row_number() OVER () FROM source",
        "SELECT DISTINCT sku FROM source",
        "SELECT DISTINCT ON (parent) sku FROM source",
        "SELECT sku FROM source ORDER BY sku",
        "SELECT sku FROM source LIMIT 5",
        "SELECT sku FROM source QUALIFY row_number() OVER (PARTITION BY parent) = 1",
        "SELECT a.sku FROM source a JOIN source b ON a.parent = b.sku",
        "SELECT a.sku FROM source a, source b",
        "SELECT sku, (SELECT max(price) FROM source) AS top FROM source",
        "SELECT sku FROM source WHERE parent IN (SELECT sku FROM source)",
        "SELECT sku FROM source UNION ALL SELECT parent FROM source",
        "WITH p AS (SELECT sku FROM source WHERE parent IS NULL) SELECT * FROM p",
        "SELECT * FROM (SELECT sku FROM source)",
    ],
)
def test_what_looks_at_several_rows_is_group_wide(sql: str) -> None:
    assert not analyse(sql).row_local


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/proc/self/environ')",
        "SELECT * FROM read_blob('/etc/shadow')",
        "SELECT * FROM read_parquet('s3://bucket/x')",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        'SELECT * FROM "/etc/passwd"',
        "SELECT * FROM 'https://shop.example/x.csv'",
        "SELECT * FROM source, read_csv('/etc/passwd')",
        "SELECT sku FROM source WHERE sku IN (SELECT content FROM read_text('/etc/passwd'))",
        "WITH a AS (WITH b AS (SELECT * FROM read_text('/etc/passwd')) SELECT * FROM b) SELECT * FROM a, source",
        "SELECT * FROM source JOIN (SELECT * FROM '/etc/passwd') ON true",
        "SELECT * FROM source UNION ALL SELECT * FROM glob('/*')",
        "SELECT * FROM source ORDER BY (SELECT content FROM read_text('/etc/passwd'))",
        "SELECT * FROM source LIMIT (SELECT count(*) FROM glob('/*'))",
        "SELECT string_agg(sku, ',' ORDER BY (SELECT 1 FROM glob('/*'))) FROM source",
        "SELECT count(*) FILTER (WHERE EXISTS (SELECT 1 FROM glob('/*'))) FROM source",
        "SELECT sum(1) OVER (ORDER BY (SELECT 1 FROM glob('/*'))) FROM source",
        "SELECT * REPLACE ((SELECT content FROM read_text('/etc/passwd')) AS sku) FROM source",
        "SELECT CASE WHEN sku = '1' THEN (SELECT content FROM read_text('/etc/passwd')) END FROM source",
        "SELECT * FROM duckdb_settings(), source",
        "SELECT * FROM duckdb_secrets(), source",
        "SELECT * FROM information_schema.tables, source",
        "SELECT * FROM pragma_database_list, source",
        "SELECT * FROM main.source",
        "SELECT * FROM memory.main.source",
        "SELECT * FROM sqlite_master",
        "SELECT getenv('HOME') FROM source",
        "SELECT current_setting('temp_directory') FROM source",
        "SELECT getvariable('x') FROM source",
        "SELECT which_secret('s3://x', 's3') FROM source",
        "SELECT nextval('s') FROM source",
        "SELECT now() FROM source",
        "SELECT today() FROM source",
        "SELECT current_date FROM source",
        "SELECT current_timestamp FROM source",
        "SELECT user FROM source",
        "SELECT random() FROM source",
        "SELECT uuid() FROM source",
        "SELECT gen_random_uuid() FROM source",
        "SELECT * FROM source TABLESAMPLE 10%",
        "SELECT * FROM source USING SAMPLE 5",
        "SELECT system.main.getenv('HOME') FROM source",
        "SELECT json_execute_serialized_sql('x') FROM source",
        "SELECT query('SELECT 1') FROM source",
        "SELECT * FROM query('SELECT 1'), source",
        "SELECT * FROM query_table('source')",
        "COPY source TO '/tmp/out.csv'",
        "COPY (SELECT * FROM source) TO '/tmp/out.csv'",
        "ATTACH '/tmp/x.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET memory_limit='99GB'",
        "PRAGMA version",
        "CREATE TABLE x AS SELECT * FROM source",
        "INSERT INTO source VALUES (1)",
        "DROP TABLE source",
        "EXPORT DATABASE '/tmp/x'",
        "CALL pragma_version()",
        "DESCRIBE source",
        "SHOW TABLES",
        "EXPLAIN ANALYZE SELECT * FROM source",
        "SELECT 1",
        "SELECT sku FROM source; SELECT 1",
        "SELECT sku FROM source; COPY source TO '/tmp/out.csv'",
        "SELECT ? FROM source",
        "SELECT $1 FROM source",
        "SELECT COLUMNS('.*') FROM source",
        "PIVOT source ON sku USING sum(price)",
        "SELECT * FROM (PIVOT source ON sku USING count(price))",
        "VALUES (1)",
        "SELECT list_transform([1], lambda x: x) FROM source",
        "SELECT sku::INET FROM source",
        "not SQL at all",
        "",
        "--",
    ],
)
def test_whatever_has_reach_is_refused(sql: str) -> None:
    refusal(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT n FROM r, source",
        "SELECT * FROM range(100000000000), source",
        "SELECT unnest(range(100000000)) FROM source",
        "SELECT repeat(sku, 3000000000) FROM source",
        "SELECT rpad(sku, 2000000000, 'x') FROM source",
        "SELECT rpad(sku, price::INTEGER, 'x') FROM source",
        "SELECT printf('%2000000000s', sku) FROM source",
        "SELECT format('{:>2000000000}', sku) FROM source",
        f"SELECT replace(replace(sku, '1', '{'x' * 500}'), 'x', '{'y' * 500}') FROM source",
        "SELECT replace(sku, '', sku) FROM source",
        "SELECT replace(sku, '1', price) FROM source",
        "WITH "
        + ", ".join(f"c{n} AS (SELECT sku || sku AS sku FROM {f'c{n - 1}' if n else 'source'})" for n in range(30))
        + " SELECT sku FROM c29",
        "SELECT " + " || ".join(["sku"] * 1_001) + " AS sku FROM source",
        "SELECT format('" + "{}" * 1_001 + "', " + ", ".join(["sku"] * 1_001) + ") AS sku FROM source",
        "SELECT array_to_string([" + ", ".join(["sku"] * 1_001) + "], '') AS sku FROM source",
        "SELECT * FROM " + "(SELECT * FROM " * 20 + "source" + ")" * 20,
    ],
)
def test_what_grows_beyond_measure_is_refused(sql: str) -> None:
    refusal(sql)


def engine_says(sql: str, seconds_max: int = 5, memory_bytes_max: int = 64 << 20) -> str:
    """Past the first fence: what the engine itself answers."""
    with pytest.raises(Fault) as caught:
        run(sql, [ROWS.select(*NAMES, LINE)], (*NAMES, LINE), seconds_max, memory_bytes_max)
    return caught.value.message


@pytest.mark.parametrize("function", ["read_csv", "read_text", "read_blob", "read_json", "glob", "parquet_scan"])
def test_the_engine_alone_reads_no_file(function: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("id\nhidden\n")
    assert "hidden" not in engine_says(f"SELECT * FROM {function}('{secret}')")
    assert "disabled" in engine_says(f"SELECT * FROM {function}('{secret}')").lower()


def test_the_engine_alone_reads_no_quoted_file_name(tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("id\nhidden\n")
    engine_says(f"SELECT * FROM '{secret}'")


def test_the_engine_alone_asks_no_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        engine_says(f"SELECT * FROM read_csv('http://127.0.0.1:{port}/x.csv')")
        with pytest.raises(TimeoutError):
            server.accept()


def test_the_engine_sees_no_variable_of_its_host() -> None:
    outside = pl.DataFrame({"a": ["hidden"]})
    assert "outside" in engine_says("SELECT * FROM outside")
    assert outside.height == 1


def test_the_engine_ends_what_takes_too_long() -> None:
    assert "takes longer than 1 s" in engine_says("SELECT count(*) FROM range(100000000000)", seconds_max=1)


def test_the_engine_limits_memory_and_writes_no_spill() -> None:
    said = engine_says("SELECT count(DISTINCT range) FROM range(50000000)", seconds_max=60, memory_bytes_max=32 << 20)
    assert "needs more than 32 MiB" in said


def test_an_error_names_the_value_and_no_secret() -> None:
    with pytest.raises(Fault) as caught:
        selected("SELECT CAST(sku || 'x' AS INTEGER) AS n FROM source")
    assert "1x" in caught.value.message
    assert caught.value.reason == "MappingInvalid"


def test_an_unknown_column_names_what_there_is() -> None:
    with pytest.raises(Fault) as caught:
        Selected(analyse("SELECT skuu FROM source"), NAMES)
    assert "skuu" in caught.value.message
    assert '"sku"' in caught.value.message


def test_two_columns_of_one_name_are_refused() -> None:
    with pytest.raises(Fault, match="two columns the name"):
        selected("SELECT sku AS id, price AS id FROM source")


def test_results_are_the_same_from_run_to_run() -> None:
    many = pl.DataFrame(
        {"sku": [str(n) for n in range(20_000)], "parent": [str(n % 7) for n in range(20_000)], "price": ["1"] * 20_000}
    )
    sql = "SELECT parent, first(sku) AS a, string_agg(sku, ',') AS b FROM source GROUP BY parent"
    assert selected(sql, many).equals(selected(sql, many))


def test_the_limits_are_those_that_are_promised() -> None:
    assert sql_mapping.BLOCK_SECONDS_MAX < sql_mapping.WHOLE_SECONDS_MAX
    assert not sql_statement.FUNCTIONS & {"repeat", "range", "generate_series", "random", "now", "getenv", "read_text"}
