"""DeletionApproval: who allowed which deletions, once. A kind of its own, so that RBAC can say who may approve."""

from typing import Annotated, ClassVar

from pydantic import Field

from controller.api.base import Rule, immutable, matches
from controller.api.resource import AGE, Column, Declared, Spec, Status
from controller.api.values import Count, Digest, ObjectRef, Timestamp

IMMUTABLE = "an approval is immutable; make another DeletionApproval"


class DeletionApprovalSpec(Spec):
    """Which held deletions of which Catalog are released, by whom, and until when."""

    RULES: ClassVar[tuple[Rule, ...]] = tuple(
        immutable(field, message=IMMUTABLE) for field in ("catalogRef", "digest", "approvedBy", "expiresAt")
    )

    catalog_ref: ObjectRef = Field(description="The Catalog whose deletions are released.")
    digest: Annotated[
        Digest,
        Rule(
            matches("^sha256:[0-9a-f]{64}$"),
            "copy the digest from status.held.digest of the Catalog; it is sha256: and 64 hexadecimal digits",
        ),
    ] = Field(description="Digest of exactly the set that was held: status.held.digest of the Catalog.")
    approved_by: Annotated[str, Field(min_length=1, max_length=256)] = Field(description="Who approved it.")
    expires_at: Timestamp = Field(description="From then on the approval releases nothing more.")


class DeletionApprovalStatus(Status):
    """What became of the approval."""

    used_at: Timestamp | None = Field(default=None, description="When it was first used.")
    released_items: Count | None = Field(default=None, description="Number of items that it released.")


class DeletionApproval(Declared[DeletionApprovalSpec, DeletionApprovalStatus]):
    """Who allowed which deletions, once."""

    KIND: ClassVar[str] = "DeletionApproval"
    PLURAL: ClassVar[str] = "deletionapprovals"
    SHORT_NAME: ClassVar[str] = "mappr"
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("Catalog", ".spec.catalogRef.name"),
        Column("Approved By", ".spec.approvedBy"),
        Column("Expires", ".spec.expiresAt"),
        Column("Released", ".status.releasedItems", "integer"),
        Column("Used", ".status.usedAt", "date"),
        Column("Digest", ".spec.digest", priority=1),
        AGE,
    )
    SELECTABLE: ClassVar[tuple[str, ...]] = (".spec.catalogRef.name",)

    spec: DeletionApprovalSpec
    status: DeletionApprovalStatus = DeletionApprovalStatus()
