"""python -m hack.controlplane build | up | down | status"""

import argparse
import sys
from pathlib import Path

from hack.controlplane import binaries, cluster
from hack.controlplane.binaries import BuildError, Recipe
from hack.controlplane.cluster import ControlPlane, ControlPlaneError
from hack.controlplane.processes import ProcessError
from hack.controlplane.progress import Progress
from hack.controlplane.toolchain import ToolchainError

REPOSITORY = Path(__file__).parents[2]
DIRECTORY = REPOSITORY / "build" / "controlplane"
NOT_RUNNING = 3  # what `systemctl status` answers
MEBIBYTE = 1 << 20


def build(_directory: Path) -> int:
    programs = binaries.ensure()
    print(
        f"control plane: Kubernetes {Recipe.read().kubernetes_version}, from {programs.came_from}: {programs.directory}"
    )
    return 0


def up(directory: Path) -> int:
    progress = Progress(sys.stderr)
    ran = ControlPlane.attach(directory) is not None
    plane = ControlPlane.start(directory, outlives=True)
    progress.say(f"runs already: {plane.url}" if ran else f"ready after {progress.elapsed()}: {plane.url}")
    print(plane.shell_line)
    return 0


def down(directory: Path) -> int:
    print("control plane: stopped; its data is kept" if cluster.stop(directory) else "control plane: nothing runs")
    return 0


def erase(directory: Path) -> int:
    cluster.erase(directory)
    print(f"control plane: stopped, and {directory} removed")
    return 0


def status(directory: Path) -> int:
    plane = ControlPlane.attach(directory)
    if plane is None:
        print(f"control plane: none is ready in {directory}")
        return NOT_RUNNING
    print(f"control plane: ready at {plane.url}")
    for name, process in plane.running.items():
        size = f"{process.resident_bytes() // MEBIBYTE} MiB"
        print(f"  {name:<24} process {process.identity.pid:>7} {size:>9}  {process.log}")
    print(f"  kubeconfigs: {plane.admin_kubeconfig} (administrator), {plane.operator_kubeconfig} (operator)")
    return 0


COMMANDS = {
    "build": (build, "make the programs if they are not there"),
    "up": (up, "start it, and let it run"),
    "down": (down, "end it; its data is kept"),
    "erase": (erase, "end it and remove its data"),
    "status": (status, f"what runs; exit code {NOT_RUNNING} if it is not ready"),
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m hack.controlplane", description="A real control plane as processes."
    )
    parser.add_argument("--directory", type=Path, default=DIRECTORY, help="where it lies (%(default)s)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, meaning) in COMMANDS.items():
        commands.add_parser(name, help=meaning)
    chosen = parser.parse_args()
    try:
        return COMMANDS[chosen.command][0](chosen.directory)
    except (BuildError, ToolchainError, ProcessError, ControlPlaneError) as problem:
        print(f"control plane: {problem}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
