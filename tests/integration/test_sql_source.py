"""Rows out of a real PostgreSQL: every value as text, nothing written, nothing told, nothing read but rows."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from controller.faults import Disposition, Fault
from controller.ports.preparing import RefreshResult, SourceCredentials
from controller.preparing import entry, failures
from controller.sources import sql
from tests.integration.conftest import Database
from tests.unit.preparing.world import World, product, products

LOOPBACK = ("127.0.0.0/8",)
READER = "reader-s3cr3t"


@pytest.fixture(scope="module")
def shop(database: Database) -> Iterator[Database]:
    columns = ", ".join(f"{name} text" for name in product(1))
    database.run(
        f"CREATE TABLE products ({columns})",
        f"CREATE ROLE reader LOGIN PASSWORD '{READER}'",
        "GRANT SELECT ON products TO reader",
        "CREATE TABLE private (x text)",
    )
    with psycopg.connect(database.dsn(), autocommit=True) as connection:
        for row in products(50, title='Größe "x", 🙂\nsecond line'):
            marks = ", ".join(["%s"] * len(row))
            connection.execute(f"INSERT INTO products VALUES ({marks})".encode(), list(row.values()))  # noqa: S608 - marks
    yield database
    database.run("DROP TABLE products, private", "DROP ROLE reader")


def read(dsn: str, query: str, rows_max: int = 1_000, networks: tuple[str, ...] = LOOPBACK) -> bytes:
    return b"".join(sql.rows(dsn, query, networks, rows_max))


def refused(dsn: str, query: str = "SELECT 1", networks: tuple[str, ...] = LOOPBACK) -> Fault:
    with pytest.raises(Fault) as caught:
        read(dsn, query, networks=networks)
    assert "s3cr3t" not in str(caught.value)
    return caught.value


def test_the_rows_of_a_table_become_the_items_at_meta(shop: Database, tmp_path: Path) -> None:
    source = {"sql": {"dsnSecretRef": {"name": "shop", "key": "dsn"}, "query": "SELECT * FROM products ORDER BY id"}}
    world = World(tmp_path, source=source)
    credentials = SourceCredentials(dsn=shop.dsn("reader", READER))

    def refresh() -> RefreshResult:
        request = world.refresh_request(allowed_networks=LOOPBACK)
        result = failures.unless_failed(entry.run(request, credentials, durable=False))
        assert isinstance(result, RefreshResult)
        return result

    result = refresh()
    assert result.refused is None
    world.head = result.head
    world.send_full()
    assert world.meta.items == {row["id"]: row for row in products(50, title='Größe "x", 🙂\nsecond line')}
    assert result.head is not None
    assert (again := refresh().head) is not None
    assert again.digest == result.head.digest


def test_every_value_keeps_its_digits(shop: Database) -> None:
    query = """SELECT 1.10::numeric AS a, 12345678901234567890::numeric AS b, 0.1::float8 AS c, '007' AS d,
        NULL AS e, '' AS f, '{"x":1.0}'::jsonb AS g, ARRAY['p','q'] AS h, DATE '2026-01-02' AS i,
        TIMESTAMPTZ '2026-01-02 03:04:05+02' AS j, '%s %(x)s' AS k"""
    header, row = read(shop.dsn("reader", READER), query).decode().splitlines()
    assert header == "a,b,c,d,e,f,g,h,i,j,k"
    expected = '1.10,12345678901234567890,0.1,007,,"","{""x"": 1.0}","{p,q}",2026-01-02,2026-01-02 01:04:05+00,'
    assert row == expected + "%s %(x)s"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT * FROM nothing_here", 'relation "nothing_here" does not exist'),
        ("SELEC 1", "syntax error"),
        ("SELECT 1; DROP TABLE products", "multiple commands"),
        ("SELECT 1; SELECT 2", "multiple commands"),
        ("SELECT 1) TO PROGRAM 'id' --", "syntax error"),
        ("SELECT 1) TO '/tmp/x' --", "syntax error"),
        ("SELECT 1 /*", "comment"),
        ("COMMIT", "syntax error"),
        ("DELETE FROM products", "RETURNING"),
        ("SELECT * FROM private", "permission denied"),
        ("SELECT 1/0", "division by zero"),
    ],
)
def test_a_query_that_is_none_is_answered(shop: Database, query: str, said: str) -> None:
    fault = refused(shop.dsn("reader", READER), query)
    assert (fault.reason, fault.disposition) == ("SourceRefused", Disposition.STALLED)
    assert fault.message.startswith("source.sql.query: ")
    assert said in fault.message


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM products RETURNING id",
        "WITH gone AS (DELETE FROM products RETURNING id) SELECT * FROM gone",
        "SELECT set_config('transaction_read_only', 'off', false), id FROM (SELECT 1) x, products",
        "INSERT INTO private VALUES ('x') RETURNING x",
    ],
)
def test_not_even_the_owner_can_write(shop: Database, query: str) -> None:
    with pytest.raises(Fault):
        read(shop.dsn(), query)
    with psycopg.connect(shop.dsn()) as connection:
        assert connection.execute("SELECT count(*) FROM products").fetchone() == (50,)
        assert connection.execute("SELECT count(*) FROM private").fetchone() == (0,)


def test_rows_have_a_limit_and_comments_are_fine(shop: Database) -> None:
    dsn = shop.dsn("reader", READER)
    with pytest.raises(Fault, match="more than 49 rows"):
        read(dsn, "SELECT id FROM products", rows_max=49)
    assert read(dsn, "SELECT id FROM products -- all", rows_max=50).count(b"\n") == 51


def test_a_slow_query_is_ended(shop: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "STATEMENT_SECONDS", 1)
    fault = refused(shop.dsn("reader", READER), "SELECT pg_sleep(30)")
    assert "took longer" in fault.message
    assert fault.disposition is Disposition.RETRY


def test_who_may_not_come_in_is_told_without_secrets(shop: Database) -> None:
    assert "user and password" in refused(shop.dsn("reader", "wrong-s3cr3t")).message
    assert "user and password" in refused(shop.dsn("s3cr3t-user", "x")).message
    assert "no such database" in refused(shop.dsn("reader", READER, "missing")).message


@pytest.mark.parametrize(
    ("dsn", "said"),
    [
        ("postgresql://u:s3cr3t@127.0.0.1/db?passfile=/etc/passwd", "may not set passfile"),
        ("postgresql://u:s3cr3t@127.0.0.1/db?service=x", "may not set service"),
        ("postgresql://u:s3cr3t@127.0.0.1/db?options=-c%20x%3Dy", "may not set options"),
        ("postgresql://u:s3cr3t@127.0.0.1/db?sslrootcert=/etc/passwd", "sslrootcert"),
        ("host=127.0.0.1 hostaddr=10.0.0.1 user=u password=s3cr3t", "may not set hostaddr"),
        ("host=/var/run/postgresql user=u password=s3cr3t", "exactly one host"),
        ("postgresql://u:s3cr3t@a,b/db", "exactly one host"),
        ("postgresql:///db?user=s3cr3t", "exactly one host"),
        ("postgresql://u:s3cr3t%@h/db", "cannot be read"),
        ("s3cr3t", "cannot be read"),
        ("", "exactly one host"),
    ],
)
def test_connection_strings_that_lead_elsewhere_are_refused(dsn: str, said: str) -> None:
    fault = refused(dsn)
    assert (fault.reason, fault.disposition) == ("SourceRefused", Disposition.STALLED)
    assert said in fault.message


def test_the_address_rules_are_those_of_every_source(shop: Database) -> None:
    fault = refused(shop.dsn("reader", READER), networks=())
    assert "--allow-source-network" in fault.message
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])
    moving = shop.dsn("reader", READER).replace("127.0.0.1", "moving.example")
    found = b"".join(sql.rows(moving, "SELECT 1 AS a", LOOPBACK, 10, resolver=lambda host, port: next(answers)))
    assert found == b"a\n1\n"


def test_a_connection_that_breaks_is_no_end(shop: Database) -> None:
    """Everything passes through a relay that cuts the answer off."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_relay, args=(listener, shop.port, 40_000), daemon=True)
        thread.start()
        dsn = shop.dsn("reader", READER).replace(str(shop.port), str(listener.getsockname()[1]))
        fault = refused(dsn, "SELECT repeat('x', 1000) FROM generate_series(1, 900)")
        thread.join(10)
    assert (fault.reason, fault.disposition) == ("SourceUnreachable", Disposition.RETRY)


def _relay(listener: socket.socket, port: int, answer_bytes: int) -> None:
    client, _ = listener.accept()
    with client, socket.create_connection(("127.0.0.1", port)) as server:
        threading.Thread(target=_pump, args=(client, server), daemon=True).start()
        left = answer_bytes
        while left > 0 and (piece := server.recv(4_096)):
            client.sendall(piece)
            left -= len(piece)
        client.shutdown(socket.SHUT_RDWR)


def _pump(one: socket.socket, other: socket.socket) -> None:
    try:
        while piece := one.recv(4_096):
            other.sendall(piece)
    except OSError:
        return
