"""From what was sent and what Meta answered to the next snapshot.

A value counts as acknowledged only if Meta took the row that carried it, and did not name the field in a warning.
What nobody can know becomes unknown, never wrong: the value that was sent stays beside a flag that says so.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from controller.products.fields import ID, VOLATILE
from controller.products.tables import INSTANT, SNAPSHOT, State, bit, conform, known
from controller.products.verify import FOUND

SAMPLES_MAX = 10
GROUPS_MAX = 16
TAKEN = ("applied", "confirmed")
"""Outcomes of rows that Meta has."""

ANSWER = pl.Schema({ID: pl.String, "fatal": pl.Boolean, "warned": pl.UInt8, "warned_static": pl.Boolean})
"""What Meta said about one id. `warned` has the bits of volatile fields that a warning names."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of Meta's answer."""

    id: str
    severity: str
    message: str
    field: str | None


@dataclass(frozen=True, slots=True)
class MessageGroup:
    """Lines with one message."""

    message: str
    severity: str
    count: int
    sample_ids: tuple[str, ...]


def answers(lines: list[Line]) -> pl.DataFrame:
    """Gather lines to one row per id."""
    found: dict[str, list[int]] = {}
    for line in lines:
        row = found.setdefault(line.id, [0, 0, 0])
        if line.severity == "fatal":
            row[0] = 1
        elif line.field in VOLATILE:
            row[1] |= bit(line.field)
        elif line.field is not None:
            row[2] = 1
    data = {
        ID: list(found),
        "fatal": [bool(row[0]) for row in found.values()],
        "warned": [row[1] for row in found.values()],
        "warned_static": [bool(row[2]) for row in found.values()],
    }
    return pl.DataFrame(data, schema=ANSWER)


def message_groups(lines: list[Line], severity: str) -> tuple[MessageGroup, ...]:
    """Group lines by message, largest first, bounded."""
    chosen = [line for line in lines if line.severity == severity]
    counted = Counter(line.message for line in chosen)
    largest = sorted(counted.items(), key=lambda each: (-each[1], each[0]))[:GROUPS_MAX]
    return tuple(MessageGroup(message, severity, count, _samples(chosen, message)) for message, count in largest)


def judge(
    sent: pl.DataFrame, answer: pl.DataFrame, back: pl.DataFrame | None, *, applied: bool, unnamed: bool
) -> pl.DataFrame:
    """Add to each sent row `outcome` (applied, refused, unknown) and what a warning or a read-back says of its fields.

    `back` is as `verify.compare_back` makes it. A row without a line whose fate is open is applied only where the
    read-back found it equal in every field that can be compared.
    """
    rows = sent.join(answer, on=ID, how="left", maintain_order="left")
    named = pl.col("fatal").is_not_null()
    doubtful = pl.lit(value=True) if not applied else (~named if unnamed else pl.lit(value=False))
    confirmed = pl.lit(value=False)
    if back is not None:
        equals = [name for name in back.columns if name.endswith("_equal")]
        rows = rows.join(back, on=ID, how="left", maintain_order="left")
        differs = pl.any_horizontal(~pl.col(name).fill_null(value=True) for name in equals)
        confirmed = pl.col(FOUND).fill_null(value=False) & ~differs
    outcome = (
        pl.when(pl.col("fatal").fill_null(value=False))
        .then(pl.lit("refused"))
        .when(~doubtful)
        .then(pl.lit("applied"))
        .when(confirmed)
        .then(pl.lit("confirmed"))
        .otherwise(pl.lit("unknown"))
    )
    return rows.with_columns(
        outcome=outcome,
        warned=pl.col("warned").fill_null(0) & pl.col("_volatile"),
        warned_static=pl.col("warned_static").fill_null(value=False),
    )


def next_snapshot(
    snapshot: pl.DataFrame, judged: pl.DataFrame, deleted: pl.DataFrame, now: datetime, *, replaced: bool
) -> pl.DataFrame:
    """Apply judged rows to a snapshot. `deleted` ids leave it. `replaced`: the send could have deleted refused rows."""
    before = snapshot.rename({name: f"_old_{name}" for name in VOLATILE})
    rows = judged.select(
        ID,
        *VOLATILE,
        *(name for name in judged.columns if name.startswith("_") and name != FOUND),
        "outcome",
        "warned",
        "warned_static",
        *(_evidence(judged, name).alias(f"_proven_{name}") for name in VOLATILE),
        _static_proven=_static_evidence(),
        sent=pl.lit(value=True),
    )
    joined = before.join(rows, on=ID, how="full", coalesce=True, maintain_order="left_right")
    joined = joined.with_columns(pl.col("sent", "at_meta").fill_null(value=False)).with_columns(
        _taken=pl.col("outcome").is_in(TAKEN).fill_null(value=False)
    )
    result = joined.with_columns(*_fields(replaced=replaced)).with_columns(_rest(now, replaced=replaced))
    result = result.with_columns(state=_state())
    return conform(result.join(deleted.select(ID), on=ID, how="anti", maintain_order="left"), SNAPSHOT).sort(ID)


