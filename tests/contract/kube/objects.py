"""Small valid objects for the contract."""

from controller.api.resource import ObjectKey, ObjectMeta, OwnerReference
from controller.api.v1alpha1 import CatalogLedger, DiagnosticReport, MetaConnection, SyncOperation
from controller.api.v1alpha1.catalog_ledger import LedgerContent
from controller.kube.transport import Json


def connection(namespace: str, name: str = "acme", **metadata: object) -> MetaConnection:
    return MetaConnection.from_wire(
        {
            "metadata": {"name": name, "namespace": namespace, **metadata},
            "spec": {"graph": {"businessID": "1", "tokenSecretRef": {"name": "meta", "key": "token"}}},
        }
    )


def operation(namespace: str, name: str = "run") -> SyncOperation:
    return SyncOperation.from_wire(
        {
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"catalogRef": {"name": "germany"}, "shards": ["germany-1-0"], "method": "ReplaceFeed"},
        }
    )


def ledger(namespace: str, epoch: int = 1) -> CatalogLedger:
    return CatalogLedger(metadata=ObjectMeta(name="catalog-1", namespace=namespace), ledger=LedgerContent(epoch=epoch))


def diagnostic(namespace: str, name: str, catalog: str) -> DiagnosticReport:
    return DiagnosticReport.from_wire(
        {
            "metadata": {"name": name, "namespace": namespace, "labels": {"metacatalog.dev/catalog": catalog}},
            "report": {
                "catalogRef": {"name": catalog},
                "foundBy": "Checks",
                "issue": {"type": "price-format", "priority": "High", "title": "price must be a number"},
                "count": 1,
                "items": [{"id": "SKU-1", "since": "2026-01-01T00:00:00Z"}],
            },
        }
    )


def key(namespace: str, name: str = "acme") -> ObjectKey:
    return ObjectKey("MetaConnection", namespace, name)


def owned_by(owner: MetaConnection) -> Json:
    reference = OwnerReference(
        api_version=owner.api_version(), kind=owner.KIND, name=owner.name, uid=owner.uid, controller=True
    )
    return reference.to_wire()


def condition(kind: str, status: str = "True", reason: str = "Available") -> Json:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": "as declared",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
