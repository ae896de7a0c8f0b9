"""Reads overlays: each by its own evidence, into a table of its own. One that cannot be read keeps its last good state.

What a read finds is gathered onto the table of the reads before it (`products.overlays`). Under another mapping, or
from another source, it is gathered anew.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from controller.api.v1alpha1.items import (
    ID_COLUMN,
    NOT_OVERLAID,
    ColumnMapping,
    DecimalSeparator,
    EmptyCells,
    ItemsEntry,
    Overlay,
)
from controller.faults import Disposition, Fault
from controller.ports.locales import Locale
from controller.ports.preparing import (
    OverlayHead,
    OverlayRequest,
    OverlayResult,
    RefreshHead,
    RefreshRequest,
    RefusedRead,
    RuleCount,
    SourceCredentials,
)
from controller.ports.sources import Version
from controller.preparing.context import Context
from controller.preparing.evidence import REFUSALS, is_later, must_be_enough, refuse_older
from controller.preparing.findings import rule_count
from controller.preparing.locales_reading import write_localized
from controller.preparing.objects import scan_table, table_key
from controller.preparing.overlay_tables import SAID, Sieve, follow, has_table, read_remarks, write_remarks
from controller.preparing.source_rows import opened
from controller.products import localized, mapping, rules
from controller.products.fields import CURRENCY, ID
from controller.products.mapping import MappingPlan
from controller.products.overlays import Gathered, Layer, Overlaid
from controller.products.records import Findings
from controller.products.rules import ROW_CURRENCY
from controller.products.tables import Kind
from controller.sources import fetching, readers
from controller.sources.direct import Direct
from controller.sources.spool import Spool
from controller.stores.local import LocalStore, storage_fault

SUPERSEDED_MAX = 16
IDS = pl.Schema({ID: pl.String})


@dataclass(frozen=True, slots=True)
class Taken:
    """Where the overlays stand after this step's reads."""

    heads: tuple[OverlayHead, ...]
    """Those that were ever read, in order of precedence."""
    results: tuple[OverlayResult, ...]
    changed: pl.DataFrame
    """Ids of which an overlay says something else than it did in the rows of the previous refresh."""
    fields: frozenset[str]
    """Of the overlays that changed."""
    anew: bool
    """Other fields or other overlays than before: every row has to be mapped again."""

    def named(self, entry: ItemsEntry) -> ItemsEntry:
        """Let every overlay name the fields that it gives."""
        fields = {each.name: each.fields for each in laid_over(self.heads)}
        overlays = tuple(
            each.model_copy(
                update={"columns": tuple(ColumnMapping(field=name, column=name) for name in fields[each.name])}
            )
            if each.name in fields
            else each
            for each in entry.overlays
        )
        return entry.model_copy(update={"overlays": overlays}) if overlays else entry


@dataclass(frozen=True, slots=True)
class _Read:
    """What one read says."""

    changed: pl.DataFrame
    """Rows that say something new; all of them where ids are repeated."""
    fields: tuple[str, ...]
    findings: Findings
    rows: int
    nameless: int
    repeated: bool
    """Ids came more than once."""
    known: OverlayHead | None
    """What it follows: the table of the last read, if that has the same fields."""
    left_out: tuple[str, ...] = ()
    """Columns with the names of fields that this localization may not have."""


def take(request: RefreshRequest, credentials: SourceCredentials, context: Context) -> Taken:
    """Read the overlays that the request names."""
    wanted = {each.name: each for each in request.overlays}
    known = request.previous.overlays if request.previous is not None else ()
    before = {each.name: each for each in known if each.name not in wanted or has_table(context.store, each)}
    heads: list[OverlayHead] = []
    results: dict[str, OverlayResult] = {}
    changed: list[pl.DataFrame] = []
    fields: set[str] = set()
    for overlay in request.items.overlays:
        head = before.get(overlay.name)
        if overlay.name in wanted:
            own = credentials.overlays.get(overlay.name, SourceCredentials())
            head, refused, ids = _taken(request, wanted[overlay.name], overlay, head, own, context)
            results[overlay.name] = OverlayResult(name=overlay.name, refused=refused)
            if head is not None and head.locale is None and ids.height:
                changed.append(ids)
                fields |= set(head.fields)
        heads += [head] if head is not None else []
    return Taken(
        tuple(heads),
        tuple(results[each.name] for each in request.overlays if each.name in results),
        pl.concat([IDS.to_frame(), *changed]).unique(ID, maintain_order=True),
        frozenset(fields),
        anew=_gives(laid_over(heads)) != _gives(laid_over(before.values())),
    )


