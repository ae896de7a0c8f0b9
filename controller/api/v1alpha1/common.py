"""Words that several kinds share."""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from controller.api.base import Observation
from controller.api.values import Timestamp


class Method(StrEnum):
    """Ways of sending items to Meta."""

    REPLACE_FEED = "ReplaceFeed"
    """A complete file: what is not in it leaves the feed."""
    UPDATE_FEED = "UpdateFeed"
    """A file that creates and updates; deletes nothing."""
    ITEMS_BATCH = "ItemsBatch"
    """Calls with single items."""


OfferedMethod = Literal[Method.REPLACE_FEED, Method.ITEMS_BATCH]
"""The methods that a schedule or an operation may ask for."""


class PendingCreate(Observation):
    """Note of intent, written before something is created at Meta, so that a lost answer leaves no second one."""

    nonce: str = Field(max_length=64, description="Part of the name at Meta by which the new object is found again.")
    started_at: Timestamp = Field(description="When the creation was started.")
