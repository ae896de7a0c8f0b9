"""The two API servers that must behave alike: the real one and the one in memory, behind the same handles."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient
from typing_extensions import override

from controller.api.resource import ObjectKey, Resource
from controller.api.v1alpha1 import MetaConnection
from controller.clock import SystemClock
from controller.kube import paths
from controller.kube.client import AioTransport, load_configuration
from controller.kube.cluster import KubernetesCluster
from controller.kube.events import EventRecorder
from controller.kube.transport import ContentType, Json, Refused, Request, Transport
from hack.controlplane.cluster import ControlPlane
from tests.kubernetes_memory import Incarnation, MemoryApiServer, MemoryTransport

DEADLINE_SECONDS = 40.0
POLL_SECONDS = 0.1


class Stream(ABC):
    """A watch that is being read."""

    @abstractmethod
    async def next(self) -> tuple[str, Json] | None:
        """The next change, or None once the server has ended the stream. Raises Refused."""


class World(ABC):
    """One API server, one namespace in it, and who acts on it."""

    def __init__(self, namespace: str, person: Transport, transport: Transport) -> None:
        self.namespace = namespace
        self.person = person
        """What people send."""
        self.transport = transport
        """What the operator sends."""
        self.watched: dict[ObjectKey, Resource] = {}
        """What the operator has seen in its watches; filled by tests that need it."""

    def cluster(self, namespace: str | None = None) -> KubernetesCluster:
        """The operator's adapter; `namespace` is its own one."""
        own = namespace or self.namespace
        recorder = EventRecorder(self.transport, SystemClock(), namespace=own, instance="contract")
        return KubernetesCluster(
            self.transport, recorder, namespace=own, known=lambda _kind, key: self.watched.get(key)
        )

    async def patch(self, kind: type[Resource], name: str, patch: Json, *, status: bool = False) -> Json:
        """A person edits an object."""
        path = (paths.status if status else paths.item)(kind, self.namespace, name)
        query = (("fieldManager", "person"),)
        return await self.person.send(
            Request("PATCH", path, query=query, body=patch, content_type=ContentType.MERGE_PATCH)
        )

    async def remove(self, kind: type[Resource], name: str) -> None:
        """A person deletes an object."""
        await self.person.send(Request("DELETE", paths.item(kind, self.namespace, name)))

    async def version(self, kind: type[Resource]) -> int:
        """The version of a LIST of now."""
        answer = await self.person.send(Request("GET", paths.collection(kind, self.namespace)))
        return int(answer["metadata"]["resourceVersion"])

    async def eventually(self, holds: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not await holds():  # noqa: ASYNC110 - another process changes it
                await asyncio.sleep(POLL_SECONDS)

    @abstractmethod
    def watch(self, kind: type[Resource], since: int) -> Any:
        """An asynchronous context with a Stream."""

    @abstractmethod
    async def another_namespace(self) -> str:
        """A second namespace of this test."""

    @abstractmethod
    async def delete_namespace(self) -> None: ...

    @abstractmethod
    async def restart(self) -> None:
        """The API server dies and comes back; nothing that is stored is lost."""


class MemoryStream(Stream):
    def __init__(self) -> None:
        self.changes: asyncio.Queue[tuple[str, Json] | None] = asyncio.Queue()

    @override
    async def next(self) -> tuple[str, Json] | None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self.changes.get()


class MemoryWorld(World):
    def __init__(self, namespace: str) -> None:
        self.server = MemoryApiServer(SystemClock().now)
        self.server.create_namespace(namespace)
        person = MemoryTransport(self.server, Incarnation("person"))
        super().__init__(namespace, person, MemoryTransport(self.server, Incarnation("operator")))

    @override
    @asynccontextmanager
    async def watch(self, kind: type[Resource], since: int) -> AsyncIterator[Stream]:
        stream = MemoryStream()
        watch = self.server.watch(
            kind,
            since,
            lambda change, wire: stream.changes.put_nowait((change, wire)),
            lambda: stream.changes.put_nowait(None),
        )
        yield stream
        watch.close()

    @override
    async def another_namespace(self) -> str:
        self.server.create_namespace("home")
        return "home"

    @override
    async def delete_namespace(self) -> None:
        self.server.delete_namespace(self.namespace)

    @override
    async def restart(self) -> None:
        self.server.restart()


class RealStream(Stream):
    def __init__(self, lines: aiohttp.StreamReader) -> None:
        self._lines = lines

    @override
    async def next(self) -> tuple[str, Json] | None:
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                line = await self._lines.readline()
        except (aiohttp.ClientError, ConnectionError):
            return None
        if not line:
            return None
        change = json.loads(line)
        if change["type"] == "ERROR":
            status = change["object"]
            raise Refused(status["code"], status["reason"], status["message"])
        return change["type"], change["object"]


class RealWorld(World):
    def __init__(self, namespace: str, control_plane: ControlPlane, api: ApiClient, transport: AioTransport) -> None:
        super().__init__(namespace, transport, transport)
        self._control_plane = control_plane
        self._api = api

    @staticmethod
    @asynccontextmanager
    async def enter(namespace: str, control_plane: ControlPlane) -> AsyncIterator["RealWorld"]:
        configuration = await load_configuration(control_plane.admin_kubeconfig)
        plain = await load_configuration(control_plane.admin_kubeconfig)
        plain.trace_configs = None
        async with AioTransport(configuration) as transport, ApiClient(plain) as api:
            world = RealWorld(namespace, control_plane, api, transport)
            await world.eventually(world._initialised)
            yield world

    @override
    @asynccontextmanager
    async def watch(self, kind: type[Resource], since: int) -> AsyncIterator[Stream]:
        path = paths.collection(kind, self.namespace)
        url = f"{self._api.configuration.host}{path}?watch=1&resourceVersion={since}"
        timeout = aiohttp.ClientTimeout(total=None)
        answer = await self._api.call_api("GET", url, header_params={}, _request_timeout=timeout)
        response = answer.response
        if response.status != 200:
            status = await response.json()
            raise Refused(response.status, status["reason"], status["message"])
        try:
            yield RealStream(response.content)
        finally:
            response.close()

    @override
    async def another_namespace(self) -> str:
        name = f"{self.namespace}-home"
        await asyncio.to_thread(self._control_plane.kubectl, "create", "namespace", name)
        return name

    @override
    async def delete_namespace(self) -> None:
        await asyncio.to_thread(self._control_plane.kubectl, "delete", "namespace", self.namespace, "--wait=false")

    @override
    async def restart(self) -> None:
        await asyncio.to_thread(self._control_plane.restart_api_server)
        await self.eventually(self._initialised)

    async def _initialised(self) -> bool:
        """A server that just started answers 429 to a kind whose cache it fills, and 403 before it knows the roles."""
        try:
            async with self.watch(MetaConnection, await self.version(MetaConnection)):
                return True
        except Refused as refused:
            if refused.status not in (403, 429):
                raise
            return False
