"""The control plane's programs: from KUBEBUILDER_ASSETS, from our cache, or built into it.

The cache lies outside the repository, so that a second checkout builds nothing:

    ${XDG_CACHE_HOME:-~/.cache}/meta-catalog-operator/controlplane/<key>/{kube-apiserver,…}

The key is a digest of all that makes them: go.mod, go.sum, the packages and flags, the version of Go, the platform. A
directory with a key's name is complete: it is built under another name and renamed. One builder works at a time, others
wait for it and then find what it built.
"""

import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hack.controlplane import files, processes, toolchain
from hack.controlplane.progress import Progress
from hack.controlplane.toolchain import Toolchain

HERE = Path(__file__).parent
ASSETS_VARIABLE = "KUBEBUILDER_ASSETS"  # the name envtest of controller-runtime gave it

ETCD = "etcd"
API_SERVER = "kube-apiserver"
CONTROLLER_MANAGER = "kube-controller-manager"
KUBECTL = "kubectl"
# In the order in which they are built: the first takes two thirds of the time, the others share its work.
PACKAGES = {
    API_SERVER: "k8s.io/kubernetes/cmd/kube-apiserver",
    CONTROLLER_MANAGER: "k8s.io/kubernetes/cmd/kube-controller-manager",
    KUBECTL: "k8s.io/kubernetes/cmd/kubectl",
    ETCD: "go.etcd.io/etcd/server/v3",
}
# What the programs say of themselves, and in their user agents; without these it is v0.0.0.
VERSION_PACKAGES = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
FIRST_BUILD = "about 6 min, once"
KEY_CHARACTERS = 16
UNUSED_KEPT_DAYS = 30
SECONDS_PER_DAY = 86_400


class BuildError(Exception):
    """The programs are not there and cannot be made."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What makes the programs, apart from the tool chain."""

    go_mod: str
    go_sum: str

    @classmethod
    def read(cls, directory: Path = HERE) -> "Recipe":
        return cls(go_mod=(directory / "go.mod").read_text(), go_sum=(directory / "go.sum").read_text())

    @property
    def go_minimum(self) -> str:
        return _only(r"^go (\S+)$", self.go_mod)

    @property
    def kubernetes_version(self) -> str:
        """With its v."""
        return _only(r"\bk8s\.io/kubernetes (v\S+)", self.go_mod)

    @property
    def flags(self) -> tuple[str, ...]:
        version = self.kubernetes_version
        major, minor, _ = version.removeprefix("v").split(".", 2)
        named = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
        variables = " ".join(
            f"-X {package}.{name}={value}" for package in VERSION_PACKAGES for name, value in named.items()
        )
        return ("-trimpath", "-buildvcs=false", "-mod=readonly", f"-ldflags=-s -w {variables}")

    def key(self, go: Toolchain) -> str:
        parts = (
            self.go_mod,
            self.go_sum,
            *self.flags,
            *(f"{name}={package}" for name, package in PACKAGES.items()),
            *(f"{name}={value}" for name, value in toolchain.SETTINGS.items()),
            go.version,
            go.platform,
        )
        digest = hashlib.sha256()
        for part in parts:
            digest.update(f"{len(part)}:{part}".encode())  # its length too: no two lists of parts look the same
        return digest.hexdigest()[:KEY_CHARACTERS]


