"""The kinds of metacatalog.dev/v1alpha1."""

from controller.api.resource import Resource
from controller.api.v1alpha1.catalog import Catalog
from controller.api.v1alpha1.catalog_ledger import CatalogLedger
from controller.api.v1alpha1.catalog_shard import CatalogShard
from controller.api.v1alpha1.deletion_approval import DeletionApproval
from controller.api.v1alpha1.feed_schedule import FeedSchedule
from controller.api.v1alpha1.meta_connection import MetaConnection
from controller.api.v1alpha1.sync_operation import SyncOperation

KINDS: tuple[type[Resource], ...] = (
    MetaConnection,
    Catalog,
    CatalogShard,
    FeedSchedule,
    SyncOperation,
    DeletionApproval,
    CatalogLedger,
)
"""Every kind, in the order in which people meet them."""

__all__ = [
    "KINDS",
    "Catalog",
    "CatalogLedger",
    "CatalogShard",
    "DeletionApproval",
    "FeedSchedule",
    "MetaConnection",
    "SyncOperation",
]
