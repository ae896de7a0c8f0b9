"""A read whose unchanged records are recognised by their bytes: only the others are parsed, mapped and checked.

The result is the one that parsing everything would give. Where that cannot be had from the changed records alone (a
new duplicate of a known row, a quote that is not closed, another header, more changed than known), there is none, and
everything is parsed.
"""

import itertools
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from controller.ports.preparing import RefreshRequest
from controller.preparing.context import Context
from controller.preparing.row_state import RowState, guard_of, splitter_of
from controller.preparing.source_rows import Read, guessed, plan_of, read_candidates
from controller.preparing.spill import ORDER, Spill
from controller.preparing.walk import Walked, walk
from controller.products import mapping
from controller.products.advice import Rule
from controller.products.fields import ID
from controller.products.masks import MaskBook
from controller.products.prints import MASK, RAW
from controller.products.raw import UnsuitableError, hash_of
from controller.products.reading import HEADER_BYTES_MAX
from controller.products.records import LINE, Bad, Findings
from controller.products.rules import NAMED_MAX, RuleFinding
from controller.products.shapes import HEAD_BYTES, Shape, shape_of
from controller.products.tables import NARROW, REJECTED, empty
from controller.sources import fetching
from controller.sources.direct import Direct
from controller.sources.spool import Spool

DELTA_SHARE_MAX = 0.25
"""Of the base. When more has changed since, everything is read anew and becomes the new base."""
DELTA_TABLES_MAX = 64


@dataclass(frozen=True, slots=True)
class Increment:
    """What a read changes in the rows of the one before."""

    read: Read
    """Of the records that were parsed; its counts and findings are those of the whole source."""
    accepted: pl.DataFrame
    """NARROW with `_line`, `_order`, `_mask`, `_raw`."""
    replaced: pl.DataFrame
    """Rows as they were whose ids are accepted anew: NARROW, `_partition`."""
    gone: pl.DataFrame
    """Rows as they were that are not there any more."""
    dead: npt.NDArray[np.uint32]
    """Places of both."""
    valid: int
    book: MaskBook