def _only(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        raise BuildError(f"{HERE / 'go.mod'} has no line like {pattern}")
    return found[1]


def cache_directory(environment: Mapping[str, str]) -> Path:
    base = environment.get("XDG_CACHE_HOME") or str(Path(environment.get("HOME") or Path.home(), ".cache"))
    return Path(base, "meta-catalog-operator", "controlplane")


@dataclass(frozen=True, slots=True)
class Binaries:
    """A directory with all of them."""

    directory: Path
    came_from: str

    def __getitem__(self, name: str) -> Path:
        return self.directory / name

    def missing(self) -> list[str]:
        return [name for name in PACKAGES if not os.access(self[name], os.X_OK)]


def ensure(environment: Mapping[str, str] = os.environ, *, progress: Progress | None = None) -> Binaries:
    """The programs, built if need be. Instantaneous when they are there."""
    assets = environment.get(ASSETS_VARIABLE)
    if assets:
        return provided(Path(assets))
    recipe = Recipe.read()
    go = toolchain.choose(recipe.go_minimum, path=environment.get("PATH"))
    cache = cache_directory(environment)
    directory = cache / recipe.key(go)
    if not directory.is_dir():
        Builder(recipe, go, cache, environment, progress or Progress(sys.stderr)).build()
    os.utime(directory)  # used now: see _drop_unused
    return Binaries(directory, came_from="the cache")


def provided(assets: Path) -> Binaries:
    binaries = Binaries(assets, came_from=ASSETS_VARIABLE)
    missing = binaries.missing()
    if missing:
        raise BuildError(
            f"{ASSETS_VARIABLE} is set to {assets}, which has no executable {' and no '.join(missing)}. Put the same "
            f"version of it there (the archives made for envtest come without kube-controller-manager), or unset "
            f"{ASSETS_VARIABLE} to have all of them built."
        )
    return binaries


@dataclass(frozen=True, slots=True)
class Builder:
    """Makes the directory of one key."""

    recipe: Recipe
    go: Toolchain
    cache: Path
    environment: Mapping[str, str]
    progress: Progress

    @property
    def result(self) -> Path:
        return self.cache / self.recipe.key(self.go)

    def build(self) -> None:
        with files.exclusive(self.cache / "lock", waiting=self._say_waiting):
            if self.result.is_dir():  # by the one we waited for
                return
            for left_behind in self.cache.glob(f"{files.UNFINISHED}*"):  # by builders that were killed
                shutil.rmtree(left_behind)
            with tempfile.TemporaryDirectory(dir=self.cache, prefix=files.UNFINISHED) as work:
                self._build_all(Path(work))
            self._drop_unused()

    def _say_waiting(self) -> None:
        self.progress.say("another process builds it now; waiting for that")

    def _build_all(self, work: Path) -> None:
        program = toolchain.install(self.go, cache=self.cache, progress=self.progress)
        built = work / "built"
        built.mkdir()
        for number, name in enumerate(PACKAGES, start=1):
            about = f"Kubernetes {self.recipe.kubernetes_version}, building {name} ({number} of {len(PACKAGES)}"
            self._build_one(program, name, work=work, output=built / name, about=f"{about}; {FIRST_BUILD})")
        built.rename(self.result)
        self.progress.say(f"Kubernetes {self.recipe.kubernetes_version} built in {self.progress.elapsed()}")

    def _build_one(self, program: Path, name: str, *, work: Path, output: Path, about: str) -> None:
        # A machine that has no Go of its own does not keep its caches either: they are ten times as big as the result.
        caches = work / "go" if self.go.installed_by_us else None
        deletable = ["-modcacherw"] if caches else []
        build = processes.start(
            name,
            [str(program), "build", *self.recipe.flags, *deletable, "-o", str(output), PACKAGES[name]],
            directory=work,
            working_directory=HERE,
            environment=toolchain.environment(self.environment, temporary=work, caches=caches),
            bound=True,
        )
        try:
            self.progress.follow(about, build.wait)
        finally:
            build.end(grace_seconds=0)
        if build.exit_code() != 0 or not output.exists():
            raise BuildError(
                f"go build of {name} failed with exit code {build.exit_code()}.\n{processes.tail(build.log)}"
            )

    def _drop_unused(self) -> None:
        """Remove what no checkout has used for long. By age of this build, so nothing depends on the clock."""
        newest = self.result.stat().st_mtime
        for other in self.cache.iterdir():
            is_result = re.fullmatch(f"[0-9a-f]{{{KEY_CHARACTERS}}}", other.name)
            if is_result and newest - other.stat().st_mtime > UNUSED_KEPT_DAYS * SECONDS_PER_DAY:
                shutil.rmtree(other)
