"""The usable connections of this process: credentials by MetaConnection, and whether they work.

Filled by the reconcile of MetaConnection; asked by everything that calls Meta. A 190 anywhere makes the connection
suspect at once, so that its Secret is read again and nobody keeps calling with a dead token.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from controller.api.resource import ObjectKey
from controller.api.v1alpha1.meta_connection import MetaConnection
from controller.faults import Disposition, Fault
from controller.ports.meta import Credentials, Graph
from controller.reconcile.ledgers import Quotas

TOKEN_REASONS = frozenset({"TokenExpired", "TokenInvalid"})


@dataclass(frozen=True, slots=True)
class Connection:
    key: ObjectKey
    credentials: Credentials
    graph: Graph
    quotas: Quotas
    allowed_catalog_ids: frozenset[str] | None
    suspended: bool
    checked_at: datetime
    fault: Fault | None = None
    """Why it can't be used now."""


class Connections:
    def __init__(self, wake: Callable[[ObjectKey], None]) -> None:
        self._known: dict[ObjectKey, Connection] = {}
        self._refused: dict[ObjectKey, Fault] = {}
        """Connections that could not be used since this process started, and why."""
        self._wake = wake

    def set(self, connection: Connection) -> None:
        self._known[connection.key] = connection
        self._refused.pop(connection.key, None)

    def refuse(self, key: ObjectKey, fault: Fault) -> None:
        """It can't be used now, whether or not it could before."""
        known = self._known.get(key)
        if known is not None:
            self._known[key] = replace(known, fault=fault)
        else:
            self._refused[key] = fault

    def remove(self, key: ObjectKey) -> None:
        self._known.pop(key, None)
        self._refused.pop(key, None)

    def find(self, namespace: str, name: str) -> Connection | None:
        return self._known.get(ObjectKey(MetaConnection.KIND, namespace, name))

    def usable(self, namespace: str, name: str, catalog_id: str | None = None) -> Connection:
        """Return the connection, or raise Fault DependencyNotReady that says what it waits for.

        Progressing: this process has not looked at it yet, which says nothing about it.
        """
        found = self.find(namespace, name)
        fault = found.fault if found is not None else self._refused.get(ObjectKey(MetaConnection.KIND, namespace, name))
        if fault is not None:
            message = f"MetaConnection {name} can't be used: {fault.message}; work goes on as soon as it can"
            raise Fault("DependencyNotReady", Disposition.RETRY, message)
        if found is None:
            message = f"spec.connectionRef: MetaConnection {name} was not looked at yet, or does not exist"
            raise Fault("Progressing", Disposition.RETRY, message)
        allowed = found.allowed_catalog_ids
        if catalog_id is not None and allowed is not None and catalog_id not in allowed:
            message = f"catalog {catalog_id} is not in spec.allowedCatalogIDs of MetaConnection {name}"
            raise Fault("PermissionDenied", Disposition.STALLED, message)
        return found

    def report(self, connection: Connection, fault: Fault) -> None:
        """Somebody's call failed: a token fault closes the connection until its Secret was read again."""
        if fault.reason not in TOKEN_REASONS:
            return
        current = self._known.get(connection.key)
        if current is None or current.credentials != connection.credentials:
            return
        self._known[connection.key] = replace(current, fault=fault)
        self._wake(connection.key)
