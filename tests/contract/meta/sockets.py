"""A server on a real socket that misbehaves on purpose, and counts what reaches it."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

READ_BYTES = 65_536
Behaviour = Callable[["Visit"], Awaitable[None]]


@dataclass
class Visit:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    received: bytearray = field(default_factory=bytearray)

    async def read_head(self) -> bytes:
        while b"\r\n\r\n" not in self.received:
            if not (piece := await self.reader.read(READ_BYTES)):
                return b""
            self.received += piece
        return bytes(self.received.split(b"\r\n\r\n", 1)[0])

    async def read_request(self) -> bool:
        """Read a whole request; False where the client ended before that."""
        head = await self.read_head()
        if not head:
            return False
        length = self.content_length()
        end = len(head) + 4 + length
        while len(self.received) < end:
            if not (piece := await self.reader.read(READ_BYTES)):
                return False
            self.received += piece
        return True

    def content_length(self) -> int:
        head = bytes(self.received.split(b"\r\n\r\n", 1)[0]).decode("latin-1")
        for line in head.split("\r\n"):
            name, _, value = line.partition(":")
            if name.lower() == "content-length":
                return int(value)
        return 0

    def body(self) -> bytes:
        return bytes(self.received.split(b"\r\n\r\n", 1)[1])

    async def answer(self, content: bytes, status: int = 200, *, announced: int | None = None, head: str = "") -> None:
        length = len(content) if announced is None else announced
        start = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{head}\r\n"
        self.writer.write(start.encode() + content)
        await self.writer.drain()

    def reset(self) -> None:
        """End the connection with RST instead of FIN."""
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@dataclass
class Server:
    endpoint: str
    visits: list[Visit] = field(default_factory=list)
    behaviour: Behaviour | None = None
    failures: list[BaseException] = field(default_factory=list)
    running: set[asyncio.Task[None]] = field(default_factory=set)

    async def settled(self) -> None:
        """Wait until every connection came to its end."""
        async with asyncio.timeout(10):
            while self.running:
                await asyncio.wait(self.running)


@asynccontextmanager
async def serving(behaviour: Behaviour) -> AsyncIterator[Server]:
    server = Server("", behaviour=behaviour)

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        server.running.add(task)
        one = Visit(reader, writer)
        server.visits.append(one)
        try:
            assert server.behaviour is not None
            await server.behaviour(one)
        except ConnectionError:
            pass
        except asyncio.CancelledError:
            pass
        finally:
            writer.close()
            server.running.discard(task)

    listener = await asyncio.start_server(visit, "127.0.0.1", 0)
    server.endpoint = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        for task in list(server.running):
            task.cancel()
        if server.running:
            await asyncio.wait(server.running)
        await listener.wait_closed()


def free_port() -> int:
    """Return a port that nothing listens on (any more)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
