"""One version of a source becomes rows: fetched, parsed, mapped, checked; accepted or rejected with their lines.

The bytes go through in blocks. What stays of a block are its mapped values and hashes.
"""

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from controller.api.v1alpha1.items import ItemsEntry, RejectedRows
from controller.faults import Disposition, Fault
from controller.ports.preparing import RefreshRequest, SourceCredentials
from controller.ports.sources import Version
from controller.preparing.ahead import ahead
from controller.preparing.context import Context
from controller.preparing.gathering import Gathering, Separated
from controller.preparing.spill import ORDER, Spill
from controller.products import mapping, overlays, rules
from controller.products.advice import Rule
from controller.products.fields import ID
from controller.products.fingerprints import group_hash, row_hash, slot, static_hashes
from controller.products.masks import MaskBook
from controller.products.overlays import Overlaid
from controller.products.prints import MASK
from controller.products.raw import UnsuitableError
from controller.products.records import LINE, Findings
from controller.products.rules import NAMED_MAX, REJECTED, RuleFinding
from controller.products.tables import NARROW, conform
from controller.products.tables import REJECTED as REJECTED_SCHEMA
from controller.sources import fetching, readers
from controller.sources.direct import Direct
from controller.sources.spool import Spool


@dataclass(frozen=True, slots=True)
class Read:
    """Rows of one accepted read."""

    accepted: pl.DataFrame
    rejected: pl.DataFrame
    findings: list[RuleFinding]
    complete: bool
    rows: int
    columns: tuple[str, ...]
    repeated: pl.Series
    """Ids that came more than once."""
    others: pl.Series
    """Ids of the rows that were not accepted."""
    marked: pl.DataFrame
    """Id, line and set of broken rules of all rows."""
    readable: bool
    """Every record was one."""


class Bytes(Protocol):
    """Bytes of a read, or of a part of it."""

    def pieces(self) -> Iterator[bytes]: ...

    def head(self, size: int) -> bytes: ...


class Whole(Bytes, Protocol):
    """Bytes of a read."""

    size: int

    @property
    def digest(self) -> str: ...

    @property
    def descriptor(self) -> int: ...


class Taker(Protocol):
    """Takes checked rows, and returns them with `_order`."""

    def add(self, frame: pl.DataFrame) -> pl.DataFrame: ...


class LineMap(Protocol):
    """Lines of chosen records, counted in the whole source."""

    def actual(self, frame: pl.DataFrame) -> pl.DataFrame: ...

    def of(self, findings: Findings) -> Findings: ...


@contextlib.contextmanager
def opened(
    request: RefreshRequest, credentials: SourceCredentials, context: Context
) -> Iterator[tuple[Spool | Direct, Version]]:
    """Yield the bytes of the source. Plain text on a volume is read in place; everything else is spooled."""
    scratch, bytes_max = context.store.spool_directory(), request.limits.source_bytes_max
    with fetching.in_place(request.items, request.source_roots, bytes_max, scratch) as direct:
        if direct is not None:
            yield direct, Version(direct.version, None)
            direct.must_be_unchanged()
            return
    around = fetching.Surroundings(
        open_http=lambda: context.http(request.allowed_networks),
        allowed_networks=request.allowed_networks,
        roots=request.source_roots,
        scratch=scratch,
        rows_max=request.limits.rows_max,
    )
    with Spool(around.scratch, bytes_max) as spooled:
        yield spooled, fetching.fetch(request.items, credentials, around, spooled)


@dataclass(frozen=True, slots=True)
class WholeRead:
    """Rows of a source that was read as a whole."""

    gathering: Gathering
    separated: Separated
    findings: list[RuleFinding]
    complete: bool
    rows: int
    columns: tuple[str, ...]
    readable: bool
    """Every record was one."""

    @property
    def rejected(self) -> pl.DataFrame:
        return self.separated.rejected

    @property
    def alive(self) -> npt.NDArray[np.bool_]:
        """Which of the rows that may be accepted are."""
        found = np.ones(self.gathering.fit, bool)
        found[self.separated.dead] = False
        return found


