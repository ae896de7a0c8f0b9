"""What an exception of httpx means, in one table that a test holds complete.

Only one question matters: can a byte of the request have left? The trace of the connection answers it; where there is
none (a transport of another kind), the class of the exception does.
"""

from enum import StrEnum

import httpx

from controller.faults import Disposition, Fault
from controller.meta import errors
from controller.meta.protocol import Request, no_answer
from controller.ports.meta import Secret


class Stage(StrEnum):
    """Where the exchange broke."""

    BEFORE = "before"
    """There was no connection to send the request on, so nothing left."""
    DURING = "during"
    """The connection broke with the request on its way or carried out."""
    OURS = "ours"
    """We asked for something impossible; trying again does not help."""


STAGES: dict[type[httpx.RequestError], tuple[Stage, str]] = {
    httpx.ConnectError: (Stage.BEFORE, "cannot connect to Meta"),
    httpx.ConnectTimeout: (Stage.BEFORE, "connecting to Meta takes too long"),
    httpx.PoolTimeout: (Stage.BEFORE, "no connection became free in time"),
    httpx.ProxyError: (Stage.BEFORE, "the HTTP proxy refuses to connect to Meta"),
    httpx.ReadTimeout: (Stage.DURING, "Meta does not answer in time"),
    httpx.WriteTimeout: (Stage.DURING, "Meta does not take the request in time"),
    httpx.ReadError: (Stage.DURING, "the connection broke before the answer was complete"),
    httpx.WriteError: (Stage.DURING, "the connection broke while the request was sent"),
    httpx.CloseError: (Stage.DURING, "the connection broke while it was closed"),
    httpx.RemoteProtocolError: (Stage.DURING, "the connection ended without a valid answer"),
    httpx.DecodingError: (Stage.DURING, "the answer is compressed in a way that cannot be read"),
    httpx.UnsupportedProtocol: (Stage.OURS, "the endpoint is not an http or https address"),
    httpx.LocalProtocolError: (Stage.OURS, "the request breaks the rules of HTTP"),
    httpx.TooManyRedirects: (Stage.OURS, "the answer is a redirection, and none is followed"),
}

_TELLING = (httpx.ConnectError, httpx.ProxyError)
"""Exceptions whose text helps a person (name not found, certificate not valid) and holds nothing of the request."""


def fault_of(error: httpx.RequestError, request: Request, secrets: tuple[Secret, ...], *, left: bool) -> Fault:
    """Translate an exception. `left`: a byte of the request may have left this machine."""
    stage, text = _find(type(error))
    if isinstance(error, _TELLING) and str(error):
        text = f"{text} ({errors.clean(str(error), secrets)})"
    match stage:
        case Stage.BEFORE:
            return no_answer(request, text, left=False)
        case Stage.DURING:
            return no_answer(request, text, left=left)
        case Stage.OURS:
            disposition = Disposition.UNCERTAIN if request.write and left else Disposition.DEFECT
            message = errors.with_outcome(f"{request.title}: {text}", disposition)
            return Fault("ContractViolation", disposition, message)


def _find(kind: type[httpx.RequestError]) -> tuple[Stage, str]:
    """Take the most specific entry; a class that is not listed is treated like a broken connection."""
    for base in kind.__mro__:
        if base in STAGES:
            return STAGES[base]
    return Stage.DURING, "the connection failed"
