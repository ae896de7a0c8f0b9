"""The emulator's one SQLite database, in memory or in a directory that survives kill -9.

One connection, one writer. A request's changes are one transaction that is committed before its answer leaves. With a
directory the journal is a write-ahead log without fsync: what the process has committed survives its death (the page
cache is the kernel's), which is what is promised; power loss is not.
"""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from hack.emulator import jsons

SCHEMA_VERSION = 1
LOCKED_SECONDS = 1.0  # a directory belongs to one process; another one is told so soon
SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS node (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, doc TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS layout (id INTEGER PRIMARY KEY, columns TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS item (
  n INTEGER PRIMARY KEY, catalog INTEGER NOT NULL, rid TEXT NOT NULL, owner INTEGER NOT NULL,
  layout INTEGER NOT NULL, row TEXT NOT NULL, created REAL NOT NULL, changed REAL NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS item_rid ON item (catalog, rid);
CREATE INDEX IF NOT EXISTS item_owner ON item (catalog, owner);
CREATE TABLE IF NOT EXISTS override (
  n INTEGER NOT NULL, type TEXT NOT NULL, key TEXT NOT NULL, layout INTEGER NOT NULL, row TEXT NOT NULL,
  PRIMARY KEY (n, type, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS former (
  catalog INTEGER NOT NULL, rid TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (catalog, rid)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS effect (
  id INTEGER PRIMARY KEY, at REAL NOT NULL, late REAL NOT NULL, session INTEGER NOT NULL, kind TEXT NOT NULL,
  judged INTEGER NOT NULL, packed BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS effect_at ON effect (at, id);
CREATE TABLE IF NOT EXISTS keyset (session INTEGER PRIMARY KEY, hashes BLOB NOT NULL, duplicates BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS row_error (
  session INTEGER NOT NULL, at REAL NOT NULL, line INTEGER NOT NULL, rid TEXT NOT NULL, severity TEXT NOT NULL,
  type TEXT NOT NULL, field TEXT NOT NULL, summary TEXT NOT NULL, message TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS row_error_session ON row_error (session, severity, type, field);
CREATE TABLE IF NOT EXISTS log (kind TEXT NOT NULL, id INTEGER NOT NULL, doc TEXT NOT NULL, keys BLOB,
  PRIMARY KEY (kind, id));
"""


class Store:
    """`durable` says whether objects that also live in memory have to be written."""

    def __init__(self, state: Path | None) -> None:
        self.durable = state is not None
        if state is None:
            self.db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        else:
            state.mkdir(parents=True, exist_ok=True)
            self.db = sqlite3.connect(
                state / "emulator.sqlite", isolation_level=None, check_same_thread=False, timeout=LOCKED_SECONDS
            )
            self.db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = OFF")
        self.db.execute("PRAGMA cache_size = -65536")
        self.db.executescript(SCHEMA)
        self._check_version(state)
        self._open = False

    def _check_version(self, state: Path | None) -> None:
        found = self.meta("schema")
        if found is None:
            self.set_meta("schema", SCHEMA_VERSION)
        elif found != SCHEMA_VERSION:
            raise ValueError(
                f"{state} was written by another version of the emulator ({found}); use an empty directory"
            )

    def begin(self) -> None:
        if not self._open:
            self.db.execute("BEGIN")
            self._open = True

    def commit(self) -> None:
        if self._open:
            self.db.execute("COMMIT")
            self._open = False

    def close(self) -> None:
        self.commit()
        self.db.close()

    def meta(self, name: str) -> jsons.Json:
        row = self.db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else jsons.parse(row[0])

    def set_meta(self, name: str, value: jsons.Json) -> None:
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, jsons.dump_text(value)))

    def put_node(self, id: int, kind: str, doc: jsons.Object) -> None:  # noqa: A002
        if self.durable:
            self.db.execute("INSERT OR REPLACE INTO node VALUES (?, ?, ?)", (id, kind, jsons.dump_text(doc)))

    def drop_node(self, id: int) -> None:  # noqa: A002
        if self.durable:
            self.db.execute("DELETE FROM node WHERE id = ?", (id,))

    def nodes(self) -> Iterable[tuple[str, jsons.Object]]:
        for kind, doc in self.db.execute("SELECT kind, doc FROM node ORDER BY id").fetchall():
            yield kind, jsons.as_object(jsons.parse(doc))

    def put_log(self, kind: str, id: int, doc: jsons.Object, keys: bytes | None = None) -> None:  # noqa: A002
        if self.durable:
            self.db.execute("INSERT OR REPLACE INTO log VALUES (?, ?, ?, ?)", (kind, id, jsons.dump_text(doc), keys))

    def logged(self, kind: str) -> Iterable[tuple[jsons.Object, bytes]]:
        rows = self.db.execute("SELECT doc, keys FROM log WHERE kind = ? ORDER BY id", (kind,)).fetchall()
        for doc, keys in rows:
            yield jsons.as_object(jsons.parse(doc)), keys or b""
