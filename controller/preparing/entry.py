"""Runs one step: the function behind the child process and behind a Job, and the program around it.

    python -m controller prepare REQUEST RESULT

REQUEST is a file with the request document, or `-` where the first line of standard input is the document. What
follows on standard input is the JSON of `SourceCredentials`, or nothing. RESULT is where the result document is put,
whole or not at all. Exit code 0: there is a result, which may say that the step failed. 2: the arguments or the
request make no sense. 3: a defect.
4: the process that started this one is gone. Anything else: the process was ended from outside.
"""

import argparse
import json
import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from controller.faults import Fault
from controller.ports.preparing import (
    AcknowledgeRequest,
    EncodeRequest,
    FailedStep,
    RebuildRequest,
    RefreshRequest,
    Request,
    Result,
    SentIDsRequest,
    SourceCredentials,
    VerifyRequest,
    read_request,
)
from controller.preparing import failures, fork_server, lifetime
from controller.preparing.context import Context, OpenHTTP, over_the_network
from controller.preparing.fork_server import EXIT_DEFECT, EXIT_ORPHAN, EXIT_USAGE
from controller.stores.opening import CACHE_VARIABLE, open_store

_log = logging.getLogger(__name__)


def run(
    request: Request,
    credentials: SourceCredentials | None = None,
    *,
    http: OpenHTTP = over_the_network,
    durable: bool = True,
) -> Result:
    """Run one step to its end. `http` and `durable` are for worlds that have no network or do not lose power."""
    cache = Path(os.environ.get(CACHE_VARIABLE, tempfile.gettempdir()))
    context = Context(open_store(request.store, cache, durable=durable), http)
    try:
        return _dispatch(request, credentials or SourceCredentials(), context)
    except Fault as fault:
        return failures.as_document(fault)


def _dispatch(request: Request, credentials: SourceCredentials, context: Context) -> Result:
    """Run the step; each loads only what it needs, because a short step is mostly loading."""
    if isinstance(request, RefreshRequest):
        from controller.preparing import refresh

        return refresh.refresh(request, credentials, context)
    if isinstance(request, EncodeRequest):
        from controller.preparing import encoding

        return encoding.run(request, context)
    from controller.preparing import acknowledging

    match request:
        case AcknowledgeRequest():
            return acknowledging.run(request, context)
        case VerifyRequest():
            return acknowledging.verify_sent(request, context)
        case SentIDsRequest():
            return acknowledging.list_sent(request, context)
        case RebuildRequest():
            return acknowledging.rebuild(request, context)


def main(argv: Sequence[str] | None = None) -> int:
    """Bind this process to its starter, then run the step that the arguments name."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    lifetime.go_first()
    parent = os.environ.get(lifetime.PARENT_VARIABLE)
    if parent is not None and not lifetime.bind_to_parent(int(parent)):
        return EXIT_ORPHAN
    return answer(argv, sys.stdin.buffer)


def serve() -> int:
    """Load what the common steps need, then fork a step for whoever asks on the socket that is standard input."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    return fork_server.main(_loaded)


def _loaded() -> fork_server.Step:
    from controller.preparing import acknowledging, encoding, refresh  # noqa: F401 - steps find them loaded

    def step(arguments: Sequence[str]) -> int:
        with open(0, "rb", closefd=False) as stdin:
            return answer(arguments, stdin)

    return step


def answer(argv: Sequence[str] | None, stdin: BinaryIO) -> int:
    """Read the documents, run the step, put the result."""
    parser = argparse.ArgumentParser(prog="prepare", description="Run one step of reading, encoding or acknowledging.")
    parser.add_argument("request", help="file with the request document, or - for the first line of standard input")
    parser.add_argument("result", type=Path, help="file for the result document")
    arguments = parser.parse_args(argv)
    try:
        request = _request(arguments.request, stdin)
        credentials = _credentials(stdin)
    except (OSError, ValidationError, ValueError) as error:
        # The text of a validation error repeats its input, which may be a secret.
        _log.error("the request cannot be read: %s", type(error).__name__)
        return EXIT_USAGE
    try:
        result = run(request, credentials)
    except MemoryError:
        result = FailedStep(reason="PreparingOutOfMemory", message="the step ran out of memory")
    except Exception as error:  # noqa: BLE001 - the last line of defence of this process
        _log.error("%s", _where(error))
        return EXIT_DEFECT
    _put(arguments.result, result.model_dump_json().encode())
    return 0


def _request(named: str, stdin: BinaryIO) -> Request:
    content = stdin.readline() if named == "-" else Path(named).read_bytes()
    return read_request(content)


def _credentials(stdin: BinaryIO) -> SourceCredentials:
    content = b"" if stdin.isatty() else stdin.read()
    return SourceCredentials.model_validate(json.loads(content)) if content.strip() else SourceCredentials()


def _where(error: Exception) -> str:
    """Kind and place of a defect. Its text stays out: it may quote rows or addresses."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return f"{type(error).__name__} at " + " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(frames))


def _put(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.rename(path)


if __name__ == "__main__":
    sys.exit(main())
