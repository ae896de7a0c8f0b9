"""A read whose unchanged records are recognised by their bytes: only the others are parsed, mapped and checked.

The result is the one that parsing everything would give. Where that cannot be had from the changed records alone (a
new duplicate of a known row, a quote that is not closed, another header, more changed than known), there is none, and
everything is parsed.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from controller.api.v1alpha1.items import FileType
from controller.ports.preparing import RefreshRequest
from controller.preparing.arrays import release
from controller.preparing.context import Context
from controller.preparing.row_state import RowState, guard_of, splitter_of
from controller.preparing.source_rows import Read, guessed, read_candidates
from controller.preparing.spill import ORDER, Spill
from controller.preparing.walk import Walked, walk
from controller.products import mapping
from controller.products.advice import Rule
from controller.products.fields import ID
from controller.products.masks import MaskBook
from controller.products.nested import COLUMNS_MAX
from controller.products.overlays import Overlaid
from controller.products.prints import MASK, RAW, Rows
from controller.products.raw import Places, UnsuitableError
from controller.products.records import LINE, Bad, Findings
from controller.products.rules import NAMED_MAX, RuleFinding
from controller.products.shapes import HEAD_BYTES as SHAPE_BYTES
from controller.products.shapes import Shape, shape_of
from controller.products.splitting import HEAD_BYTES, Splitter
from controller.products.tables import NARROW, REJECTED, empty
from controller.sources import fetching
from controller.sources.direct import Direct
from controller.sources.spool import Spool

DELTA_SHARE_MAX = 0.25
"""Of the base. When more has changed since, everything is read anew and becomes the new base."""
DELTA_TABLES_MAX = 64
TOUCHED_ROWS = 1 << 14
"""Rows that are looked at in the fingerprints before their memory is given back."""
SAMPLE_BYTES = 1 << 20
"""Enough for the rows that a mapping looks at."""
SAMPLE_RECORDS = 2 * mapping.SAMPLE_ROWS
"""Of formats that cost time to parse and have no blank records."""
RECORD = "_record"
"""Column with the number of the chosen record that a row starts."""


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
    """Turns a line of the chosen records into the line of the source. Numbers of rows are lines here."""

    def __init__(self, splitter: Splitter, walked: Walked) -> None:
        candidates = walked.candidates
        heights = np.array(candidates.heights, np.int64)
        self._starts = splitter.first_chosen + np.cumsum(heights) - heights
        self._stop = splitter.first_chosen + int(heights.sum())
        self._actual = np.array(candidates.lines, np.int64)
        self._hashes = np.where(np.array(candidates.plain, bool), np.array(candidates.hashes, np.uint64), np.uint64(0))
        self._exact = candidates.exact
        self._blank = np.array(candidates.blank, bool)
        self._late = splitter.late
        self._rows = np.zeros(heights.size, np.int64)
        self._begun = np.zeros(heights.size, bool)
        self._pieces = np.array(candidates.pieces, np.int64)
        self._met: list[npt.NDArray[np.int64]] = []

    def _numbers(self, lines: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
        if lines.size and int(lines.max()) >= self._stop:
            raise UnsuitableError  # a record was more than one row
        return np.searchsorted(self._starts, lines, "right") - 1

    def actual(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Name rows by the lines of the source, and tell which record each comes from."""
        found = frame.get_column(LINE).to_numpy().astype(np.int64)
        numbers = self._numbers(found)
        np.add.at(self._rows, numbers, 1)
        self._met.append(self._pieces[numbers])
        starts = self._starts[numbers]
        self._begun[numbers if self._late else numbers[found == starts]] = True
        lines = pl.Series(LINE, self._actual[numbers] + found - starts, dtype=pl.UInt64)
        first = np.where(found == starts, numbers, -1)
        return frame.with_columns(lines, pl.Series(RECORD, first, dtype=pl.Int64))

    def of(self, findings: Findings) -> Findings:
        """Name bad records by their lines. Only such that stand for themselves are understood alone."""
        if findings.resynchronised:
            raise UnsuitableError
        named = Findings(findings.unit)
        for bad in findings.samples:
            first, last = self._numbers(np.array([bad.line_from, bad.line_to])).tolist()
            shift = int(self._actual[first] - self._starts[first])
            begins = self._late or bad.line_from == self._starts[first]
            if first != last or not begins or not self._exact[first]:
                raise UnsuitableError
            named.add(Bad(bad.line_from + shift, bad.line_to + shift, bad.reason))
            self._begun[first] = True
        if named.bad_rows != findings.bad_rows or not (self._begun | self._blank).all():
            raise UnsuitableError
        return named

    def pieces(self) -> npt.NDArray[np.int64]:
        """Return of each row that was read, in order, on which piece of the source its record starts."""
        return np.concatenate(self._met) if self._met else np.empty(0, np.int64)

    def raw(self, records: pl.Series) -> pl.Series:
        """Hashes of the records that are one row each."""
        numbers = records.to_numpy()
        alone = (numbers >= 0) & (self._rows[numbers] == 1)
        return pl.Series(RAW, np.where(alone, self._hashes[numbers], np.uint64(0)), dtype=pl.UInt64).replace({0: None})


