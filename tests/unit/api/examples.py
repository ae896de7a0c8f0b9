"""One object of every kind, with as much in it as tests want to see kept."""

from copy import deepcopy
from typing import Any

from controller.api.resource import Resource
from controller.api.v1alpha1 import (
    Catalog,
    CatalogLedger,
    CatalogShard,
    DeletionApproval,
    DiagnosticReport,
    FeedSchedule,
    MetaConnection,
    SyncOperation,
)

ENTRY = {"name": "products", "source": {"http": {"url": "https://shop.example/products.csv"}}}
CATALOG: dict[str, Any] = {"connectionRef": {"name": "acme"}, "name": "ACME", "items": [ENTRY]}
CONDITION = {
    "type": "Ready",
    "status": "True",
    "reason": "Available",
    "message": "all is well",
    "observedGeneration": 3,
    "lastTransitionTime": "2026-11-22T12:00:00Z",
}
CONTENTS: dict[type[Resource], dict[str, Any]] = {
    MetaConnection: {
        "spec": {"graph": {"businessID": "1", "tokenSecretRef": {"name": "meta", "key": "token"}}},
        "status": {"observedGeneration": 1, "appID": "7", "expiresAt": "2027-01-01T00:00:00Z", "scopes": ["a"]},
    },
    Catalog: {
        "spec": {
            **CATALOG,
            "guards": {"gracePeriod": "0s", "maxDeletes": 5},
            "settings": {"defaultImageURL": "https://x"},
        },
        "status": {
            "observedGeneration": 3,
            "ownerUID": "u-1",
            "catalogID": "998877",
            "pendingCreate": {"nonce": "0123456789", "startedAt": "2026-11-22T12:00:00Z"},
            "effective": {"guards": {"maxDeletePercent": 5}},
            "layout": {"id": 1, "shards": 4, "recommendedShards": 4, "slotsHash": 1},
            "checks": [{"rule": "price-currency", "level": "Error", "count": 211, "sampleIDs": ["001"]}],
            "held": {
                "digest": "sha256:" + "a" * 64,
                "count": 3,
                "since": "2026-11-22T12:00:00Z",
                "sampleIDs": ["SKU-1"],
            },
            "conditions": [CONDITION],
        },
    },
    CatalogShard: {
        "spec": {
            "catalogRef": {"name": "germany"},
            "itemsName": "products",
            "partition": {"slots": {"from": 0, "to": 4095}},
            "feedID": "555001",
        },
        "status": {"observedGeneration": 1, "next": {"method": "UpdateFeed", "reason": "waits for quota"}},
    },
    FeedSchedule: {
        "spec": {
            "catalogRef": {"name": "germany"},
            "method": "ItemsBatch",
            "interval": "15m",
            "fields": ["price"],
            "quietHours": [{"days": ["Sat"], "from": "22:00", "to": "23:00"}],
        },
        "status": {"observedGeneration": 1, "lastScheduledAt": "2026-11-22T12:00:00Z"},
    },
    SyncOperation: {
        "spec": {
            "catalogRef": {"name": "germany"},
            "shards": ["germany-1-0"],
            "method": "ReplaceFeed",
            "cancel": False,
        },
        "status": {
            "observedGeneration": 1,
            "trigger": "Schedule",
            "phase": "Processing",
            "plan": {"create": 12, "sampleIDs": {"delete": ["SKU-1"]}},
            "batches": {"total": 22, "active": [{"handle": "h", "items": 3000}]},
            "outcome": {"errors": [{"code": "1", "message": "m", "count": 6, "sampleIDs": []}]},
        },
    },
    DeletionApproval: {
        "spec": {
            "catalogRef": {"name": "germany"},
            "digest": "sha256:" + "0" * 64,
            "approvedBy": "somebody",
            "expiresAt": "2030-01-01T00:00:00Z",
        },
        "status": {"observedGeneration": 1, "releasedItems": 60211},
    },
    DiagnosticReport: {
        "report": {
            "catalogRef": {"name": "germany"},
            "foundBy": "Checks",
            "issue": {"type": "price-format", "priority": "High", "title": "price must be a number"},
            "count": 2,
            "items": [{"id": "SKU-1", "since": "2026-11-22T11:00:00Z"}],
        }
    },
    CatalogLedger: {"ledger": {"epoch": 4}},
}


def wire(kind: type[Resource], **content: Any) -> dict[str, Any]:
    return {
        "apiVersion": kind.api_version(),
        "kind": kind.KIND,
        "metadata": {
            "name": "germany",
            "namespace": "shop",
            "uid": "u-1",
            "generation": 3,
            "resourceVersion": "77",
            "creationTimestamp": "2026-11-22T11:00:00Z",
            "finalizers": ["metacatalog.dev/external"],
            "labels": {"team": "shop"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "u-0", "controller": True}],
        },
        **deepcopy(content or CONTENTS[kind]),
    }
