"""MetaConnection: which business at Meta, with which credentials, and how much of its quota may be used."""

from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import Field

from controller.api.base import ListSet, Persisted
from controller.api.conditions import ConditionType
from controller.api.durations import Duration, at_least
from controller.api.resource import AGE, Column, ConditionedStatus, Declared, Effective, Spec, condition_column
from controller.api.values import MetaID, Percent, SecretKeyRef, ShortText, Timestamp

GRAPH_VERSION = "v26.0"
"""The version of the Graph API that this release was tested with."""
CATALOGS_MAX = 1_000
SCOPES_MAX = 64

GraphVersion = Annotated[str, Field(max_length=8, pattern=r"^v[0-9]{1,3}\.[0-9]$")]
Calls = Annotated[int, Field(ge=1, le=10_000_000)]


class GraphProvider(Spec):
    """Meta's Graph API, called directly."""

    business_id: MetaID = Field(description="The business that owns the catalogs: a string of digits, so quote it.")
    graph_version: GraphVersion = Field(
        default=GRAPH_VERSION,
        description="Version of the Graph API. Left out, it is what the running release was tested with.",
    )
    token_secret_ref: SecretKeyRef = Field(description="Where the access token is.")
    app_secret_ref: SecretKeyRef | None = Field(
        default=None,
        description="Where the app secret is. With it, every call proves that the token was not stolen.",
    )


class Quota(Spec):
    """How much of Meta's quota the operator may use. Raise it only where Meta granted more."""

    batch_calls_per_hour: Calls = Field(default=100, description="Batch calls per catalog and hour.")
    batch_calls_per_minute: Calls = Field(default=8, description="Batch calls per catalog and minute.")
    management_calls_per_hour: Calls = Field(default=20_000, description="Management calls per catalog and hour.")
    reserve_percent: Percent = Field(default=10, description="Share left to people and other tools, in percent.")


class MetaConnectionSpec(Spec):
    """Which business at Meta, with which credentials."""

    graph: GraphProvider = Field(description="Meta's Graph API, called directly.")
    allowed_catalog_ids: Annotated[tuple[MetaID, ...], Field(max_length=CATALOGS_MAX), ListSet()] | None = Field(
        default=None,
        description="Catalogs that may be managed through this connection. Absent: any.",
    )
    quota: Quota = Field(default=Quota(), description="How much of Meta's quota the operator may use.")
    timeout: Annotated[Duration, at_least("5s")] = Field(
        default=timedelta(seconds=60),
        description="How long one call may take, beside the time that its bytes need.",
    )
    suspend: Annotated[bool, Persisted()] = Field(
        default=False,
        description="Nothing new starts for any catalog of this connection; what is in flight is followed to its end.",
    )


class MetaConnectionStatus(ConditionedStatus):
    """What is known about the credentials."""

    app_id: MetaID | None = Field(default=None, description="The app that the token was issued for.")
    token_valid: bool | None = Field(default=None, description="Whether Meta accepts the token. Absent: not known.")
    expires_at: Timestamp | None = Field(default=None, description="When the token expires. Absent: never or unknown.")
    data_access_expires_at: Timestamp | None = Field(
        default=None,
        description="When the token's access to data expires. Absent: never or unknown.",
    )
    scopes: Annotated[tuple[ShortText, ...], Field(max_length=SCOPES_MAX)] = Field(
        default=(),
        description="Permissions that the token has.",
    )
    effective: Effective | None = Field(default=None, description="Every default that was filled in.")


class MetaConnection(Declared[MetaConnectionSpec, MetaConnectionStatus]):
    """Which business at Meta, with which credentials, and how much of its quota may be used."""

    KIND: ClassVar[str] = "MetaConnection"
    PLURAL: ClassVar[str] = "metaconnections"
    SHORT_NAME: ClassVar[str] = "mconn"
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        condition_column("Ready", ConditionType.READY),
        condition_column("Status", ConditionType.READY, "reason"),
        Column("Business", ".spec.graph.businessID"),
        Column("App", ".status.appID"),
        Column("Token Expires", ".status.expiresAt"),
        condition_column("Message", ConditionType.READY, "message", priority=1),
        AGE,
    )

    spec: MetaConnectionSpec
    status: MetaConnectionStatus = MetaConnectionStatus()