def read_increment(
    request: RefreshRequest, context: Context, spooled: Spool | Direct, state: RowState, spill: Spill, over: Overlaid
) -> Increment | None:
    """Read what changed, or return None where everything has to be read."""
    rows = state.rows
    delta = rows.delta.rows if rows.delta is not None else 0
    if not mapping.is_record_by_record(request.items):
        return None
    if max(delta, rows.dead.size) > rows.base.rows * DELTA_SHARE_MAX or len(state.manifest.later) >= DELTA_TABLES_MAX:
        return None
    splitter = splitter_of(request.items, spooled.head(HEAD_BYTES), request.limits.line_bytes_max)
    if splitter is None or state.manifest.guard != guard_of(request, state.manifest.columns, splitter.guard):
        return None
    shape, limit = shape_of(fetching.format_of(request.items), spooled.head(SHAPE_BYTES)), request.limits.line_bytes_max
    if not _names_its_columns(shape) and (
        request.items.evidence.required_columns or len(state.manifest.columns) >= COLUMNS_MAX
    ):
        return None  # that nothing has a column any more, or one too many, is seen by reading everything
    scratch = context.store.spool_directory()
    shared = request.limits.shared_bytes_min
    try:
        with walk(spooled.descriptor, spooled.size, splitter, rows.known(), scratch, shared_bytes_min=shared) as walked:
            plan = mapping.plan(request.items, state.manifest.columns, _first_rows(spooled, splitter, limit))
            found = _increment(request, splitter, walked, state, spill, plan, over)
            named = {rule.name for rule in plan.rules()}
            return replace(found, read=replace(found.read, findings=_with_guess(found.read.findings, spooled, named)))
    except UnsuitableError:
        return None


def _first_rows(spooled: Spool | Direct, splitter: Splitter, line_bytes_max: int) -> pl.DataFrame | None:
    """Read the rows that a mapping looks at."""
    pieces = spooled.head(splitter.head_bytes + SAMPLE_BYTES)[splitter.head_bytes :].split(splitter.end)
    carried = pieces.pop()
    if spooled.size <= splitter.head_bytes + SAMPLE_BYTES:
        last, _ = splitter.last(carried)
        pieces += [last] if last is not None else []
    records = _records(pieces, splitter)
    chosen = itertools.islice(records, SAMPLE_RECORDS) if splitter.tail_follows else records
    return next(splitter.frames(map(splitter.written, chosen), Findings(), line_bytes_max), None)


def _records(pieces: Iterable[bytes], splitter: Splitter) -> Iterator[bytes]:
    """Join pieces to records."""
    content = None
    for piece in pieces:
        content = piece if content is None else content + splitter.end + piece
        if not splitter.goes_on(content):
            yield content
            content = None


def _names_its_columns(shape: Shape) -> bool:
    return shape.type in (FileType.CSV, FileType.TSV)


def _with_guess(findings: list[RuleFinding], spooled: Spool | Direct, named: set[str]) -> list[RuleFinding]:
    """Add what is to be said of the file as a whole, behind what the rules say, as `read_rows` does."""
    first = [each for each in findings if each.rule in named]
    return [*first, *guessed(spooled), *findings[len(first) :]]


