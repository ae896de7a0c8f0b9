"""python -m hack.demo up | down | status | meta [ITEM]"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable

import httpx

from hack.controlplane.binaries import BuildError
from hack.controlplane.cluster import ControlPlane, ControlPlaneError, KubectlError
from hack.controlplane.processes import ProcessError, recorded
from hack.controlplane.toolchain import ToolchainError
from hack.demo import closing, options, story, world
from hack.demo.meta import Meta
from hack.demo.options import Options
from hack.demo.telling import Telling
from hack.demo.world import DemoError, Places

NOT_RUNNING = 3  # what `systemctl status` answers
INTERRUPTED = 130  # what shells make of Ctrl-C
MEBIBYTE = 1 << 20
PROBLEMS = (
    DemoError,
    BuildError,
    ToolchainError,
    ProcessError,
    ControlPlaneError,
    KubectlError,
    httpx.HTTPError,
    subprocess.TimeoutExpired,
)


def up(chosen: Options, _given: argparse.Namespace) -> int:
    telling = Telling(sys.stdout, story.STEPS)
    with world.alone(chosen.directory, lambda: telling.text("Another start or end of this demo is at work; waiting.")):
        telling.text(f"Meta Catalog Operator: the demo, in {closing.shown(chosen.directory)}")
        if world.erase(chosen.directory):
            telling.text("An earlier demo was there. It is ended; this one begins with an empty world.")
        try:
            return story.play(chosen, telling)
        except PROBLEMS as problem:
            telling.text(f"\nThe demo failed: {problem}")
            code = 1
        except KeyboardInterrupt:
            telling.text("\nInterrupted.")
            code = INTERRUPTED
        telling.text(f"What runs stays up until `make down`; logs are in {closing.shown(chosen.directory)}.")
        return code


def down(chosen: Options, _given: argparse.Namespace) -> int:
    with world.alone(chosen.directory, lambda: print("demo: another start or end of it is at work; waiting")):
        print("demo: ended, and its files removed" if world.erase(chosen.directory) else "demo: nothing is there")
    return 0


def status(chosen: Options, _given: argparse.Namespace) -> int:
    places = Places(chosen.directory)
    running = recorded(places.directory) if places.directory.exists() else {}
    plane = ControlPlane.attach(places.control_plane) if places.control_plane.exists() else None
    for name, process in {**running, **(plane.running if plane is not None else {})}.items():
        size = f"{process.resident_bytes() // MEBIBYTE} MiB"
        print(f"  {name:<24} process {process.identity.pid:>7} {size:>9}  {closing.shown(process.log)}")
    for name, address in world.remembered(places).items():
        print(f"  {name:<24} {address}")
    if plane is not None:
        print(f"  {plane.shell_line}")
    if plane is None or set(world.ORDER_OF_ENDING) - running.keys():
        print("demo: not all of it runs; start it with `make demo`")
        return NOT_RUNNING
    return 0


def meta(chosen: Options, given: argparse.Namespace) -> int:
    """What the stand-in for Meta holds: the catalogs, or one item."""
    places = Places(chosen.directory)
    address = world.remembered(places).get(world.EMULATOR)
    if not address:
        raise DemoError("no demo runs; start it with `make demo`")
    asked = Meta(address)
    try:
        catalogs = asked.catalogs()
        found: list[object] = [{"id": name, **about} for name, about in catalogs.items()]
        if given.item is not None:
            found = [held[given.item] for held in map(asked.items, catalogs) if given.item in held]
    finally:
        asked.close()
    print(json.dumps(found, indent=1, ensure_ascii=False))
    return 0 if found else 1


COMMANDS: dict[str, tuple[Callable[[Options, argparse.Namespace], int], str]] = {
    "up": (up, "start it from nothing and tell the story; exit code 0 only if all is as promised"),
    "down": (down, "end it and remove its files"),
    "status": (status, f"what runs; exit code {NOT_RUNNING} if not all of it does"),
    "meta": (meta, "what the stand-in for Meta holds: catalogs, or the item with this id"),
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m hack.demo", description="The main job, end to end, on one machine."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, meaning) in COMMANDS.items():
        command = commands.add_parser(name, help=meaning, description=meaning)
        options.add_flags(command)
        if name == "meta":
            command.add_argument("item", nargs="?", help="id of an item")
    given = parser.parse_args()
    chosen = options.read(parser, given)
    try:
        return COMMANDS[given.command][0](chosen, given)
    except PROBLEMS as problem:
        print(f"demo: {problem}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
