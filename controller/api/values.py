"""The small values that fields are made of: ids of Meta, names, references, times."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field

from controller.api.base import Rule, WireModel, matches

NAME_LENGTH_MAX = 253
"""Kubernetes: an object name is a DNS subdomain."""
STATUS_LIST_MAX = 16
"""Most entries of a list in status: etcd is no place for findings."""
SAMPLE_IDS_MAX = 10
MESSAGE_LENGTH_MAX = 2_048
ITEM_ID_LENGTH_MAX = 100
"""Meta: field table, `id`."""

MetaID = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[0-9]+$")]
"""An id that Meta assigned: digits, always a string, because it exceeds what JSON numbers keep exactly."""
ObjectName = Annotated[str, Field(min_length=1, max_length=NAME_LENGTH_MAX)]
EntryName = Annotated[str, Field(max_length=40, pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$")]
"""Name of a list entry, fit for labels and file names."""
ItemID = Annotated[str, Field(min_length=1, max_length=ITEM_ID_LENGTH_MAX)]
FieldName = Annotated[str, Field(max_length=128, pattern=r"^[A-Za-z][A-Za-z0-9_.:\[\]#]*$")]
"""A field of Meta's item tables, e.g. `price`, `custom_label_0`, `image[0].url`."""
Text = Annotated[str, Field(max_length=MESSAGE_LENGTH_MAX)]
ShortText = Annotated[str, Field(max_length=256)]
Digest = Annotated[str, Field(max_length=71, pattern=r"^sha256:[0-9a-f]{64}$")]
Percent = Annotated[int, Field(ge=0, le=100)]
Count = Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]
SampleIDs = Annotated[tuple[ItemID, ...], Field(max_length=SAMPLE_IDS_MAX)]


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


Timestamp = Annotated[AwareDatetime, AfterValidator(_utc)]
"""A moment, always in UTC; one without a time zone is refused."""

ADDRESS_LENGTH_MAX = 2_048
ADDRESS_RULE = Rule(matches("^https?://[^/]"), "must start with http:// or https:// and name a host")
USER_INFO_PATTERN = "^[^/]*//[^/?#]*@"

WebAddress = Annotated[str, Field(max_length=ADDRESS_LENGTH_MAX), ADDRESS_RULE]


class ObjectRef(WireModel):
    """Names an object in the same namespace."""

    name: ObjectName = Field(description="Name of the object; it is looked for in the same namespace.")


class SecretKeyRef(WireModel):
    """Names one key of a Secret in the same namespace, which must carry the label metacatalog.dev/credential=true."""

    name: ObjectName = Field(
        description='Name of the Secret. It must carry the label metacatalog.dev/credential: "true".',
    )
    key: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")] = Field(
        description="Key inside the Secret.",
    )
