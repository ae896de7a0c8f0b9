"""The tables that are stored between steps: their columns and types.

`desired`     accepted rows of one partition as the source has them: every field as text, `_group_hash`, `_slot`,
              `_static_hash`, `_row_hash`, `_line`
`snapshot`    what Meta acknowledged, per item and field. For a volatile field `f` there are `f` (the newest value that
              was acknowledged or, where `f_known` is false, sent) and `f_known`; so "Meta has no value" and "nobody
              knows" differ. `static_hash` null: unknown. `at_meta` false: remembered only because Meta refused it.
`departures`  ids on their way out, turning unsellable, or held at the price that Meta has
`sent`        what one body says per item. Full sends carry every field, so an accepted one is the next `payload`.
`deletes`     ids that a replace leaves out on purpose
`rejected`    rows that failed our checks
`overlay`     what one overlay ever said: id and its fields, null where it never had a value, empty where it has none;
              `_said` of the row of the last read
`localized`   of an overlay for one language or country: id, hash of its values (null: it has none left), and whether a
              check keeps them from being sent
`locale`      what Meta acknowledged for one language or country: hash of the values (null: unknown), names of the
              fields that it may hold, the hash of what it refused last, and when it took the values
`localesent`  what one body says for one language or country: `_said` has the values as JSON; `_held` as `fields` was

`desired` is in the order of the source, the others are sorted by id. Private columns of tables that also hold fields
begin with an underscore, as no field does.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import polars as pl

from controller.products.fields import ID, VOLATILE

VERSION: Final = 2
"""Of every table; stands in the name of its file. A reader accepts its own and older ones.

2: tables may be parts of a manifest, and then hold only some of the rows.
"""

INSTANT: Final = pl.Datetime("us", "UTC")

Column = pl.DataType | type[pl.DataType]


class Kind(StrEnum):
    """Name of a table in its key."""

    DESIRED = "desired"
    REJECTED = "rejected"
    SNAPSHOT = "snapshot"
    PAYLOAD = "payload"
    DEPARTURES = "departures"
    SENT = "sent"
    DELETES = "deletes"
    OPEN = "open"
    OVERLAY = "overlay"
    LOCALIZED = "localized"
    LOCALE = "locale"
    LOCALE_SENT = "localesent"


class State(StrEnum):
    """State of an item in a snapshot."""

    ACKNOWLEDGED = "Acknowledged"
    REFUSED = "Refused"
    UNKNOWN = "Unknown"


class Leaving(StrEnum):
    """Kind of a departure: of the item, from the shop window, or from the price that it had."""

    LEAVING = "Leaving"
    UNSELLABLE = "Unsellable"
    PRICE = "Price"


class Stage(StrEnum):
    """How far a departure got."""

    WATCHING = "Watching"
    HELD = "Held"
    CLEARED = "Cleared"


def known(name: str) -> str:
    return f"{name}_known"


def _schema(columns: Mapping[str, Column]) -> pl.Schema:
    return pl.Schema(columns)


VOLATILE_TEXT: Final[Mapping[str, Column]] = dict.fromkeys(VOLATILE, pl.String)

SNAPSHOT: Final = _schema(
    {
        ID: pl.String,
        "at_meta": pl.Boolean,
        "state": pl.String,
        "group_hash": pl.UInt64,
        "static_hash": pl.UInt64,
        **VOLATILE_TEXT,
        **{known(name): pl.Boolean for name in VOLATILE},
        "sequence": pl.UInt64,
        "answered_hash": pl.UInt64,
        "answered_at": INSTANT,
    }
)
NARROW: Final = _schema(
    {ID: pl.String, **VOLATILE_TEXT, "_group_hash": pl.UInt64, "_static_hash": pl.UInt64, "_slot": pl.UInt16}
)
"""The columns of `desired` that decisions need."""

DEPARTURES: Final = _schema(
    {
        ID: pl.String,
        "partition": pl.UInt16,
        "kind": pl.String,
        "stage": pl.String,
        "first_seen_at": INSTANT,
        "last_look_at": INSTANT,
        "cleared_at": INSTANT,
        "cleared_by": pl.String,
        "held_generation": pl.UInt32,
    }
)

SENT: Final = _schema(
    {
        ID: pl.String,
        **VOLATILE_TEXT,
        "_partition": pl.UInt16,
        "_full": pl.Boolean,
        "_volatile": pl.UInt8,
        "_kept": pl.Boolean,
        "_created": pl.Boolean,
        "_sequence": pl.UInt64,
        "_group_hash": pl.UInt64,
        "_static_hash": pl.UInt64,
        "_row_hash": pl.UInt64,
    }
)
"""`_volatile` has bit n set where the n-th volatile field was sent; `_row_hash` is of the row we wanted at Meta."""

REJECTED: Final = _schema({ID: pl.String, "line": pl.UInt64, "rules": pl.String, "kept_line": pl.UInt64})
DELETES: Final = _schema({ID: pl.String})

LOCALIZED: Final = _schema({ID: pl.String, "row_hash": pl.UInt64, "unfit": pl.Boolean})
LOCALE: Final = _schema(
    {
        ID: pl.String,
        "row_hash": pl.UInt64,
        "fields": pl.String,
        "state": pl.String,
        "answered_hash": pl.UInt64,
        "answered_at": INSTANT,
        "sent_at": INSTANT,
    }
)
LOCALE_SENT: Final = _schema(
    {
        ID: pl.String,
        "_partition": pl.UInt16,
        "_delete": pl.Boolean,
        "_row_hash": pl.UInt64,
        "_held": pl.String,
        "_said": pl.String,
    }
)

ALL_VOLATILE: Final = (1 << len(VOLATILE)) - 1


def bit(name: str) -> int:
    return 1 << VOLATILE.index(name)


def empty(schema: pl.Schema) -> pl.DataFrame:
    return pl.DataFrame(schema=schema)


def conform(frame: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """Give a frame exactly these columns and types; what is missing becomes null."""
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in schema.items()
    )