def read_rows(
    entry: ItemsEntry,
    spooled: Spool | Direct,
    taker: Taker,
    gathering: Gathering,
    line_bytes_max: int,
    book: MaskBook,
    over: Overlaid,
) -> WholeRead:
    """Parse, map, check. What a row is called stays with it as its line."""
    findings = Findings()
    shape = readers.shape(fetching.format_of(entry), spooled)
    opened = readers.open_rows(shape, spooled, findings, line_bytes_max)
    readers.require(opened.columns, entry.evidence.required_columns)
    frames = iter(opened.frames)
    first = list(itertools.islice(frames, 1))
    plan = mapping.plan(entry, opened.columns, *first) if opened.columns else None

    def again() -> Iterable[pl.DataFrame]:
        return readers.open_rows(shape, spooled, Findings(), line_bytes_max).frames

    blocks = ahead(itertools.chain(first, frames))
    checks: list[RuleFinding] = []
    number = 0
    for narrow, found in _checked(plan.assembly.frames(blocks, again), plan, entry, taker, book, over) if plan else ():
        gathering.add(narrow)
        checks = rules.merge([*checks, *found])
        number += 1
    if not gathering.rows and not findings.bad_rows:
        raise Fault("SourceEmpty", Disposition.RETRY, "the source has no rows; nothing was changed")
    if not number:
        raise Fault("SourceMalformed", Disposition.RETRY, "no row can be read; check format and delimiter")
    left = plan.assembly.findings() if plan else []
    named = [*_in_order(checks, plan), *left, *guessed(spooled), *overlays.findings(over.blames)]
    separated = gathering.separated()
    return WholeRead(
        gathering,
        separated,
        [*named, *_duplicate_finding(separated.twice), *_malformed_finding(findings)],
        complete=findings.complete and not gathering.unnamed,
        rows=gathering.rows + findings.bad_rows,
        columns=opened.columns,
        readable=findings.bad_rows == 0 and not findings.resynchronised,
    )


def read_candidates(
    entry: ItemsEntry,
    frames: Iterable[pl.DataFrame],
    findings: Findings,
    spill: Spill,
    book: MaskBook,
    columns: tuple[str, ...],
    plan: mapping.MappingPlan,
    lines: LineMap,
    over: Overlaid,
) -> Read:
    """Map and check some records of a source whose others are known. `findings` fill while `frames` are read.

    Raises UnsuitableError where these rows cannot be understood without the others.
    """
    rows = plan.assembly.frames(_with_columns(frames, columns), _never_again)
    checked = [(lines.actual(frame), found) for frame, found in _checked(rows, plan, entry, spill, book, over)]
    if not checked:
        raise UnsuitableError
    whole = pl.concat([frame for frame, _ in checked])
    named = _in_order(rules.merge([each for _, found in checked for each in found]), plan)
    named += overlays.findings(over.blames)
    return _separated(whole, named, lines.of(findings), entry, columns)


def _in_order(found: list[RuleFinding], plan: mapping.MappingPlan | None) -> list[RuleFinding]:
    """Order findings as the rules stand, whatever the order of the rows."""
    places = {rule.name: place for place, rule in enumerate(plan.rules() if plan else ())}
    return sorted(found, key=lambda each: places[each.rule])


def rules_of(entry: ItemsEntry, columns: tuple[str, ...]) -> list[Rule]:
    """The rules that rows with these columns are checked by."""
    return mapping.plan(entry, columns).rules()


def _never_again() -> Iterable[pl.DataFrame]:
    raise UnsuitableError  # what looks at its rows twice does not take them record by record