def overlaid(store: LocalStore, heads: Sequence[OverlayHead], ids: pl.DataFrame | None = None) -> Overlaid:
    """Make the overlays ready to be laid over rows, or over those of some ids."""
    layers = []
    for each in laid_over(heads):
        rows = scan_table(store, each.table)
        if ids is not None:
            rows = rows.join(ids.lazy(), on=ID, how="semi", maintain_order="left")
        layers.append(Layer(each.name, each.fields, rows.collect(engine="streaming")))
    return Overlaid(tuple(layers))


def laid_over(heads: Iterable[OverlayHead]) -> list[OverlayHead]:
    """Overlays whose values are for all; those for one language or country are sent beside the rows."""
    return [each for each in heads if each.locale is None]


def remarks(store: LocalStore, heads: Sequence[OverlayHead]) -> list[RuleCount]:
    """What is to be said of the overlays themselves."""
    found: list[RuleCount] = []
    for head in heads:
        found += read_remarks(store, head.table)
        if head.unknown:
            message = f"overlay {head.name} has ids that the full source does not have; no item is made of them"
            found.append(_remark(head.name, "unknown", head.unknown, message, head.sample_unknown))
    return found


def _gives(heads: Iterable[OverlayHead]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(each.name, each.configuration_digest, each.fields) for each in heads]


def _taken(
    request: RefreshRequest,
    wanted: OverlayRequest,
    overlay: Overlay,
    before: OverlayHead | None,
    credentials: SourceCredentials,
    context: Context,
) -> tuple[OverlayHead | None, RefusedRead | None, pl.DataFrame]:
    digest: list[str] = []
    try:
        head, changed = _read_one(request, wanted, overlay, before, credentials, context, digest)
    except Fault as fault:
        if fault.reason not in REFUSALS:
            raise
        return (
            before,
            RefusedRead(reason=fault.reason, message=fault.message, digest=next(iter(digest), None)),
            IDS.to_frame(),
        )
    except OSError as error:  # of our own disk: what a source says is a Fault by now
        raise storage_fault(error, "spooling an overlay") from error
    return head, None, changed


def _read_one(
    request: RefreshRequest,
    wanted: OverlayRequest,
    overlay: Overlay,
    before: OverlayHead | None,
    credentials: SourceCredentials,
    context: Context,
    seen: list[str],
) -> tuple[OverlayHead, pl.DataFrame]:
    known = before if before is not None and before.configuration_digest == wanted.configuration_digest else None
    own = _as_source(request, wanted, overlay, known)
    with opened(own, credentials, context) as (spooled, version):
        digest = spooled.digest
        seen.append(digest)
        if known is not None and digest == known.digest:
            tags = {"etag": version.etag, "last_modified": version.last_modified}
            return known.model_copy(update=tags), IDS.to_frame()
        if known is None or not is_later(version.last_modified, known.last_modified):
            refuse_older(own, digest, version)  # a small file may well say again what it said before
        read = _rows(own, overlay, request.items.currency, spooled, known, context.store)
    rows = read.rows + read.findings.bad_rows
    must_be_enough(own, rows, read.rows)
    gathered, ids = follow(
        context.store,
        table_key(request.prefix, Kind.OVERLAY, wanted.name),
        read.known,
        read.changed,
        read.fields,
        clears=overlay.empty_cells is EmptyCells.CLEAR,
        repeated=read.repeated,
    )
    head = _head(request, wanted, known, read.fields, digest, version, rows, ids)
    said = _remarks(overlay, read, gathered)
    if overlay.override is not None:
        locale = Locale(language=overlay.override.language, country=overlay.override.country)
        key, found = write_localized(context.store, request.prefix, wanted.name, head.table, read.fields)
        head = head.model_copy(update={"locale": locale, "localized": key})
        said += [rule_count(each) for each in found]
    write_remarks(context.store, head.table, said)
    return head, gathered.changed if read.known is not None else IDS.to_frame()