class ActualLines:
    """Turns a line of the chosen records into the line of the source."""

    def __init__(self, head: bytes, walked: Walked, *, quotes: bool) -> None:
        """`quotes`: line breaks may stand inside of them."""
        first = head.count(b"\n") + 1
        contents = list(walked.each())
        heights = np.fromiter((each.count(b"\n") + 1 for each in contents), np.int64, len(contents))
        self.starts = first + np.concatenate(([0], np.cumsum(heights)[:-1])) if contents else np.empty(0, np.int64)
        self._actual = np.array(walked.pieces, np.int64) + first
        self.hashes = np.fromiter(map(hash_of, contents), np.uint64, len(contents))
        self._quoted = np.fromiter((quotes and b'"' in each for each in contents), bool, len(contents))
        self._blank = np.fromiter((not each.strip(b"\r\n\t ,;|") for each in contents), bool, len(contents))
        self._rows = np.zeros(len(contents), np.int64)
        self._begun = np.zeros(len(contents), bool)

    def number(self, lines: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
        return np.searchsorted(self.starts, lines, "right") - 1

    def actual(self, lines: pl.Series) -> pl.Series:
        found = lines.to_numpy().astype(np.int64)
        numbers = self.number(found)
        np.add.at(self._rows, numbers, 1)
        self._begun[numbers[found == self.starts[numbers]]] = True
        return pl.Series(lines.name, self._actual[numbers] + found - self.starts[numbers], dtype=pl.UInt64)

    def of(self, findings: Findings) -> Findings:
        """Name bad records by their lines. Only such that stand for themselves are understood alone."""
        if findings.resynchronised:
            raise UnsuitableError
        named = Findings()
        for bad in findings.samples:
            for line in range(bad.line_from, bad.line_to + 1):
                number = int(self.number(np.array([line]))[0])
                if self._quoted[number] or line != self.starts[number]:
                    raise UnsuitableError
                at = int(self._actual[number])
                named.add(Bad(at, at, bad.reason))
                self._begun[number] = True
        if named.bad_rows != findings.bad_rows or not (self._begun | self._blank).all():
            raise UnsuitableError
        return named

    def raw(self, lines: pl.Series) -> pl.Series:
        """Hashes of the records that are one row each, by the lines of `actual`."""
        found = lines.to_numpy().astype(np.int64)
        numbers = np.searchsorted(self._actual, found, "right") - 1
        alone = (self._actual[numbers] == found) & (self._rows[numbers] == 1)
        hashes = np.where(alone, self.hashes[numbers], np.uint64(0))
        return pl.Series(RAW, hashes, dtype=pl.UInt64).replace({0: None})


def read_increment(
    request: RefreshRequest, context: Context, spooled: Spool | Direct, state: RowState, spill: Spill
) -> Increment | None:
    """Read what changed, or return None where everything has to be read."""
    rows = state.rows
    delta = rows.delta.rows if rows.delta is not None else 0
    if not mapping.is_record_by_record(request.items):
        return None
    if max(delta, rows.dead.size) > rows.base.rows * DELTA_SHARE_MAX or len(state.manifest.later) >= DELTA_TABLES_MAX:
        return None
    head = spooled.head(HEADER_BYTES_MAX)
    splitter = splitter_of(request.items, head, request.limits.line_bytes_max)
    if splitter is None:
        return None
    head = head[: splitter.head_bytes]
    if state.manifest.guard != guard_of(request, state.manifest.columns, head):
        return None
    scratch = context.store.spool_directory()
    shared = request.limits.shared_bytes_min
    try:
        with walk(spooled.descriptor, spooled.size, splitter, rows.known(), scratch, shared_bytes_min=shared) as walked:
            limit = request.limits.line_bytes_max
            plan = plan_of(request.items, state.manifest.columns, spooled, limit)
            shape = shape_of(fetching.format_of(request.items), spooled.head(HEAD_BYTES))
            found = _increment(request, head, walked, state, spill, plan, shape)
            named = {rule.name for rule in plan.rules()}
            return replace(found, read=replace(found.read, findings=_with_guess(found.read.findings, spooled, named)))
    except UnsuitableError:
        return None


def _with_guess(findings: list[RuleFinding], spooled: Spool | Direct, named: set[str]) -> list[RuleFinding]:
    """Add what is to be said of the file as a whole, behind what the rules say, as `read_rows` does."""
    first = [each for each in findings if each.rule in named]
    return [*first, *guessed(spooled), *findings[len(first) :]]


def _increment(
    request: RefreshRequest,
    head: bytes,
    walked: Walked,
    state: RowState,
    spill: Spill,
    plan: mapping.MappingPlan,
    shape: Shape,
) -> Increment:
    rows = state.rows
    if not walked.places.size:
        raise UnsuitableError  # a header and nothing else: whoever reads everything says what that means
    met = walked.places[walked.places >= 0]
    seen = np.zeros(rows.size, bool)
    seen[met] = True
    if int(seen.sum()) != met.size:
        raise UnsuitableError  # a known row came twice
    book = MaskBook.of(state.manifest.masks)
    lines = ActualLines(head, walked, quotes=bool(shape.delimiter))
    read = _parsed(request, head, walked, state, spill, book, plan, shape, lines)
    contended = pl.col(ID).is_in(read.repeated.implode())
    accepted = read.accepted.with_columns(lines.raw(read.accepted.get_column(LINE)))
    accepted = accepted.with_columns(pl.when(~contended).then(pl.col(RAW)).alias(RAW))
    old = rows.find(accepted.get_column(ID))
    others = rows.find(read.others)
    if bool(seen[old[old >= 0]].any() or seen[others[others >= 0]].any()):
        raise UnsuitableError  # a known row stands beside another one with its id
    replaced = old[old >= 0]
    lost = rows.alive
    lost[met] = False
    lost[replaced] = False
    gone = np.flatnonzero(lost).astype(np.int32)
    named = plan.rules()
    findings = _findings(read, walked, head.count(b"\n") + 1, state, named, book)
    return Increment(
        read=replace(read, findings=findings, rows=read.rows + met.size),
        accepted=accepted,
        replaced=rows.narrow(replaced),
        gone=rows.narrow(gone),
        dead=np.concatenate((replaced, gone)).astype(np.uint32),
        valid=int(met.size) + accepted.height,
        book=book,
    )


def _parsed(
    request: RefreshRequest,
    head: bytes,
    walked: Walked,
    state: RowState,
    spill: Spill,
    book: MaskBook,
    plan: mapping.MappingPlan,
    shape: Shape,
    lines: ActualLines,
) -> Read:
    columns = state.manifest.columns
    if not walked.pieces:
        return _nothing(columns)
    return read_candidates(
        request.items,
        itertools.chain([head], walked.contents()),
        shape,
        spill,
        request.limits.line_bytes_max,
        book,
        columns,
        plan,
        lines,
    )


def _nothing(columns: tuple[str, ...]) -> Read:
    """Every record is known."""
    accepted = pl.DataFrame(schema={**NARROW, LINE: pl.UInt64, ORDER: pl.UInt32, MASK: pl.UInt16})
    ids = accepted.get_column(ID)
    return Read(
        accepted,
        empty(REJECTED),
        [],
        True,
        0,
        columns,
        ids,
        ids,
        accepted.select(ID, LINE, MASK),
        readable=True,
    )


def _findings(
    read: Read, walked: Walked, first_line: int, state: RowState, named: list[Rule], book: MaskBook
) -> list[RuleFinding]:
    """Add up what the rules say of the rows that were parsed and of those that were not."""
    at = np.flatnonzero(walked.places >= 0)
    masks = state.rows.take("masks", walked.places[at])
    counts = np.bincount(masks, minlength=len(book.numbers))
    found = []
    for rule in named:
        holds = np.array([rule.name in each for each in book.numbers], bool)
        parsed = read.marked.filter(pl.col(MASK).is_in(np.flatnonzero(holds).tolist()))
        count = int(counts[holds].sum()) + parsed.height
        if not count:
            continue
        samples = parsed.filter(pl.col(ID).is_not_null()).head(NAMED_MAX)
        events = list(zip(samples.get_column(LINE).to_list(), samples.get_column(ID).to_list(), strict=True))
        known = at[np.flatnonzero(holds[masks])[:NAMED_MAX]]
        ids = [row[0] for row in state.rows.values(walked.places[known])]
        events += zip((known + first_line).tolist(), ids, strict=True)
        shown = tuple(each[:100] for _, each in sorted(events)[:NAMED_MAX])
        found.append(RuleFinding(rule.name, rule.level, count, rule.message, shown))
    names = {rule.name for rule in named}
    return found + [each for each in read.findings if each.rule not in names]
