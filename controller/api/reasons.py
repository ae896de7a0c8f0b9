"""Every reason that a condition or an event may carry, with one sentence of meaning.

Other tools match on these words, so one is never renamed, only added. The layer of faults lies below this package and
carries reasons as plain text; a test holds both together.
"""

from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """CamelCase word in `condition.reason` and `event.reason`."""

    meaning: str

    def __new__(cls, word: str, meaning: str = "") -> Self:
        member = str.__new__(cls, word)
        member._value_ = word
        member.meaning = meaning
        return member

    # What is going on
    AVAILABLE = "Available", "It exists at Meta, credentials work, and the first full load was done."
    NO_ITEMS = "NoItems", "The shard has no items, so it needs no feed at Meta."
    PROGRESSING = "Progressing", "Work is under way and needs nobody."
    SUSPENDED = "Suspended", "spec.suspend is set: nothing new starts."
    DELETING = "Deleting", "Deletion was asked for and is being carried out."
    COMPLETED = "Completed", "The operation reached Meta's final answer."
    SUPERSEDED = "Superseded", "A newer operation made this one pointless before it sent anything."
    CANCELLED = "Cancelled", "A person cancelled the operation."
    IN_SYNC = "InSync", "Declared settings equal Meta's."
    ON_TARGET = "OnTarget", "The promises of spec.freshness hold now."
    BEHIND_TARGET = "BehindTarget", "A promise of spec.freshness does not hold now; the message has the numbers."
    ITEMS_REFUSED = "ItemsRefused", "Items were refused, by our checks or by Meta; status counts and names them."

    # Waits for something, heals by itself
    RATE_LIMITED = "RateLimited", "Meta throttles; nothing is called until the named time."
    QUOTA_EXHAUSTED = "QuotaExhausted", "The share of Meta's quota that may be used now is used up."
    META_UNAVAILABLE = "MetaUnavailable", "Meta does not answer, or answers with a failure of its own."
    DEPENDENCY_NOT_READY = "DependencyNotReady", "Another object that this one refers to is not ready."
    CONNECTION_NOT_FOUND = "ConnectionNotFound", "The MetaConnection that is referred to does not exist."
    CATALOG_NOT_FOUND = "CatalogNotFound", "The Catalog that is referred to does not exist."

    # Needs a person
    INVALID_SPEC = "InvalidSpec", "The spec cannot be carried out as written; the message names the field."
    PERMISSION_DENIED = "PermissionDenied", "The token lacks a permission or access to this object at Meta."
    TOKEN_EXPIRED = "TokenExpired", "The token's time is over; put a new one into its Secret."
    TOKEN_INVALID = "TokenInvalid", "Meta does not accept the token; put a working one into its Secret."
    SECRET_MISSING = "SecretMissing", "The Secret, or the key in it, does not exist."
    SECRET_NOT_LABELLED = "SecretNotLabelled", "The Secret lacks the label that allows this operator to read it."
    INVALID_REQUEST = "InvalidRequest", "Meta does not accept what is asked for; the message has Meta's words."
    VERSION_UNSUPPORTED = "VersionUnsupported", "Meta no longer serves the configured version of the Graph API."
    NOT_VISIBLE = "NotVisible", "Meta says that the object does not exist or is not accessible; which one is not told."
    OWNERSHIP_CONFLICT = "OwnershipConflict", "Another Catalog holds the same catalog at Meta; the message names it."
    FOREIGN_OPERATOR = "ForeignOperator", "Another installation of this operator manages the catalog."
    FOREIGN_ENDPOINT = "ForeignEndpoint", "The catalog was managed through another endpoint than the configured one."
    AMBIGUOUS_CREATE = "AmbiguousCreate", "Several objects at Meta could be the one we created; a person decides."
    CREATE_RESULT_UNKNOWN = "CreateResultUnknown", "Whether Meta carried out a creation is not known yet."
    CHILD_NAME_CONFLICT = "ChildNameConflict", "An object with the name of a child exists and is not ours."

    OTHER_FEEDS = "OtherFeeds", "An adopted catalog has feeds that are not ours."

    # Settings
    DRIFT_DETECTED = "DriftDetected", "Meta's settings differ from the declared ones and driftPolicy is Report."
    NOT_COMPARABLE = "NotComparable", "Meta changes a value after accepting it, so the field is not compared any more."

    # Deletion
    DELETION_BLOCKED = "DeletionBlocked", "Something that still exists keeps the object from being deleted."
    DELETION_GUARD = "DeletionGuard", "More items would leave than the guard allows; the rest was sent."
    PRICE_GUARD = "PriceGuard", "More prices would change by more than the guard allows; the rest was sent."
    ORPHANED_AT_META = "OrphanedAtMeta", "The object is gone here but was left at Meta; the message has its ids."

    # Sources and mapping
    SOURCE_UNREACHABLE = "SourceUnreachable", "The source does not answer, or answers with a failure of its own."
    SOURCE_REFUSED = "SourceRefused", "The source may not be read: address, credentials or path are not allowed."
    SOURCE_EMPTY = "SourceEmpty", "The source has no rows; nothing was changed."
    SOURCE_TOO_SMALL = "SourceTooSmall", "The source has fewer rows than spec.items[].evidence asks for."
    SOURCE_WENT_BACK = "SourceWentBack", "The source shows an older version than before; the last good one stays."
    SOURCE_MALFORMED = "SourceMalformed", "The source cannot be read as the format it should have, or was cut short."
    MAPPING_INVALID = "MappingInvalid", "The mapping does not fit the source; the message names the column."
    VARIANTS_HELD = "VariantsHeld", "New variants would orphan items without variants; say which replaces which."

    # Sending
    OVER_COMMITTED = "OverCommitted", "The promises need more than Meta's quota or processing time allows."
    UNEXPECTED_RESULT = "UnexpectedResult", "Meta did something else than was planned; replaces are stopped."
    ABANDONED_OPERATION = "AbandonedOperation", "Meta's answer never came; the rows are read back before a new try."
    EXCLUSION_NOT_GUARANTEED = "ExclusionNotGuaranteed", "Meta fetches by itself, so overlap cannot be excluded."
    PREPARING_FAILED = "PreparingFailed", "Reading or encoding the items failed; the message says how."
    PREPARING_OUT_OF_MEMORY = "PreparingOutOfMemory", "Reading or encoding the items needs more memory than it may use."
    PREPARING_DEADLINE = "PreparingDeadline", "Reading or encoding the items took longer than it may."

    PAYLOAD_TOO_LARGE = "PayloadTooLarge", "What is to be sent exceeds what Meta takes at once."
    PAYLOAD_MISMATCH = "PayloadMismatch", "What lies in the store is not what was planned; nothing was sent."
    CONTRACT_VIOLATION = "ContractViolation", "An answer contradicts what is known of the other side; please report it."

    # The operator's own record
    SNAPSHOT_LOST = "SnapshotLost", "The record of what Meta has is missing, foreign or unreadable; nothing is deleted."
    SNAPSHOT_TOO_NEW = "SnapshotTooNew", "The record was written by a newer release; this one writes nothing."
    STORE_UNAVAILABLE = "StoreUnavailable", "The store cannot be read or written; it is tried again."
    STORE_FULL = "StoreFull", "The store has no room left."
    STORE_KEY_TAKEN = "StoreKeyTaken", "An object that must not change exists in the store with other content."
    STORE_KEY_INVALID = "StoreKeyInvalid", "A key leads out of the store."
    LEDGER_UNAVAILABLE = "LedgerUnavailable", "The record of the catalog cannot be read or written; it is tried again."
    LEASE_LOST = "LeaseLost", "Another process is the active one now, or may be; this one starts nothing more."
    ROLLED_BACK = "RolledBack", "Ledger and store disagree, as after a restored backup; a full send is due."

    # The API server
    KUBERNETES_UNAVAILABLE = "KubernetesUnavailable", "The API server does not answer; it is tried again."
    CONFLICT = "Conflict", "The object changed meanwhile; it is read again."
    ALREADY_EXISTS = "AlreadyExists", "An object of that name exists."
    FORBIDDEN = "Forbidden", "The operator's role does not allow this; the message names the right."
    INVALID_OBJECT = "InvalidObject", "The API server refuses an object that the operator made; please report it."
    NAMESPACE_TERMINATING = "NamespaceTerminating", "The namespace is being deleted: nothing new can be made in it."
