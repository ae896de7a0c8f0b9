"""`Preparing` within this process: for the simulation, whose time is virtual and whose rows are few."""

from controller.ports.preparing import Request, Result, SourceCredentials
from controller.preparing import entry, failures
from controller.preparing.context import OpenHTTP, over_the_network


class InlinePreparing:
    """Runs steps on the caller's thread. `http` may be a reader without a network."""

    def __init__(self, *, http: OpenHTTP = over_the_network, durable: bool = False) -> None:
        self._http = http
        self._durable = durable

    async def run(self, request: Request, credentials: SourceCredentials | None = None) -> Result:
        return failures.unless_failed(entry.run(request, credentials, http=self._http, durable=self._durable))
