"""The kinds of metacatalog.dev/v1alpha1.

They are loaded when they are asked for: a step that needs one model does not build all of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from controller.api.resource import Resource
    from controller.api.v1alpha1.catalog import Catalog
    from controller.api.v1alpha1.catalog_ledger import CatalogLedger
    from controller.api.v1alpha1.catalog_shard import CatalogShard
    from controller.api.v1alpha1.deletion_approval import DeletionApproval
    from controller.api.v1alpha1.diagnostic_report import DiagnosticReport
    from controller.api.v1alpha1.feed_schedule import FeedSchedule
    from controller.api.v1alpha1.meta_connection import MetaConnection
    from controller.api.v1alpha1.sync_operation import SyncOperation

    KINDS: tuple[type[Resource], ...]

    RECORDS: tuple[type[Resource], ...]

_MODULES = {
    "MetaConnection": "meta_connection",
    "Catalog": "catalog",
    "CatalogShard": "catalog_shard",
    "FeedSchedule": "feed_schedule",
    "SyncOperation": "sync_operation",
    "DeletionApproval": "deletion_approval",
    "DiagnosticReport": "diagnostic_report",
    "CatalogLedger": "catalog_ledger",
}
"""Every kind, in the order in which people meet them."""
_RECORDS = ("DiagnosticReport", "CatalogLedger")
"""Kinds that the operator alone writes. It does not watch them: nobody else's word is in there."""

__all__ = [
    "KINDS",
    "RECORDS",
    "Catalog",
    "CatalogLedger",
    "CatalogShard",
    "DeletionApproval",
    "DiagnosticReport",
    "FeedSchedule",
    "MetaConnection",
    "SyncOperation",
]


def __getattr__(name: str) -> object:
    if name == "KINDS":
        return tuple(__getattr__(each) for each in _MODULES)
    if name == "RECORDS":
        return tuple(__getattr__(each) for each in _RECORDS)
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(name)
