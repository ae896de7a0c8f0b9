"""kopf, for watching and waking only.

It runs with `on.event` handlers alone, so it writes nothing to objects: no finalizers, no annotations, no events. It
runs in a thread of its own, because at its end it cancels every task of its event loop that came after it, and ours
have to finish what is on its way to Meta. Its events are handed over in order.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import kopf

from controller.api import names
from controller.api.resource import Resource
from controller.kube.client import Access, load_access

LOG = logging.getLogger(__name__)

JOIN_SECONDS = 20.0
"""kopf gives its tasks 5 s to end, then cancels them."""

CLOSING_SECONDS = 0.25
"""aiohttp, graceful shutdown: encrypted connections need a moment after their session to be closed."""

Deliver = Callable[[type[Resource], str | None, Mapping[str, Any]], None]
"""(kind, type of the event or None when it comes from a LIST, object)"""


def settings() -> kopf.OperatorSettings:
    """What differs from kopf's defaults, and why."""
    made = kopf.OperatorSettings()
    made.peering.standalone = True  # the Lease decides who works
    made.posting.enabled = False  # our own recorder aggregates
    made.scanning.disabled = True  # neither CRDs nor namespaces are watched: no permission, no need
    made.watching.chunk_size = 500
    made.watching.server_timeout = 300  # besides bookmarks: no stream lives for ever behind a load balancer
    made.networking.request_timeout = 30
    made.networking.connect_timeout = 5
    made.process.ultimate_exiting_timeout = None  # it would kill the whole process; ends are the process's own
    # Never used without handlers that store something; set so that an accident would be recognised as ours.
    made.persistence.finalizer = names.FINALIZER
    made.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(
        prefix=names.GROUP, ignored_fields=["spec", "metadata"]
    )
    made.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=names.GROUP)
    return made


def registry(kinds: Sequence[type[Resource]], deliver: Deliver, kubeconfig: Path | None) -> kopf.OperatorRegistry:
    """One handler per kind, and our own login."""
    made = kopf.OperatorRegistry()
    for kind in kinds:
        _watch(made, kind, deliver)

    async def login(**_: Any) -> kopf.ConnectionInfo:
        # Asked again whenever the API server answers 401, so a rotated token is read from its file then.
        return connection_info(await load_access(kubeconfig))

    kopf.on.login(registry=made, id="access")(login)
    return made


def _watch(made: kopf.OperatorRegistry, kind: type[Resource], deliver: Deliver) -> None:
    async def handler(event: kopf.RawEvent, **_: Any) -> None:
        deliver(kind, event["type"], event["object"])

    kopf.on.event(kind.GROUP, kind.VERSION, kind.PLURAL, registry=made, id=kind.PLURAL)(handler)


def connection_info(access: Access) -> kopf.ConnectionInfo:
    return kopf.ConnectionInfo(
        server=access.server,
        ca_path=access.ca_path,
        certificate_path=access.certificate_path,
        private_key_path=access.private_key_path,
        token=access.token,
        insecure=not access.verified,
    )


class Watching:
    """Runs kopf beside the given loop until stopped; `ended` is set when it stops for whatever reason."""

    def __init__(
        self,
        kinds: Sequence[type[Resource]],
        deliver: Deliver,
        *,
        kubeconfig: Path | None,
        namespaces: tuple[str, ...] = (),
        options: kopf.OperatorSettings | None = None,
    ) -> None:
        self._options = options or settings()
        self._loop = asyncio.get_running_loop()
        self._deliver = deliver
        self._namespaces = namespaces
        self._registry = registry(kinds, self._hand_over, kubeconfig)
        self._stopping = False
        self._stop: asyncio.Event | None = None
        """Belongs to kopf's loop. (A threading.Event would leave a thread that waits for it, and no end.)"""
        self._kopf_loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)
        self.ended: asyncio.Future[BaseException | None] = self._loop.create_future()

    def start(self) -> None:
        self._thread.start()

    async def close(self) -> None:
        """Stop watching; nothing is delivered after that."""
        self._stopping = True
        if self._kopf_loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):  # its loop has ended already
                self._kopf_loop.call_soon_threadsafe(self._stop.set)
        await asyncio.to_thread(self._thread.join, JOIN_SECONDS)
        if self._thread.is_alive():
            LOG.warning("kopf did not end in time")

    def _hand_over(self, kind: type[Resource], change: str | None, wire: Mapping[str, Any]) -> None:
        self._loop.call_soon_threadsafe(self._pass_on, kind, change, wire)

    def _pass_on(self, kind: type[Resource], change: str | None, wire: Mapping[str, Any]) -> None:
        if not self._stopping:
            self._deliver(kind, change, wire)

    def _run(self) -> None:
        try:
            asyncio.run(self._operate())
        except BaseException as error:  # noqa: BLE001 - what is left to clean up can't end anything any more
            LOG.warning("kopf ended untidily", extra={"error": type(error).__name__})

    async def _operate(self) -> None:
        error: BaseException | None = None
        self._stop, self._kopf_loop = asyncio.Event(), asyncio.get_running_loop()
        if self._stopping:
            self._stop.set()
        try:
            await kopf.operator(
                registry=self._registry,
                settings=self._options,
                standalone=True,
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                stop_flag=self._stop,
            )
        except BaseException as caught:  # noqa: BLE001 - a dead watcher ends the process, whatever killed it
            error = caught
        finally:
            # Told at once: nothing that is still to be cleaned up here may hide that the watches are dead.
            with contextlib.suppress(RuntimeError):  # our own loop has ended already
                self._loop.call_soon_threadsafe(self._ended, error)
        await asyncio.sleep(CLOSING_SECONDS)

    def _ended(self, error: BaseException | None) -> None:
        if not self.ended.done():
            self.ended.set_result(error)
