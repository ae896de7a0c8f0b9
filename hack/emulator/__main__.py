"""python -m hack.emulator --port P [--seed N] [--state DIR] [--speed X]"""

import argparse
import asyncio
import os
import signal
import sqlite3
import sys
from pathlib import Path

from hack.emulator import jsons
from hack.emulator.app import Emulator
from hack.emulator.serve import Front, fetch_over_loopback, sped_up_clock
from hack.emulator.world import TEST_APP, TEST_APP_SECRET, TEST_BUSINESS, TEST_TOKEN


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m hack.emulator", description="A stand-in for Meta's Graph API.")
    parser.add_argument("--port", type=int, required=True, help="0 takes a free port")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--seed", type=int, default=0, help="everything random follows from it")
    parser.add_argument("--state", type=Path, help="directory that survives kill -9; without it all is in memory")
    parser.add_argument("--speed", type=float, default=1.0, help="emulated seconds in a real second")
    parser.add_argument(
        "--switch", action="append", default=[], metavar="NAME=VALUE", help="see GET /_emulator/switches"
    )
    return parser.parse_args()


def parse_switches(given: list[str]) -> jsons.Object:
    found: jsons.Object = {}
    for one in given:
        name, _, value = one.partition("=")
        try:
            found[name] = jsons.parse(value)
        except ValueError:
            found[name] = value
    return found


async def run(options: argparse.Namespace) -> None:
    emulator = Emulator(
        clock=sped_up_clock(options.speed),
        seed=options.seed,
        state=options.state,
        switches=parse_switches(options.switch),
        fetcher=fetch_over_loopback,
    )
    front = Front(emulator, host=options.host, port=options.port)
    await front.start()
    about: jsons.Object = {
        "url": front.url,
        "pid": os.getpid(),
        "token": TEST_TOKEN,
        "app_id": TEST_APP,
        "app_secret": TEST_APP_SECRET,
        "business": TEST_BUSINESS,
        "speed": options.speed,
    }
    print(jsons.dump_text(about), flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await front.stop()


def main() -> None:
    options = arguments()
    if options.speed <= 0:
        sys.exit("--speed must be above 0")
    try:
        asyncio.run(run(options))
    except (ValueError, OSError, sqlite3.OperationalError) as problem:
        sys.exit(f"the emulator can't start: {problem}")


if __name__ == "__main__":
    main()