def _increment(
    request: RefreshRequest,
    splitter: Splitter,
    walked: Walked,
    state: RowState,
    spill: Spill,
    plan: mapping.MappingPlan,
    over: Overlaid,
) -> Increment:
    rows = state.rows
    if not splitter.is_closed(walked.tail, request.limits.line_bytes_max):
        raise UnsuitableError
    met = walked.places[walked.places >= 0]
    seen = np.zeros(rows.size, bool)
    seen[met] = True
    if int(seen.sum()) != met.size:
        raise UnsuitableError  # a known row came twice
    book = MaskBook.of(state.manifest.masks)
    lines = ActualLines(splitter, walked)
    read = _parsed(request, splitter, walked, state, spill, book, plan, lines, over)
    contended = pl.col(ID).is_in(read.repeated.implode())
    accepted = read.accepted.with_columns(lines.raw(read.accepted.get_column(RECORD))).drop(RECORD)
    accepted = accepted.with_columns(pl.when(~contended).then(pl.col(RAW)).alias(RAW))
    old = _found(rows, accepted.get_column(ID))
    others = _found(rows, read.others)
    if bool(seen[old[old >= 0]].any() or seen[others[others >= 0]].any()):
        raise UnsuitableError  # a known row stands beside another one with its id
    replaced = old[old >= 0]
    lost = rows.alive
    lost[met] = False
    lost[replaced] = False
    gone = np.flatnonzero(lost).astype(np.int32)
    named = plan.rules()
    findings = _findings(read, walked, lines.pieces(), state, named, book)
    return Increment(
        read=replace(read, findings=findings, rows=read.rows + met.size),
        accepted=accepted,
        replaced=narrow_of(rows, replaced),
        gone=narrow_of(rows, gone),
        dead=np.concatenate((replaced, gone)).astype(np.uint32),
        valid=int(met.size) + accepted.height,
        book=book,
    )


def _found(rows: Rows, ids: pl.Series) -> Places:
    """Return the place of each id, or -1."""
    pieces = [np.empty(0, np.int32)]
    for some in ids.to_frame().iter_slices(TOUCHED_ROWS):
        pieces.append(rows.find(some.to_series()))
        release(rows.base.ids)
    return np.concatenate(pieces)


def narrow_of(rows: Rows, places: Places) -> pl.DataFrame:
    """Return rows as they are known."""
    pieces = []
    for at in range(0, max(places.size, 1), TOUCHED_ROWS):
        pieces.append(rows.narrow(places[at : at + TOUCHED_ROWS]))
        release(rows.base.ids)
    return pl.concat(pieces)


def _parsed(
    request: RefreshRequest,
    splitter: Splitter,
    walked: Walked,
    state: RowState,
    spill: Spill,
    book: MaskBook,
    plan: mapping.MappingPlan,
    lines: ActualLines,
    over: Overlaid,
) -> Read:
    columns = state.manifest.columns
    if not walked.candidates.pieces:
        return _nothing(columns)
    findings = Findings(apart=True)
    frames = splitter.frames(walked.contents(), findings, request.limits.line_bytes_max)
    return read_candidates(request.items, frames, findings, spill, book, columns, plan, lines, over)


def _nothing(columns: tuple[str, ...]) -> Read:
    """Every record is known."""
    accepted = pl.DataFrame(schema={**NARROW, LINE: pl.UInt64, ORDER: pl.UInt32, MASK: pl.UInt16, RECORD: pl.Int64})
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
    read: Read, walked: Walked, pieces: npt.NDArray[np.int64], state: RowState, named: list[Rule], book: MaskBook
) -> list[RuleFinding]:
    """Add up what the rules say of the rows that were parsed and of those that were not.

    `pieces`: on which piece each row of `read.marked` starts.
    """
    at = np.flatnonzero(walked.places >= 0)
    masks = state.rows.take("masks", walked.places[at])
    counts = np.bincount(masks, minlength=len(book.numbers))
    sets = read.marked.get_column(MASK).to_numpy()
    with_id = read.marked.get_column(ID).is_not_null().to_numpy()
    parsed_counts = np.bincount(sets, minlength=len(book.numbers))
    found = []
    for rule in named:
        holds = np.array([rule.name in each for each in book.numbers], bool)
        count = int(counts[holds].sum() + parsed_counts[holds].sum())
        if not count:
            continue
        parsed = np.flatnonzero(holds[sets] & with_id)[:NAMED_MAX]
        new_ids = read.marked.get_column(ID).gather(parsed).to_list()
        events = list(zip(pieces[parsed].tolist(), parsed.tolist(), new_ids, strict=True))
        known = at[_first(holds, masks)]
        ids = state.rows.item_ids(walked.places[known]).to_list()
        events += zip(known.tolist(), itertools.repeat(0), ids, strict=False)
        shown = tuple(each[:100] for _, _, each in sorted(events)[:NAMED_MAX])
        found.append(RuleFinding(rule.name, rule.level, count, rule.message, shown))
    names = {rule.name for rule in named}
    return found + [each for each in read.findings if each.rule not in names]


def _first(holds: npt.NDArray[np.bool_], masks: npt.NDArray[np.generic]) -> npt.NDArray[np.intp]:
    """Return where the first rows are that a finding names."""
    size = NAMED_MAX
    while True:
        found = np.flatnonzero(holds[masks[:size]])
        if found.size >= NAMED_MAX or size >= masks.size:
            return found[:NAMED_MAX]
        size *= 8
