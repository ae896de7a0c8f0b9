"""Ledgers for tests."""

from datetime import UTC, datetime, timedelta
from typing import Any

from controller.api.v1alpha1.catalog_ledger import Claim, Intent, LedgerContent, PartitionRecord

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
SETTLE = timedelta(seconds=10)


def ledger(partitions: int = 2, **fields: Any) -> LedgerContent:
    records = tuple(
        PartitionRecord(index=index, shard=f"germany-1-{index}", slot_from=index, slot_to=index, feed_id=f"{index + 1}")
        for index in range(partitions)
    )
    return LedgerContent(**{"epoch": 1, "partitions": records, **fields})


def claim_of(operation: str, *, epoch: int = 1, since: datetime = NOW) -> Claim:
    return Claim(operation=operation, name=f"shop/{operation}", epoch=epoch, method="ItemsBatch", since=since)


def intent_of(
    operation: str, number: int = 0, partitions: tuple[int, ...] = (0,), *, epoch: int = 1, at: datetime = NOW
) -> Intent:
    return Intent(
        id=f"{operation}/{number}",
        operation=operation,
        method="ItemsBatch",
        epoch=epoch,
        incarnation="a",
        partitions=partitions,
        at=at,
        payload="p",
        bytes=1,
        digest="d",
        sent="s",
        budget_seconds=60,
    )
