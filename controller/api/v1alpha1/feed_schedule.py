"""FeedSchedule: when what is sent. Derived by the Catalog, or written by hand to replace a derived one."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from controller.api.base import ListSet, Observation, Persisted, Rule, exactly_one, immutable, matches
from controller.api.conditions import ConditionType
from controller.api.durations import Duration, at_least
from controller.api.resource import AGE, Column, ConditionedStatus, Declared, Effective, Spec, condition_column
from controller.api.v1alpha1.common import OfferedMethod
from controller.api.v1alpha1.policies import SHARDS_MAX
from controller.api.values import FieldName, ObjectName, ObjectRef, Timestamp

CRON_PATTERN = r"^[^ \t]+( +[^ \t]+){4}$"
CRON_LENGTH_MAX = 100
FIELDS_MAX = 64
QUIET_HOURS_MAX = 16
CLOCK_TIME_PATTERN = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"

ClockTime = Annotated[str, Field(max_length=5, pattern=CLOCK_TIME_PATTERN)]


class Day(StrEnum):
    MON = "Mon"
    TUE = "Tue"
    WED = "Wed"
    THU = "Thu"
    FRI = "Fri"
    SAT = "Sat"
    SUN = "Sun"


class QuietHours(Spec):
    """A time in which nothing is started. It ends on the next day where `to` is not later than `from`."""

    days: Annotated[tuple[Day, ...], Field(min_length=1, max_length=7), ListSet()] | None = Field(
        default=None,
        description="Days on which it begins. Absent: every day.",
    )
    from_: ClockTime = Field(description='Begin, as "22:00". Quote it.')
    to: ClockTime = Field(description='End, as "06:00". Quote it.')
    methods: Annotated[tuple[OfferedMethod, ...], Field(min_length=1, max_length=2), ListSet()] | None = Field(
        default=None,
        description="Methods that are quiet then. Absent: all.",
    )


class FeedScheduleSpec(Spec):
    """When what is sent."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        immutable("catalogRef", message="catalogRef is immutable; make another FeedSchedule"),
        immutable("method", message="method is immutable; make another FeedSchedule"),
        exactly_one("cron", "interval", message="give exactly one of cron and interval"),
        Rule(
            "!has(self.fields) || self.method != 'ReplaceFeed'",
            "fields is for methods that send single fields; ReplaceFeed always sends complete rows",
        ),
    )

    catalog_ref: ObjectRef = Field(description="The Catalog whose items are sent.")
    method: OfferedMethod = Field(description="How they are sent.")
    cron: (
        Annotated[
            str,
            Field(max_length=CRON_LENGTH_MAX),
            Rule(
                matches(CRON_PATTERN),
                "write five fields: minute, hour, day of month, month, day of week, e.g. 0 3 * * *",
            ),
        ]
        | None
    ) = Field(default=None, description="When, as five cron fields in timeZone.")
    interval: Annotated[Duration, at_least("5s")] | None = Field(default=None, description="How often.")
    time_zone: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$")] = Field(
        default="UTC",
        description="Time zone of cron and quietHours, e.g. Europe/Berlin.",
    )
    stagger: Duration = Field(
        default=timedelta(),
        description="Over how much time the shards are spread, so that they do not all start together.",
    )
    shards: Annotated[tuple[ObjectName, ...], Field(min_length=1, max_length=SHARDS_MAX), ListSet()] | None = Field(
        default=None,
        description="Names of the CatalogShards. Absent: all.",
    )
    fields: Annotated[tuple[FieldName, ...], Field(min_length=1, max_length=FIELDS_MAX), ListSet()] | None = Field(
        default=None,
        description="Fields that are sent. Absent: the volatile ones.",
    )
    starting_deadline: Annotated[Duration, at_least("5s")] = Field(
        default=timedelta(hours=1),
        description="A run that could not start for so long is dropped, unless a promise of freshness needs it.",
    )
    quiet_hours: Annotated[tuple[QuietHours, ...], Field(max_length=QUIET_HOURS_MAX)] = Field(
        default=(),
        description="Times in which nothing is started.",
    )
    suspend: Annotated[bool, Persisted()] = Field(default=False, description="Nothing new starts.")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.cron is None) == (self.interval is None):
            raise ValueError("give exactly one of cron and interval")
        return self


class ScheduledOperation(Observation):
    """The last operation that the schedule made."""

    name: ObjectName = Field(description="Name of the SyncOperation, which may be gone.")
    scheduled_at: Timestamp = Field(description="The moment that it was made for.")


class FeedScheduleStatus(ConditionedStatus):
    """What ran and what comes next."""

    last_scheduled_at: Timestamp | None = Field(default=None, description="The last moment that was acted upon.")
    next_scheduled_at: Timestamp | None = Field(default=None, description="The next moment.")
    last_operation: ScheduledOperation | None = Field(default=None, description="The last operation that was made.")
    effective: Effective | None = Field(default=None, description="Every default that was filled in.")


class FeedSchedule(Declared[FeedScheduleSpec, FeedScheduleStatus]):
    """When what is sent. A hand-written one replaces the derived one of the same catalog, method and shards."""

    KIND: ClassVar[str] = "FeedSchedule"
    PLURAL: ClassVar[str] = "feedschedules"
    SHORT_NAME: ClassVar[str] = "msched"
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        condition_column("Ready", ConditionType.READY),
        Column("Catalog", ".spec.catalogRef.name"),
        Column("Method", ".spec.method"),
        Column("Cron", ".spec.cron"),
        Column("Interval", ".spec.interval"),
        Column("Suspend", ".spec.suspend", "boolean"),
        Column("Last", ".status.lastScheduledAt", "date"),
        Column("Time Zone", ".spec.timeZone", priority=1),
        Column("Next", ".status.nextScheduledAt", priority=1),
        condition_column("Message", ConditionType.READY, "message", priority=1),
        AGE,
    )
    SELECTABLE: ClassVar[tuple[str, ...]] = (".spec.catalogRef.name",)

    spec: FeedScheduleSpec
    status: FeedScheduleStatus = FeedScheduleStatus()
