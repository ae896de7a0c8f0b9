"""The real process around an engine that only notes what it is asked to look at.

    python -m tests.integration.trivial_operator --beats FILE [flags of the operator]

Each reconcile is a log line with the object and whether it is there. As long as the lease is valid a time stamp goes to
the file every few milliseconds: what a sender would have been allowed to do.
"""

import asyncio
import logging
import os
import random
import sys
import time

from controller.operators.imports import refuse_data_stack

refuse_data_stack()

from controller.api.resource import ObjectKey  # noqa: E402 - after the refusal, as in the real program
from controller.clock import SystemClock  # noqa: E402
from controller.operators import flags, logs  # noqa: E402
from controller.operators.process import WATCHED, Composed, Parts, Process  # noqa: E402
from controller.operators.redaction import Redactor  # noqa: E402
from controller.reconcile.engine import Engine  # noqa: E402
from controller.reconcile.outcome import Outcome  # noqa: E402

LOG = logging.getLogger("trivial")
BEAT_SECONDS = 0.005
KINDS = {kind.KIND: kind for kind in WATCHED}


class _Context:
    """The part of the context that the engine itself looks at."""

    def __init__(self, parts: Parts) -> None:
        self.settings = parts.settings
        self.clock = parts.clock
        self.rng = parts.rng
        self.objects = parts.objects
        self.metrics = parts.metrics


async def _beat(parts: Parts, beats: int) -> None:
    while True:
        if parts.lease_valid():
            os.write(beats, f"{time.monotonic()}\n".encode())
        await asyncio.sleep(BEAT_SECONDS)


async def compose(parts: Parts, beats: int) -> Composed:
    async def reconcile(key: ObjectKey) -> Outcome:
        there = parts.objects.get(KINDS[key.kind], key) is not None
        LOG.info("reconciled", extra={"object": str(key), "there": there})
        return Outcome()

    engine = Engine(_Context(parts), reconcile, lambda _: ())  # type: ignore[arg-type] # the rest is never looked at
    beating: list[asyncio.Task[None]] = []

    async def start() -> None:
        beating.append(asyncio.create_task(_beat(parts, beats)))

    async def close() -> None:
        for task in beating:
            task.cancel()
        LOG.info("closed")

    return Composed(engine, start, close)


def main(arguments: list[str]) -> int:
    beats = os.open(arguments[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    invocation = flags.parse(arguments[2:])
    redactor = Redactor()
    logs.configure(invocation.settings.log_level, redactor)
    process = Process(invocation, lambda parts: compose(parts, beats), redactor, SystemClock(), random.Random())
    return asyncio.run(process.run())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
