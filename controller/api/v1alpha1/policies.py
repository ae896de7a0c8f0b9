"""The parts of `Catalog.spec` that say how careful, how fresh and how tidy it has to be."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from controller.api.durations import Duration, at_least
from controller.api.resource import Spec
from controller.api.values import Percent, WebAddress

SHARDS_MAX = 256
FALLBACK_IMAGES_MAX = 10
ITEMS_MAX = 1_000_000_000
FINISHED_OPERATIONS_MAX = 1_000


class AdoptionPolicy(StrEnum):
    NEVER = "Never"
    IF_NAME_MATCHES = "IfNameMatches"


class ManagementPolicy(StrEnum):
    FULL = "Full"
    OBSERVE = "Observe"


class DriftPolicy(StrEnum):
    CORRECT = "Correct"
    REPORT = "Report"


class DeletionPolicy(StrEnum):
    ORPHAN = "Orphan"
    DELETE = "Delete"


class ExistingFeeds(StrEnum):
    REPORT = "Report"
    """Feeds that an adopted catalog already has are told of in an event; ours stand beside them."""


class Vertical(StrEnum):
    COMMERCE = "Commerce"


class AdditionalVerticalOption(StrEnum):
    LOCAL_DA_CATALOG = "LocalDACatalog"
    LOCAL_PRODUCTS = "LocalProducts"


class ImageTransformation(StrEnum):
    NONE = "None"
    BACKGROUND_PADDING = "BackgroundPadding"
    BACKGROUND_CROPPING_AND_PADDING = "BackgroundCroppingAndPadding"


class IngestionProfile(StrEnum):
    AUTO = "Auto"
    NONE = "None"


class OnExceed(StrEnum):
    HOLD_DELETIONS = "HoldDeletions"
    HOLD_OPERATION = "HoldOperation"


class AdFormatDisplay(Spec):
    """How images are shown in one format of dynamic ads."""

    transformation_type: ImageTransformation = Field(description="What is done to the image.")


class DADisplaySettings(Spec):
    """How images are shown in dynamic ads."""

    carousel_ad: AdFormatDisplay = Field(description="In carousel ads.")
    single_ad: AdFormatDisplay = Field(description="In ads with one image.")


class CatalogSettings(Spec):
    """Settings of the catalog at Meta. What is absent is left as it is."""

    default_image_url: WebAddress | None = Field(
        default=None,
        description="Image for items without one.",
    )
    fallback_image_urls: (
        Annotated[tuple[WebAddress, ...], Field(min_length=1, max_length=FALLBACK_IMAGES_MAX)] | None
    ) = Field(default=None, description="Images for items that Meta makes by itself.")
    da_display_settings: DADisplaySettings | None = Field(
        default=None,
        description="How images are shown in dynamic ads.",
    )
    additional_vertical_option: AdditionalVerticalOption | None = Field(
        default=None,
        description="An addition to the vertical.",
    )


class Sharding(Spec):
    """Into how many feeds the items are divided."""

    shards: Annotated[int, Field(ge=1, le=SHARDS_MAX)] | None = Field(
        default=None,
        description="Number of shards. Absent: derived once from the size of the source.",
    )


class Batches(Spec):
    """What calls with single items may do besides updating."""

    create: bool = Field(default=False, description="Batches may create items.")
    delete: bool = Field(default=False, description="Batches may delete items.")


class Ingestion(Spec):
    """Which ways of sending are used."""

    profile: IngestionProfile = Field(
        default=IngestionProfile.AUTO,
        description="Auto derives FeedSchedules from size and rate of change; None leaves only hand-written ones.",
    )
    batches: Batches = Field(default=Batches(), description="What batches may do besides updating.")


class MaxPriceChange(Spec):
    """How many prices may change by how much in one refresh."""

    percent: Annotated[int, Field(ge=1, le=10_000)] = Field(description="A price that changes by more counts.")
    of_items_percent: Percent = Field(description="More items than this share may not have such a change.")


class Guards(Spec):
    """How much may disappear before a person is asked. Counted over the last 24 hours and all operations."""

    max_delete_percent: Percent = Field(
        default=5,
        description="Share of the items that may leave, in percent of the most there were in the last 7 days.",
    )
    always_allow: Annotated[int, Field(ge=0, le=ITEMS_MAX)] = Field(
        default=20,
        description="Number of items that may always leave, whatever the percentage says.",
    )
    max_deletes: Annotated[int, Field(ge=0, le=ITEMS_MAX)] | None = Field(
        default=None,
        description="Number of items beyond which the guard holds in any case. Absent: only the percentage counts.",
    )
    grace_period: Duration = Field(
        default=timedelta(hours=2160),
        description="How long an item that left the source stays at Meta, out of stock, before it is deleted.",
    )
    out_of_stock_first: bool = Field(
        default=True,
        description="An item that leaves the source is sent as out of stock before it is deleted.",
    )
    max_out_of_stock_percent: Percent = Field(
        default=30,
        description="Share of the items that may turn from sellable to unsellable.",
    )
    max_price_change: MaxPriceChange | None = Field(
        default=None,
        description="How many prices may change by how much. Absent: prices are not guarded.",
    )
    on_exceed: OnExceed = Field(
        default=OnExceed.HOLD_DELETIONS,
        description="HoldDeletions sends everything else; HoldOperation sends nothing.",
    )


class Freshness(Spec):
    """What is promised about age. The condition Fresh says whether it holds."""

    full: Annotated[Duration, at_least("1m")] = Field(
        default=timedelta(hours=24),
        description="Every item is sent at least this often.",
    )
    items: Annotated[Duration, at_least("1m")] = Field(
        default=timedelta(hours=1),
        description="A changed item is at Meta after at most this time.",
    )
    volatile: Annotated[Duration, at_least("1m")] = Field(
        default=timedelta(minutes=15),
        description="A changed price, availability or quantity is at Meta after at most this time.",
    )


class Operations(Spec):
    """How long finished SyncOperations are kept. Hand-made ones are never collected."""

    ttl_after_finished: Duration = Field(
        default=timedelta(hours=24),
        description="How long a finished operation is kept.",
    )
    keep_failed: Annotated[int, Field(ge=0, le=FINISHED_OPERATIONS_MAX)] = Field(
        default=3,
        description="Number of failed operations that are kept regardless.",
    )
    keep_plans: Annotated[int, Field(ge=0, le=FINISHED_OPERATIONS_MAX)] = Field(
        default=3,
        description="Number of dry runs that are kept regardless.",
    )
    max: Annotated[int, Field(ge=1, le=FINISHED_OPERATIONS_MAX)] = Field(
        default=200,
        description="Number of operations of the Catalog beyond which the oldest finished ones go early.",
    )
