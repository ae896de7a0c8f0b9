"""The composition root: real clocks, clients, pools and registries are built here and nowhere else.

    python -m controller [run] [flags]              the operator
    python -m controller prepare REQUEST RESULT     one step of reading or encoding, in a process of its own
    python -m controller prepare-server             the process that the operator's steps are forked from

Operator and steps share nothing but this file, and each imports only its own half: the operator refuses the data stack
before it imports anything else, and a step starts without Kubernetes.
"""

import gc
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from controller.operators.process import Composed, Parts
    from controller.settings import Settings
    from controller.stores.local import LocalStore

EXIT_WRONG_FLAG = 2
GARBAGE_OBJECTS = 100_000
"""A step makes many objects that stay; looking through them for cycles after every 700 finds nothing."""
PREPARE = "prepare"
PREPARE_SERVER = "prepare-server"
NO_PLUGINS = "PYDANTIC_DISABLE_PLUGINS"
"""A step uses none, and looking for some means reading the description of every installed package."""
RUN = "run"


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] in ([PREPARE], [PREPARE_SERVER]):
        os.environ.setdefault(NO_PLUGINS, "1")
        gc.set_threshold(GARBAGE_OBJECTS)
        from controller.preparing import entry

        return entry.main(given[1:]) if given[0] == PREPARE else entry.serve()
    return _operate(given[1:] if given[:1] == [RUN] else given)


def _operate(arguments: Sequence[str]) -> int:
    from controller.operators.imports import refuse_data_stack

    refuse_data_stack()
    import asyncio
    import random

    from controller.clock import SystemClock
    from controller.faults import Fault
    from controller.operators import flags, logs
    from controller.operators.process import Process
    from controller.operators.redaction import Redactor

    try:
        invocation = flags.parse(arguments)
        _check_addresses(invocation.settings)
        redactor = Redactor()
        logs.configure(invocation.settings.log_level, redactor)
        process = Process(invocation, compose, redactor, SystemClock(), random.Random())
        return asyncio.run(process.run())
    except flags.WrongFlag as wrong:
        print(f"meta-catalog-operator: {wrong}", file=sys.stderr)  # noqa: T201 - before there is a log
        return EXIT_WRONG_FLAG
    except Fault as fault:
        print(f"meta-catalog-operator: {fault.message}", file=sys.stderr)  # noqa: T201 - for whoever started it
        return EXIT_WRONG_FLAG


def _check_addresses(settings: "Settings") -> None:
    """What the adapters would refuse later is refused now, by the name of its flag."""
    from controller.faults import Fault
    from controller.meta.client import check_endpoint
    from controller.operators.flags import WrongFlag
    from controller.stores.opening import open_store

    try:
        check_endpoint(settings.endpoint)
    except ValueError as error:
        raise WrongFlag(f"--endpoint: {error}") from None
    try:
        open_store(settings.store_url, settings.store_cache)
    except Fault as fault:
        raise WrongFlag(f"--store-url: {fault.message}") from None


def _tidy(store: "LocalStore") -> None:
    """Remove what killed steps left. Waits for the disk or the network."""
    if store.identity() is not None:
        store.remove_leftovers()


async def compose(parts: "Parts") -> "Composed":
    """Put the real adapters behind the ports, and the use cases on top."""
    import asyncio

    from controller.meta.client import HttpxGraphFactory
    from controller.operators.bounded import BoundedPreparing
    from controller.operators.process import Composed
    from controller.ports.preparing import SourceRoot
    from controller.preparing.child import ChildPreparing
    from controller.reconcile import wiring
    from controller.reconcile.context import Context
    from controller.scheduling.governor import LedgerGovernor
    from controller.sources.probe import SourceProbe
    from controller.stores.local import ThreadedStore
    from controller.stores.opening import open_store, step_environment

    settings = parts.settings
    store = open_store(settings.store_url, settings.store_cache)
    await asyncio.to_thread(_tidy, store)  # here no step of this process runs yet, and nobody else holds the lease
    governor = LedgerGovernor(parts.clock, parts.lease_valid)
    graphs = HttpxGraphFactory(settings.endpoint, governor, parts.clock)
    preparing = ChildPreparing(
        memory_bytes_max=settings.child_memory_bytes_max,
        deadline=settings.child_deadline,
        environment=step_environment(settings.store_url, settings.store_cache),
    )
    roots = [SourceRoot(name=name, directory=str(path)) for name, path in sorted(settings.source_roots.items())]
    context = Context(
        clock=parts.clock,
        rng=parts.rng,
        cluster=parts.cluster,
        graphs=graphs,
        preparing=BoundedPreparing(preparing, children_max=settings.children_max),
        store=ThreadedStore(store),
        probe=SourceProbe(
            allowed_networks=settings.allow_source_network,
            source_roots=roots,
            ambient_objects=settings.allow_ambient_object_credentials,
        ),
        governor=governor,
        objects=parts.objects,
        settings=settings,
        metrics=parts.metrics,
        incarnation=parts.incarnation,
    )
    try:
        operator = await wiring.build(context)
    except BaseException:
        await preparing.close()
        await graphs.close()
        raise

    async def close() -> None:
        try:
            await operator.close()
        finally:
            await preparing.close()
            await graphs.close()

    return Composed(operator.engine, lambda: wiring.start(operator), close)


if __name__ == "__main__":
    sys.exit(main())