def _head(
    request: RefreshRequest,
    wanted: OverlayRequest,
    known: OverlayHead | None,
    fields: tuple[str, ...],
    digest: str,
    version: Version,
    rows: int,
    ids: int,
) -> OverlayHead:
    superseded = dict.fromkeys((known.digest, *known.superseded_digests) if known is not None else ())
    superseded.pop(digest, None)
    return OverlayHead(
        name=wanted.name,
        read_at=request.now,
        digest=digest,
        etag=version.etag,
        last_modified=version.last_modified,
        configuration_digest=wanted.configuration_digest,
        fields=fields,
        table=table_key(request.prefix, Kind.OVERLAY, wanted.name),
        rows=rows,
        ids=ids,
        superseded_digests=tuple(superseded)[:SUPERSEDED_MAX],
    )


def _as_source(
    request: RefreshRequest, wanted: OverlayRequest, overlay: Overlay, known: OverlayHead | None
) -> RefreshRequest:
    """Describe the overlay as if it were a full source, for everything that looks at bytes and counts only."""
    entry = ItemsEntry(
        name=overlay.name,
        source=overlay.source,
        format=overlay.format,
        evidence=overlay.evidence,
        currency=request.items.currency,
    )
    previous = None
    if known is not None:
        names = ("read_at", "digest", "etag", "last_modified", "configuration_digest", "superseded_digests", "rows")
        previous = RefreshHead(sequence=0, **{name: getattr(known, name) for name in names})
    return request.model_copy(
        update={"items": entry, "previous": previous, "accept_went_back": wanted.accept_went_back}
    )


def _rows(
    own: RefreshRequest,
    overlay: Overlay,
    currency: str | None,
    spooled: Spool | Direct,
    known: OverlayHead | None,
    store: LocalStore,
) -> _Read:
    """Parse, map, normalise; hold back what was said before."""
    findings = Findings()
    shape = readers.shape(fetching.format_of(own.items), spooled)
    limit = own.limits.line_bytes_max
    rows = readers.open_rows(shape, spooled, findings, limit)
    if not rows.columns:
        raise Fault("SourceEmpty", Disposition.RETRY, "the overlay has no rows; nothing was changed")
    readers.require(rows.columns, overlay.evidence.required_columns)
    plan = plan_of(overlay, rows.columns)
    fields = tuple(name for name in plan.fields if name in plan.columns and name != ID)
    known = known if known is not None and known.fields == fields else None
    sieve = Sieve(store, known)
    nothing = pl.DataFrame(schema={**dict.fromkeys((ID, *fields), pl.String), SAID: pl.UInt64})
    passed, height, nameless = [nothing], 0, 0
    for frame in _normalised(rows.frames, plan, fields, currency):
        height += frame.height
        nameless += frame.get_column(ID).null_count()
        passed.append(sieve.passed(frame, fields))
    if not height and not findings.bad_rows:
        raise Fault("SourceEmpty", Disposition.RETRY, "the overlay has no rows; nothing was changed")
    repeated = sieve.repeated
    if repeated:
        whole = Sieve(store, None)
        again = readers.open_rows(shape, spooled, Findings(), limit).frames
        passed = [nothing, *(whole.passed(each, fields) for each in _normalised(again, plan, fields, currency))]
    return _Read(
        pl.concat(passed), fields, findings, height, nameless, repeated, known, _left_out(overlay, rows.columns)
    )


