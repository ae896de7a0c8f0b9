"""Rows of a PostgreSQL database, as the CSV that the server itself writes.

The query runs once, in a read-only transaction with a time limit, as `COPY (query) TO STDOUT`: a stream of text in
which every value has the digits that the server shows. A connection that ends early, or a query that fails on the way,
is refused as a whole. The query is first prepared by itself, which the server does only for one complete statement;
only then it is put between the parentheses of COPY, out of which no complete statement can lead.

The connection string comes from a Secret and never leaves this module: neither do the library's own messages, unless
they are about the query. The host is resolved, checked like that of any source, and dialled at the checked address.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus

from controller.faults import Disposition, Fault
from controller.sources.addresses import Target, choose, refused
from controller.sources.requests import Resolve, resolve

PORT = 5432
CONNECT_SECONDS = 10
STATEMENT_SECONDS = 1_800
"""Longer than any sound export, shorter than a step may take."""
LOCK_SECONDS = 30
ALLOWED = frozenset(
    {"host", "port", "user", "password", "dbname", "sslmode", "sslrootcert", "channel_binding", "connect_timeout"}
    | {"application_name", "target_session_attrs", "client_encoding", "sslnegotiation", "require_auth"}
)
"""Parameters of a connection string that read no file and change no session. `sslrootcert` may only be `system`."""
_QUERY_ERRORS = ("42", "22", "21", "0A")
"""SQLSTATE classes whose message is about the query: syntax and names, values, cardinality, not supported."""


def rows(
    dsn: str, query: str, allowed_networks: Sequence[str], rows_max: int, *, resolver: Resolve = resolve
) -> Iterator[bytes]:
    """Yield the result as CSV with a header. Raises Fault; nothing of the connection string is in it."""
    conninfo = make_conninfo(**_arguments(dsn, allowed_networks, resolver))
    try:
        with psycopg.connect(conninfo) as connection:
            yield from _copied(connection, query, rows_max)
    except psycopg.Error as error:
        raise _fault(error) from None


def _copied(connection: "psycopg.Connection[tuple[object, ...]]", query: str, rows_max: int) -> Iterator[bytes]:
    text = query.encode()
    prepared = connection.pgconn.prepare(b"", text)
    if prepared.status != ExecStatus.COMMAND_OK:
        if connection.pgconn.status != ConnStatus.OK:
            raise _ended()
        said = prepared.error_field(DiagnosticField.MESSAGE_PRIMARY) or b"it is no statement"
        raise _query_fault(said.decode("utf-8", "replace"))
    count = -1  # the header
    with connection.cursor() as cursor, cursor.copy(b"COPY (\n" + text + b"\n) TO STDOUT (FORMAT csv, HEADER)") as copy:
        for piece in copy:
            count += 1
            if count > rows_max:
                raise Fault("SourceMalformed", Disposition.RETRY, f"the query returns more than {rows_max} rows")
            yield bytes(piece)


def _arguments(dsn: str, allowed_networks: Sequence[str], resolver: Resolve) -> dict[str, str]:
    """Take a connection string apart; refuse what could read a file, another session's settings, or the cluster."""
    try:
        given = {name: str(value) for name, value in conninfo_to_dict(dsn).items() if value is not None}
    except psycopg.Error:
        raise refused(
            "source.sql.dsnSecretRef: the connection string cannot be read; "
            "write postgresql://user:password@host:5432/database?sslmode=require, with %-escapes in the password"
        ) from None
    unknown = sorted(given.keys() - ALLOWED)
    if unknown:
        raise refused(f"source.sql.dsnSecretRef: the connection string may not set {', '.join(unknown)}; remove it")
    if given.get("sslrootcert", "system") != "system":
        raise refused("source.sql.dsnSecretRef: sslrootcert may only be system")
    where = _host(given)
    with contextlib.suppress(OSError):
        address = choose(where, resolver(where.host, where.port), allowed_networks)
        limits = {
            "default_transaction_read_only": "on",
            "statement_timeout": f"{STATEMENT_SECONDS}s",
            "lock_timeout": f"{LOCK_SECONDS}s",
            "datestyle": "ISO",
            "timezone": "UTC",
        }
        own: Mapping[str, str] = {
            "hostaddr": str(address),
            "connect_timeout": str(CONNECT_SECONDS),
            "client_encoding": "UTF8",
            "options": " ".join(f"-c {name}={value}" for name, value in limits.items()),
            # Nothing of the account that this process runs under.
            "passfile": "/dev/null",
            "gssencmode": "disable",
            # A server that vanished without a word is noticed in about a minute.
            "keepalives_idle": "30",
            "keepalives_interval": "10",
            "keepalives_count": "3",
            "application_name": given.get("application_name", "meta-catalog-operator"),
        }
        return {**given, **own}
    raise Fault("SourceUnreachable", Disposition.RETRY, "source.sql: the host of the database cannot be resolved")


def _host(given: Mapping[str, str]) -> Target:
    host = given.get("host", "")
    if not host or "/" in host or "," in host or host.startswith("@"):
        raise refused("source.sql.dsnSecretRef: the connection string must name exactly one host (no socket, no list)")
    try:
        port = int(given.get("port") or PORT)
    except ValueError:
        raise refused("source.sql.dsnSecretRef: the port must be one number") from None
    return Target("postgresql", host, port, "")


def _query_fault(detail: str) -> Fault:
    return Fault("SourceRefused", Disposition.STALLED, f"source.sql.query: the database answers: {detail}")


def _fault(error: psycopg.Error) -> Fault:
    """Classify what the server or the library says. Connection errors repeat parts of the connection string."""
    state = error.sqlstate or ""
    if state == "57014":
        message = f"source.sql.query: it took longer than {STATEMENT_SECONDS // 60} minutes and was ended"
        return Fault("SourceUnreachable", Disposition.RETRY, message)
    if state == "25006":
        return _query_fault("the transaction is read-only; the query may only read")
    if state.startswith(_QUERY_ERRORS):
        return _query_fault(error.diag.message_primary or state)
    text = str(error).lower()
    if state.startswith("28") or "authentication failed" in text or "no password supplied" in text:
        message = "source.sql.dsnSecretRef: the database does not accept this user and password"
        return Fault("SourceRefused", Disposition.STALLED, message)
    if state == "3D000" or ('database "' in text and "does not exist" in text):
        return Fault("SourceRefused", Disposition.STALLED, "source.sql.dsnSecretRef: there is no such database")
    return _ended(state)


def _ended(state: str = "") -> Fault:
    said = f"ended the read with SQLSTATE {state}" if state else "does not accept connections, or ended one early"
    return Fault("SourceUnreachable", Disposition.RETRY, f"source.sql: the database {said}")
