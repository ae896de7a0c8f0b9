"""MetaConnection: read its Secrets, ask Meta about the token, say whether it can be used."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from controller.api.conditions import ConditionType
from controller.api.resource import ObjectKey
from controller.api.v1alpha1.catalog import Catalog
from controller.api.v1alpha1.meta_connection import MetaConnection
from controller.api.values import SecretKeyRef
from controller.faults import Disposition, Fault
from controller.planning.verdicts import Verdict, false, progress, retry_text, true, unknown
from controller.ports.meta import Credentials, Secret, TokenFacts
from controller.reconcile.connections import TOKEN_REASONS, Connection, Connections
from controller.reconcile.context import Context
from controller.reconcile.ledgers import Quotas
from controller.reconcile.lifecycle import hold, let_go
from controller.reconcile.outcome import Outcome
from controller.reconcile.reporting import report
from controller.scheduling.quota import QuotaLimit, limit_after_reserve

LOG = logging.getLogger(__name__)

REQUIRED_SCOPES = ("catalog_management",)
"""Meta: catalog integration guide, before you start."""
EXPIRY_WARNING = timedelta(days=7)


class MetaConnections:
    def __init__(
        self, context: Context, connections: Connections, wake_dependents: Callable[[ObjectKey], None]
    ) -> None:
        self._context = context
        self._wake_dependents = wake_dependents
        self._connections = connections
        self._facts: dict[ObjectKey, TokenFacts] = {}

    async def reconcile(self, key: ObjectKey) -> Outcome:
        resource = self._context.objects.get(MetaConnection, key)
        if resource is None:
            self._connections.remove(key)
            self._facts.pop(key, None)
            return Outcome()
        if resource.metadata.deleting:
            return await self._delete(resource)
        resource = await hold(self._context, resource)
        now = self._context.clock.now()
        again_at = now + self._context.settings.timing.secret_poll
        try:
            credentials = await self._credentials(resource)
            connection = await self._check(resource, credentials)
        except Fault as fault:
            LOG.warning("the connection can't be used", extra={"object": str(key), "reason": fault.reason})
            before = self._connections.find(key.namespace, key.name)
            self._connections.refuse(key, fault)
            if before is not None and before.fault is None:
                self._wake_dependents(key)
            await self._report(resource, fault, again_at)
            return Outcome(fault.retry_at or again_at)
        before = self._connections.find(key.namespace, key.name)
        self._connections.set(connection)
        await self._report(resource, None, again_at)
        if before is None or before.fault is not None or before.suspended != connection.suspended:
            self._wake_dependents(key)
        return Outcome(again_at)

    async def _delete(self, resource: MetaConnection) -> Outcome:
        """Kept while Catalogs refer to it: they need it for their own deletion."""
        dependents = [
            catalog.name
            for catalog in self._context.objects.all(Catalog, resource.namespace)
            if catalog.spec.connection_ref.name == resource.name
        ]
        if not dependents:
            await let_go(self._context, resource)
            return Outcome()
        names = ", ".join(dependents[:5])
        message = f"{len(dependents)} Catalogs still use it: {names}; delete them or change their connectionRef"
        verdicts = (false(ConditionType.READY, "DeletionBlocked", message), *progress(None, working=True))
        await report(self._context, resource, resource.status, verdicts)
        return Outcome(self._context.clock.now() + self._context.settings.timing.secret_poll)

    async def _credentials(self, resource: MetaConnection) -> Credentials:
        graph = resource.spec.graph
        token = await read_secret(
            self._context, resource.namespace, graph.token_secret_ref, "spec.graph.tokenSecretRef"
        )
        app_secret = None
        if graph.app_secret_ref is not None:
            path = "spec.graph.appSecretRef"
            app_secret = await read_secret(self._context, resource.namespace, graph.app_secret_ref, path)
        return Credentials(
            business_id=graph.business_id,
            token=token,
            version=graph.graph_version,
            app_secret=app_secret,
            timeout_seconds=resource.spec.timeout.total_seconds(),
        )

    async def _check(self, resource: MetaConnection, credentials: Credentials) -> Connection:
        """Ask Meta about the token, when it is new, suspect, or was last asked about long ago."""
        key, now = resource.key, self._context.clock.now()
        known = self._connections.find(key.namespace, key.name)
        same = known is not None and replace(known.credentials, app_id=None) == credentials
        recent = known is not None and now - known.checked_at < self._context.settings.timing.token_check
        if known is not None and same and recent and known.fault is None:
            return self._connection(resource, known.credentials, known.checked_at)
        try:
            asking = known.credentials if known is not None and same else credentials
            facts = await self._context.graphs.connect(asking).inspect_token()
        except Fault as fault:
            if known is not None and same and known.fault is None and fault.disposition is not Disposition.STALLED:
                LOG.info("the token could not be checked", extra={"object": str(key), "reason": fault.reason})
                return self._connection(resource, known.credentials, known.checked_at)
            raise
        self._facts[key] = facts
        _require_usable(facts)
        app_id = facts.app_id or f"business-{credentials.business_id}"
        return self._connection(resource, replace(credentials, app_id=app_id), now)

    def _connection(self, resource: MetaConnection, credentials: Credentials, checked_at: datetime) -> Connection:
        spec_quota = resource.spec.quota
        reserve = spec_quota.reserve_percent
        allowed = resource.spec.allowed_catalog_ids
        return Connection(
            key=resource.key,
            credentials=credentials,
            graph=self._context.graphs.connect(credentials),
            quotas=Quotas(
                app_id=credentials.app_id or "",
                batch=QuotaLimit(
                    limit_after_reserve(spec_quota.batch_calls_per_hour, reserve),
                    limit_after_reserve(spec_quota.batch_calls_per_minute, reserve),
                ),
                management=QuotaLimit(limit_after_reserve(spec_quota.management_calls_per_hour, reserve)),
            ),
            allowed_catalog_ids=None if allowed is None else frozenset(allowed),
            suspended=resource.spec.suspend,
            checked_at=checked_at,
        )

    async def _report(self, resource: MetaConnection, fault: Fault | None, again_at: datetime) -> None:
        facts = self._facts.get(resource.key)
        now = self._context.clock.now()
        update: dict[str, object] = {"effective": resource.spec.filled_in() or None}
        if facts is not None:
            update |= {
                "app_id": facts.app_id,
                "scopes": facts.scopes[:64],
                "expires_at": facts.expires_at,
                "data_access_expires_at": facts.data_access_expires_at,
                "token_valid": facts.valid,
            }
        if fault is not None and fault.reason in TOKEN_REASONS:
            update["token_valid"] = False
        status = resource.status.model_copy(update=update)
        verdicts = (_ready(fault, facts, now, again_at), *progress(fault))
        await report(self._context, resource, status, verdicts)


def _ready(fault: Fault | None, facts: TokenFacts | None, now: datetime, again_at: datetime) -> Verdict:
    if fault is not None:
        return false(ConditionType.READY, fault.reason, fault.message + "; it is looked at again every minute")
    if facts is None:
        return unknown(ConditionType.READY, "Progressing", "the token was not checked yet" + retry_text(now, again_at))
    if facts.expires_at is not None and facts.expires_at - now < EXPIRY_WARNING:
        day = facts.expires_at.strftime("%Y-%m-%d %H:%M UTC")
        return true(ConditionType.READY, "Available", f"the token expires at {day}: put a new one into its Secret")
    return true(ConditionType.READY, "Available", "Meta accepts the token")


def _require_usable(facts: TokenFacts) -> None:
    if not facts.valid:
        detail = f": {facts.message}" if facts.message else ""
        message = (
            f"Meta does not accept the token{detail}; put a working one into the Secret of spec.graph.tokenSecretRef"
        )
        raise Fault("TokenInvalid", Disposition.STALLED, message)
    missing = [scope for scope in REQUIRED_SCOPES if scope not in facts.scopes]
    if missing:
        message = f"the token lacks the permission {', '.join(missing)}; issue one that has it"
        raise Fault("PermissionDenied", Disposition.STALLED, message)


async def read_secret(context: Context, namespace: str, ref: SecretKeyRef, path: str) -> Secret:
    """Read one key of one Secret by name. Raises Fault that names the field of the spec."""
    found = await context.cluster.secret(namespace, ref.name)
    if found is None:
        message = f"{path}: there is no Secret {ref.name} in namespace {namespace}; make it"
        raise Fault("SecretMissing", Disposition.STALLED, message)
    if not found.labelled:
        message = f'{path}: Secret {ref.name} must carry the label metacatalog.dev/credential: "true" to be used'
        raise Fault("SecretNotLabelled", Disposition.STALLED, message)
    value = found.get(ref.key)
    if value is None:
        raise Fault("SecretMissing", Disposition.STALLED, f"{path}: Secret {ref.name} has no key {ref.key}; add it")
    return value