def _may_carry(overlay: Overlay, name: str) -> bool:
    if overlay.override is None:
        return True
    locale = Locale(language=overlay.override.language, country=overlay.override.country)
    return localized.may_carry(name, locale.type)


def _left_out(overlay: Overlay, available: Sequence[str]) -> tuple[str, ...]:
    """Columns that would be taken by their names, if they were not for one language or country."""
    if overlay.columns:
        return ()
    return tuple(name for name in mapping.same_names(list(available)) if not _may_carry(overlay, name))


def _normalised(
    frames: Iterable[pl.DataFrame], plan: MappingPlan, fields: Sequence[str], currency: str | None
) -> Iterator[pl.DataFrame]:
    for frame in frames:
        mapped = mapping.apply(frame, plan)
        kept = [name for name in (ID, *fields, ROW_CURRENCY) if name in mapped.columns]
        normal = rules.normalise(mapped.select(kept), currency, decimal_comma=plan.decimal_comma)
        yield normal.select(ID, *fields)


def plan_of(overlay: Overlay, available: Sequence[str]) -> MappingPlan:
    """Resolve what an overlay declares against the columns that it has."""
    names = list(available)
    similar = mapping.same_names(names)
    problems: list[str] = []
    paths: dict[str, tuple[str, str]] = {}

    def found(name: str, where: str) -> str:
        place = mapping.locate(name, names)
        if place is None:
            problems.append(f"{where}: the overlay has no column {name!r}{mapping.nearest(name, names)}")
        elif place != (name, ""):
            paths[name] = place
        return name

    if overlay.id_column == ID_COLUMN and ID_COLUMN not in names and ID in similar:
        columns = {ID: similar[ID]}
    else:
        columns = {ID: found(overlay.id_column, "idColumn")}
    if overlay.columns:
        columns |= {each.field: found(each.column, f"columns[{each.field}]") for each in overlay.columns}
    else:
        columns |= {
            name: column for name, column in similar.items() if name not in NOT_OVERLAID and _may_carry(overlay, name)
        }
    problems += [
        f"columns[{name}]: the values of a language or country cannot have {name}"
        for name in columns
        if not _may_carry(overlay, name)
    ]
    if not set(columns) - {ID, CURRENCY}:
        problems.append("no column has the name of a field; say in columns which fields the overlay gives")
    values: dict[str, dict[str, str | None]] = {}
    for each in overlay.values:
        values.setdefault(each.field, {})[each.from_.strip()] = each.to.strip() or None
    problems += [f"values[{name}]: the overlay does not give {name}" for name in sorted(values.keys() - columns.keys())]
    if problems:
        raise mapping.invalid("; ".join(problems))
    return MappingPlan(columns, {}, values=values, paths=paths, decimal_comma=overlay.decimal is DecimalSeparator.COMMA)


def _remarks(overlay: Overlay, read: _Read, gathered: Gathered) -> list[RuleCount]:
    found, name = [], overlay.name
    if read.left_out:
        message = f"overlay {name} has columns that Meta does not take for its language or country, and they are left "
        found.append(_remark(name, "left-out", len(read.left_out), f"{message}out: {', '.join(read.left_out)}", ()))
    if gathered.repeated:
        message = f"overlay {name} has ids more than once: of each, the last row with a value counts"
        found.append(_remark(name, "repeated", gathered.repeated, message, gathered.sample_repeated))
    unread = read.findings.bad_rows + read.nameless
    if unread:
        lines = "; ".join(f"{read.findings.unit} {bad.line_from} {bad.reason}" for bad in read.findings.samples[:3])
        message = (
            f"overlay {name} has rows that say nothing: they have no id or cannot be read{lines and f' ({lines})'}"
        )
        found.append(_remark(name, "malformed", unread, message, ()))
    return found


def _remark(overlay: str, kind: str, count: int, message: str, samples: Sequence[str]) -> RuleCount:
    return RuleCount(
        rule=f"overlay-{overlay}-{kind}", level="Warning", count=count, message=message, sample_ids=tuple(samples)
    )
