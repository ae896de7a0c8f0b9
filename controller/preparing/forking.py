"""The operator's end of the fork server: one server for as long as the operator lives, started with the first step.

This module runs in the operator and imports nothing of the data stack.
"""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

STDERR_BYTES_MAX = 8_192
CLOSING_SECONDS_MAX = 5.0
LOADING_SECONDS_MAX = 120.0
"""Half a second usually; a minute on a machine without room."""
READY_BYTES_MAX = 64
"""The server's first message says that everything is loaded."""
_log = logging.getLogger(__name__)


class ServerGoneError(Exception):
    """No fork server lived long enough to take a step. The log has its last words."""


class Step:
    """A process that was started."""

    def __init__(self, end: Callable[[], None], news: asyncio.StreamReader, stderr: asyncio.StreamReader) -> None:
        self.end = end
        """Ends it with all of its session, unless it has ended."""
        self.pid: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        """Also the id of its session. None: it ended before it had one."""
        self.ended = asyncio.ensure_future(self._listen(news))
        """Exit code as subprocess has it: a negative one is a signal. None: the fork server ended, and it as well."""
        self.last_words = asyncio.ensure_future(_tail(stderr))

    async def _listen(self, news: asyncio.StreamReader) -> int | None:
        code = None
        async for line in news:
            name, _, number = line.decode().partition(" ")
            if name == "pid":
                self.pid.set_result(int(number))
            else:
                code = int(number)
        if not self.pid.done():
            self.pid.set_result(None)
        return code


@dataclass(frozen=True, slots=True)
class _Server:
    process: asyncio.subprocess.Process
    connection: socket.socket
    last_words: "asyncio.Future[str]"

    def send(self, message: Mapping[str, object], descriptors: Sequence[int] = ()) -> None:
        socket.send_fds(self.connection, [json.dumps(message).encode()], descriptors)


class ForkServer:
    """Starts steps. A server that ended is followed by a new one when the next step comes."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command = tuple(command)
        self._environment = dict(environment)
        self._server: _Server | None = None
        self._changing = asyncio.Lock()
        self._numbers = itertools.count(1)

    async def start(self, arguments: Sequence[str], stdin: bytes) -> Step:
        """Start a step. Raises ServerGoneError."""
        for _ in range(2):  # the first may have ended unnoticed
            server = await self._living()
            with contextlib.suppress(OSError):
                return await self._started(server, arguments, stdin)
            await self.close()
        raise ServerGoneError

    async def open(self) -> None:
        """Start the server now instead of with the first step. Raises ServerGoneError."""
        await self._living()

    async def close(self) -> None:
        """End the server and all that it started."""
        async with self._changing:
            server, self._server = self._server, None
            if server is not None:
                await _closed(server)

    async def _started(self, server: _Server, arguments: Sequence[str], stdin: bytes) -> Step:
        """Start a step. Once it is sent nothing waits here, so that nobody can be cancelled and forget it."""
        number = next(self._numbers)
        theirs = [_in_memory(stdin)]
        try:
            stderr, theirs[1:] = await _pipe()
            news, theirs[2:] = await _pipe()
            server.send({"number": number, "arguments": list(arguments)}, theirs)
        finally:
            for each in theirs:
                os.close(each)

        def end() -> None:
            with contextlib.suppress(OSError):
                server.send({"number": number})

        return Step(end, news, stderr)

    async def _living(self) -> _Server:
        async with self._changing:
            if self._server is not None and self._server.process.returncode is not None:
                await _closed(self._server)
                self._server = None
            if self._server is None:
                self._server = await self._new()
            return self._server

    async def _new(self) -> _Server:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, contextlib.ExitStack() as stack:
            stack.callback(ours.close)
            ours.setblocking(False)
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=theirs.fileno(),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env=self._environment,
                start_new_session=True,
            )
            stack.pop_all()
        assert process.stderr is not None
        server = _Server(process, ours, asyncio.ensure_future(_tail(process.stderr)))
        try:
            async with asyncio.timeout(LOADING_SECONDS_MAX):
                ready = await asyncio.get_running_loop().sock_recv(ours, READY_BYTES_MAX)
        except TimeoutError:
            ready = b""
        except BaseException:
            await _closed(server)
            raise
        if not ready:
            await _closed(server)
            raise ServerGoneError
        return server


async def _closed(server: _Server) -> None:
    """See a server to its end, which the end of its socket asks for."""
    server.connection.close()
    try:
        code = await asyncio.wait_for(server.process.wait(), CLOSING_SECONDS_MAX)
    except TimeoutError:
        server.process.kill()
        code = await server.process.wait()
    last_words = await server.last_words
    if code != 0:
        _log.error("the process that starts steps ended with %d: %s", code, last_words)


def _in_memory(content: bytes) -> int:
    """Return a descriptor of what may be secret. It stands in memory only."""
    descriptor = os.memfd_create("standard-input")
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


async def _pipe() -> tuple[asyncio.StreamReader, list[int]]:
    """Return the end that is read here, and the one to be given away."""
    reader, writer = os.pipe()
    stream = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(stream)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(reader, "rb", buffering=0))
    return stream, [writer]


async def _tail(stream: asyncio.StreamReader) -> str:
    """Read to the end, keep the last bytes."""
    kept = b""
    while piece := await stream.read(STDERR_BYTES_MAX):
        kept = (kept + piece)[-STDERR_BYTES_MAX:]
    return kept.decode("utf-8", errors="replace").strip()