def forget_unsent(snapshot: pl.DataFrame, sent: pl.DataFrame) -> pl.DataFrame:
    """Drop what was never at Meta and was not sent again by a full send: nothing refers to it any more."""
    gone = snapshot.filter(~pl.col("at_meta")).join(sent.select(ID), on=ID, how="anti")
    return snapshot.join(gone.select(ID), on=ID, how="anti", maintain_order="left")


def _evidence(judged: pl.DataFrame, name: str) -> pl.Expr:
    """Whether the read-back proves a volatile field; null where it says nothing."""
    column = f"{name}_equal"
    return pl.col(column) if column in judged.columns else pl.lit(None, dtype=pl.Boolean)


def _static_evidence() -> pl.Expr:
    """A confirmed creation proves the whole row: the item exists only because of it."""
    return pl.col("_created") & (pl.col("outcome") == "confirmed")


def _fields(*, replaced: bool) -> list[pl.Expr]:
    """Next value and flag of each volatile field."""
    expressions = []
    for name in VOLATILE:
        carried = (pl.col("sent") & ((pl.col("_volatile") & bit(name)) > 0)).fill_null(value=False)
        old, old_known = pl.col(f"_old_{name}"), pl.col(known(name)).fill_null(value=False)
        warned = (pl.col("warned") & bit(name)) > 0
        unchanged = old_known & old.eq_missing(pl.col(name))
        confirmed = pl.col(f"_proven_{name}").fill_null(value=False) | pl.col("_static_proven") | unchanged
        proven = (pl.col("outcome") == "applied") | ((pl.col("outcome") == "confirmed") & confirmed)
        moved = carried & (pl.col("outcome") != "refused")
        lost = carried & (pl.col("outcome") == "refused") & pl.lit(replaced)
        expressions += [
            pl.when(moved).then(pl.col(name)).otherwise(old).alias(name),
            pl.when(moved)
            .then(proven & ~warned)
            .when(lost)
            .then(pl.lit(value=False))
            .otherwise(old_known)
            .fill_null(value=False)
            .alias(known(name)),
        ]
    return expressions


def _rest(now: datetime, *, replaced: bool) -> list[pl.Expr]:
    full = (pl.col("sent") & pl.col("_full")).fill_null(value=False)
    same_static = pl.col("static_hash") == pl.col("_static_hash")
    proven = (pl.col("outcome") == "applied") | pl.col("_static_proven") | same_static
    static = pl.when(pl.col("_taken") & proven & ~pl.col("warned_static")).then(pl.col("_static_hash"))
    refused = (pl.col("outcome") == "refused").fill_null(value=False)
    answered = refused | (pl.col("_taken") & ((pl.col("warned") > 0) | pl.col("warned_static"))).fill_null(value=False)
    kept_static = pl.when(refused & pl.lit(not replaced)).then(pl.col("static_hash"))
    return [
        pl.when(full).then(pl.coalesce(static, kept_static)).otherwise(pl.col("static_hash")).alias("static_hash"),
        pl.when(full & ~refused).then(pl.col("_group_hash")).otherwise(pl.col("group_hash")).alias("group_hash"),
        pl.when(pl.col("sent") & ~refused)
        .then(pl.col("_sequence"))
        .otherwise(pl.col("sequence"))
        .fill_null(0)
        .alias("sequence"),
        (pl.col("at_meta") | (pl.col("sent") & ~refused)).alias("at_meta"),
        pl.when(answered)
        .then(pl.col("_row_hash"))
        .when(pl.col("sent"))
        .then(None)
        .otherwise(pl.col("answered_hash"))
        .alias("answered_hash"),
        pl.when(answered)
        .then(pl.lit(now, dtype=INSTANT))
        .when(pl.col("sent"))
        .then(None)
        .otherwise(pl.col("answered_at"))
        .alias("answered_at"),
        refused.alias("_refused"),
    ]


def _state() -> pl.Expr:
    certain = pl.col("static_hash").is_not_null() & pl.all_horizontal(pl.col(known(name)) for name in VOLATILE)
    settled = pl.when(certain).then(pl.lit(State.ACKNOWLEDGED.value)).otherwise(pl.lit(State.UNKNOWN.value))
    was_refused = (pl.col("state") == State.REFUSED).fill_null(value=False) & ~pl.col("sent")
    return pl.when(pl.col("_refused") | was_refused).then(pl.lit(State.REFUSED.value)).otherwise(settled)


def _samples(lines: list[Line], message: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(line.id for line in lines if line.message == message))[:SAMPLES_MAX]