def _with_columns(frames: Iterable[pl.DataFrame], columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
    for frame in frames:
        if not set(frame.columns) <= {*columns, LINE}:
            raise UnsuitableError  # a field that no object had before
        yield frame


def guessed(spooled: Spool | Direct) -> list[RuleFinding]:
    if not spooled.encoding.guessed:
        return []
    name = spooled.encoding.name
    message = f"the text is not UTF-8 and seems to be {name}; if that is right, say so: format.encoding: {name}"
    return [RuleFinding("encoding-guessed", "Warning", 1, message, ())]


def _checked(
    frames: Iterable[pl.DataFrame],
    plan: mapping.MappingPlan,
    entry: ItemsEntry,
    spill: Taker,
    book: MaskBook,
    over: Overlaid,
) -> Iterator[tuple[pl.DataFrame, list[RuleFinding]]]:
    """Map, normalise, check and hash block by block. The rows go to the spill; only narrow columns are returned."""
    named = plan.rules()
    for frame in frames:
        mapped = mapping.apply(frame, plan, keep=(LINE,))
        mapped = rules.normalise(mapped, entry.currency, decimal_comma=plan.decimal_comma)
        mapped = over.onto(mapped)
        flags = rules.flags_of(mapped, named)
        checked, found = rules.check(mapped, named, flags)
        over.judge(checked, flags, named)
        narrow = spill.add(hashed(checked, plan.fields)).select(*NARROW, LINE, REJECTED, ORDER)
        yield narrow.with_columns(book.number(flags).alias(MASK)), found


def hashed(rows: pl.DataFrame, fields: list[str]) -> pl.DataFrame:
    """Add the hashes by which rows are compared."""
    return rows.with_columns(group_hash(fields).alias("_group_hash"), static_hashes(rows, fields)).with_columns(
        _row_hash=row_hash(pl.col("_static_hash")), _slot=slot(pl.col("_group_hash"))
    )


def _separated(
    whole: pl.DataFrame, found: list[RuleFinding], findings: Findings, entry: ItemsEntry, columns: tuple[str, ...]
) -> Read:
    """Tell accepted from rejected rows; of rows with one id, keep one and name the others."""
    twice = rules.duplicates(whole.select(ID, LINE, REJECTED, ORDER))
    found = [*found, *_duplicate_finding(twice), *_malformed_finding(findings)]
    fit = pl.col(REJECTED).is_null()
    if entry.rejected_rows is RejectedRows.SEND:
        fit = pl.col(ID).is_not_null()
    again = pl.col(ORDER).is_in(twice.get_column(ORDER).implode())
    accepted = whole.drop(REJECTED)
    if twice.height or any(each.level == "Error" for each in found):
        accepted = whole.filter(fit & ~again).drop(REJECTED)
    rejected = whole.filter(~fit & ~again).select(ID, line=LINE, rules=REJECTED)
    repeated = twice.select(ID, line=LINE, rules=pl.lit("id-duplicate"), kept_line="_kept_line")
    unnamed = bool(whole.get_column(ID).null_count())
    return Read(
        accepted=accepted,
        rejected=conform(pl.concat([rejected, repeated], how="diagonal"), REJECTED_SCHEMA).sort("line"),
        findings=found,
        complete=findings.complete and not unnamed,
        rows=whole.height + findings.bad_rows,
        columns=columns,
        repeated=twice.get_column(ID),
        others=whole.filter(~fit | again).get_column(ID).drop_nulls(),
        marked=whole.select(ID, LINE, MASK),
        readable=findings.bad_rows == 0 and not findings.resynchronised,
    )


def _duplicate_finding(twice: pl.DataFrame) -> list[RuleFinding]:
    if not twice.height:
        return []
    one = twice.row(0, named=True)
    message = (
        "id must be unique: Meta drops every row of a repeated one, so the first good row is kept; "
        f"e.g. {one[ID]} on lines {one['_kept_line']} and {one[LINE]}"
    )
    samples = tuple(twice.get_column(ID).unique(maintain_order=True).head(NAMED_MAX).to_list())
    return [RuleFinding("id-duplicate", "Error", twice.height, message, samples)]


def _malformed_finding(findings: Findings) -> list[RuleFinding]:
    if not findings.bad_rows:
        return []
    named = "; ".join(
        f"{findings.unit} {bad.line_from}"
        + (f"–{bad.line_to}" if bad.line_to > bad.line_from else "")
        + f" {bad.reason}"
        for bad in findings.samples[:3]
    )
    message = f"rows must be readable, until then nothing counts as gone: {named}"
    return [RuleFinding("row-malformed", "Error", findings.bad_rows, message, ())]
