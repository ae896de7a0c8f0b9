"""A real S3-compatible server for tests: versitygw, built from its pinned Go module and started on loopback.

`ensure()` returns the program and builds it on first use (about 2 minutes, once), in the cache and with the tool chain
of `hack.controlplane`. `Server` runs one over a directory of its own; it ends with this process, however that ends.

    python -m hack.objectstore        builds it, and says where it is

go.mod and go.sum beside this file are all there is of Go: `go get -tool github.com/versity/versitygw/cmd/versitygw@…`
and `go mod tidy` write them anew for another version.
"""

import hashlib
import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hack.controlplane import binaries, files, processes, toolchain
from hack.controlplane.progress import Progress

HERE = Path(__file__).parent
PACKAGE = "github.com/versity/versitygw/cmd/versitygw"
NAME = "versitygw"
FLAGS = ("-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags=-s -w")
ABOUT = "building the S3 server of the tests (about 2 min, once)"
START_SECONDS = 30.0
POLL_SECONDS = 0.05
REGION = "us-east-1"
KEY_CHARACTERS = 16


def ensure(environment: Mapping[str, str] = os.environ, *, progress: Progress | None = None) -> Path:
    """The program, built if need be. Instantaneous when it is there."""
    go_mod, go_sum = (HERE / "go.mod").read_text(), (HERE / "go.sum").read_text()
    go = toolchain.choose(_minimum(go_mod), path=environment.get("PATH"))
    parts = (go_mod, go_sum, PACKAGE, *FLAGS, go.version, go.platform)
    digest = hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()
    cache = binaries.cache_directory(environment).with_name("objectstore")
    result = cache / digest[:KEY_CHARACTERS] / NAME
    if not result.exists():
        with files.exclusive(cache / "lock"):
            if not result.exists():
                _build(go, cache, result, environment, progress or Progress(sys.stderr))
    return result


def _minimum(go_mod: str) -> str:
    return next(line.split()[1] for line in go_mod.splitlines() if line.startswith("go "))


def _build(
    go: toolchain.Toolchain, cache: Path, result: Path, environment: Mapping[str, str], progress: Progress
) -> None:
    with tempfile.TemporaryDirectory(dir=cache, prefix=files.UNFINISHED) as work:
        program = toolchain.install(go, cache=binaries.cache_directory(environment), progress=progress)
        output = Path(work, "built", NAME)
        output.parent.mkdir()
        caches = Path(work, "go") if go.installed_by_us else None
        build = processes.start(
            NAME,
            [str(program), "build", *FLAGS, *(["-modcacherw"] if caches else []), "-o", str(output), PACKAGE],
            directory=Path(work),
            working_directory=HERE,
            environment=toolchain.environment(environment, temporary=Path(work), caches=caches),
            bound=True,
        )
        try:
            progress.follow(ABOUT, build.wait)
        finally:
            build.end(grace_seconds=0)
        if build.exit_code() != 0 or not output.exists():
            raise binaries.BuildError(f"go build of {NAME} failed.\n{processes.tail(build.log)}")
        output.parent.rename(result.parent)


@dataclass(frozen=True, slots=True)
class Server:
    """A running server and the keys of its only account."""

    url: str
    access_key: str
    secret_key: str
    directory: Path
    """Each directory in it is a bucket."""

    def make_bucket(self, name: str) -> None:
        (self.directory / name).mkdir()


@contextmanager
def serving(directory: Path) -> Iterator[Server]:
    """Run a server over an empty directory; it has ended when this is left."""
    program = ensure()
    buckets = directory / "buckets"
    buckets.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Server(f"http://127.0.0.1:{port}", "tester", "not-a-secret-key", buckets)
    keys = {"ROOT_ACCESS_KEY": server.access_key, "ROOT_SECRET_KEY": server.secret_key}
    process = processes.start(
        NAME,
        [str(program), "--quiet", "--port", f"127.0.0.1:{port}", "--region", REGION, "posix", str(buckets)],
        directory=directory,
        environment={**os.environ, **keys},
        bound=True,
    )
    try:
        _wait(process, port)
        yield server
    finally:
        process.end(grace_seconds=5)


def _wait(process: processes.Process, port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if process.wait(POLL_SECONDS) or time.monotonic() > deadline:
                raise processes.ProcessError(f"{NAME} does not listen.\n{processes.tail(process.log)}") from None
        else:
            return
