"""Writes go.mod and go.sum anew for one version of Kubernetes:

    python -m hack.controlplane.pin 1.36.3

`k8s.io/kubernetes` is not made to be required: its own go.mod points every staging module (`k8s.io/api` and some thirty
more) at a folder of its repository. Each of them is published too, under a version derived from the same release (0.M.P
for 1.M.P), so requiring it takes one `replace` line for each. etcd is pinned to the version that this Kubernetes itself
requires; an unpinned one is the newest, and raises a good part of the dependencies with it.

The results are committed, so this is needed for another version only. It wants a Go at least as new as the new version
demands on the path.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hack.controlplane.binaries import PACKAGES

HERE = Path(__file__).parent
MODULE = "hack/controlplane"
KUBERNETES = "k8s.io/kubernetes"
ETCD_CLIENT = "go.etcd.io/etcd/client/v3"


def go_mod(version: str, kubernetes_go_mod: str) -> str:
    """A go.mod that requires this version (1.M.P), given the go.mod of that version."""
    published = f"v0.{version.split('.', 1)[1]}"
    minimum = found(r"^go (\S+)$", kubernetes_go_mod)
    lines = (f"\t{name} => {name} {published}" for name in staging_modules(kubernetes_go_mod))
    return "\n".join(
        [
            f"module {MODULE}",
            "",
            f"go {minimum}",
            "",
            f"require {KUBERNETES} v{version}",
            "",
            "replace (",
            *lines,
            ")",
            "",
        ]
    )


def staging_modules(kubernetes_go_mod: str) -> list[str]:
    """The modules that it takes from its own folders."""
    return re.findall(r"^(?:replace)?\s+(\S+) => \./staging/", kubernetes_go_mod, re.MULTILINE)


def tools(kubernetes_go_mod: str) -> list[str]:
    """What to build, with etcd in the version that is required there."""
    etcd = found(rf"\b{re.escape(ETCD_CLIENT)} (v\S+)", kubernetes_go_mod)
    return [package if package.startswith(KUBERNETES) else f"{package}@{etcd}" for package in PACKAGES.values()]


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    if match is None:
        raise ValueError(f"The go.mod of Kubernetes has no line like {pattern}: it is laid out differently now.")
    return match[1]


def go(directory: Path, arguments: Sequence[str]) -> str:
    return subprocess.run(["go", *arguments], cwd=directory, check=True, stdout=subprocess.PIPE, text=True).stdout


def pin(version: str) -> None:
    with tempfile.TemporaryDirectory() as work:
        directory = Path(work)
        downloaded = json.loads(go(directory, ["mod", "download", "-json", f"{KUBERNETES}@v{version}"]))
        theirs = Path(downloaded["GoMod"]).read_text()
        (directory / "go.mod").write_text(go_mod(version, theirs))
        go(directory, ["get", "-tool", *tools(theirs)])
        go(directory, ["mod", "tidy"])
        for name in ("go.mod", "go.sum"):
            (HERE / name).write_text((directory / name).read_text())


def main(arguments: Sequence[str]) -> None:
    if len(arguments) != 1 or not re.fullmatch(r"1\.\d+\.\d+", arguments[0]):
        sys.exit("usage: python -m hack.controlplane.pin VERSION, for example 1.36.3")
    pin(arguments[0])


if __name__ == "__main__":
    main(sys.argv[1:])
