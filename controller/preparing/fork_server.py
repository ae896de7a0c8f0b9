"""Starts steps from a process that has the data stack loaded: a fork takes milliseconds, the imports half a second.

    python -m controller prepare-server

Standard input is the socket to the operator. One message starts a step and carries three descriptors for it: standard
input, standard error, and the pipe for its news: its process id, once it leads a session of its own, and its exit
code. The other kind of message ends a step with its whole session. The end of the socket ends this process, and its
end ends the steps.

multiprocessing's fork server hands the operator's whole environment to what it starts, secrets included, runs the
operator's main module there, and outlives an operator that is killed.

Safe to fork: this process loads and does nothing else. Polars makes its threads at the first query, which is the
step's; what it makes at import cleans up spilled files, and nothing here spills.
"""

import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable, Sequence

from controller.preparing import lifetime

MESSAGE_BYTES_MAX = 65_536
DESCRIPTORS = 3
"""Standard input, standard error, news."""
EXIT_DEFECT = 3
EXIT_ORPHAN = 4
EXIT_USAGE = 2
Step = Callable[[Sequence[str]], int]
"""Runs in a process of its own. Takes the arguments, returns the exit code."""


class ForkServer:
    """Everything that runs, by the number that the operator gave it."""

    def __init__(self, connection: socket.socket, step: Step) -> None:
        self._connection = connection
        self._step = step
        self._pids: dict[int, int] = {}
        self._news: dict[int, int] = {}
        """Pipe of each process."""

    def serve(self) -> None:
        """Start and end steps until the operator closes the socket."""
        with contextlib.suppress(OSError):
            self._connection.send(b"ready")
        gc.collect()
        gc.freeze()  # what is loaded stays shared: a look for cycles would write to all of it
        woken, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, _nothing)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._connection, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in selector.select()}
                if woken in ready:
                    os.read(woken, MESSAGE_BYTES_MAX)
                    self._reap()
                if self._connection.fileno() in ready and not self._hear():
                    return

    def _hear(self) -> bool:
        """Take one message. False where the operator is gone."""
        try:
            content, descriptors, _, _ = socket.recv_fds(self._connection, MESSAGE_BYTES_MAX, DESCRIPTORS)
        except OSError:  # it was closed before everything was read
            return False
        if not content:
            return False
        message = json.loads(content)
        number = int(message["number"])
        if len(descriptors) == DESCRIPTORS:
            self._start(number, message["arguments"], descriptors)
        else:
            self._end(number)
        return True

    def _start(self, number: int, arguments: Sequence[str], descriptors: Sequence[int]) -> None:
        stdin, stderr, news = descriptors
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            for other in self._news.values():
                os.close(other)
            _as_step(self._step, arguments, (stdin, stderr, news), server)
        os.close(stdin)
        os.close(stderr)
        self._pids[number] = pid
        self._news[pid] = news

    def _end(self, number: int) -> None:
        """End a step. Only here is it known whether the process id is still its own."""
        pid = self._pids.get(number)
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)

    def _reap(self) -> None:
        while self._news:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            news = self._news.pop(pid)
            with contextlib.suppress(BrokenPipeError):
                os.write(news, b"code %d\n" % os.waitstatus_to_exitcode(status))
            os.close(news)
            self._pids = {number: each for number, each in self._pids.items() if each != pid}


def _as_step(step: Step, arguments: Sequence[str], descriptors: Sequence[int], server: int) -> None:
    """Become a step in a session of its own. Never returns: nothing of the server may run here."""
    code = EXIT_DEFECT
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        stdin, stderr, news = descriptors
        os.dup2(stdin, 0)  # in the place of the socket
        os.dup2(stderr, 2)
        os.setsid()
        if not lifetime.bind_to_parent(server):
            code = EXIT_ORPHAN
            return
        lifetime.go_first()
        os.write(news, b"pid %d\n" % os.getpid())
        for each in descriptors:
            os.close(each)
        code = step(arguments)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else EXIT_USAGE
    finally:
        sys.stderr.flush()
        os._exit(code)


def _nothing(*_: object) -> None:
    """Let the signal wake the selector."""


def main(load: Callable[[], Step]) -> int:
    """Bind this process to its starter, load what steps need, and start them. Standard input is the socket."""
    parent = os.environ.get(lifetime.PARENT_VARIABLE)
    if parent is not None and not lifetime.bind_to_parent(int(parent)):
        return EXIT_ORPHAN
    with socket.socket(fileno=os.dup(0)) as connection:
        ForkServer(connection, load()).serve()
    return 0
