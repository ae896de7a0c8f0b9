"""One version of a source becomes rows: fetched, parsed, mapped, checked; accepted or rejected with their lines.

The bytes go through in blocks. What stays of a block are its mapped values and hashes.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import polars as pl

from controller.api.v1alpha1.items import Compression, FileType, ItemsEntry, RejectedRows
from controller.faults import Disposition, Fault
from controller.ports.preparing import RefreshRequest, SourceCredentials
from controller.preparing.context import Context
from controller.preparing.spill import ORDER, Spill
from controller.products import mapping, reading, rules
from controller.products.fields import ID
from controller.products.fingerprints import group_hash, row_hash, slot, static_hash
from controller.products.records import Findings
from controller.products.rules import REJECTED, RuleFinding
from controller.products.tables import NARROW, conform
from controller.products.tables import REJECTED as REJECTED_SCHEMA
from controller.sources import spool, volume
from controller.sources.spool import Spool

SAMPLES_MAX = 10
HEAD_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Version:
    """Which version of the source was delivered."""

    etag: str | None
    last_modified: str | None


@dataclass(frozen=True, slots=True)
class Read:
    """Rows of one accepted read."""

    accepted: pl.DataFrame
    rejected: pl.DataFrame
    findings: list[RuleFinding]
    complete: bool
    rows: int


def fetch(request: RefreshRequest, credentials: SourceCredentials, context: Context, spooled: Spool) -> Version:
    source = request.items.source
    packed = {Compression.NONE: False, Compression.GZIP: True}.get(request.items.format.compression)
    if source.volume is not None:
        path = volume.locate(source.volume.name, source.volume.path, request.source_roots)
        etag = volume.version(path)
        spooled.fill(spool.decompressed(volume.read(path), gzip=packed))
        return Version(etag, None)
    with context.http(request.allowed_networks).open(source, credentials) as delivery:
        pieces = spool.decompressed(delivery.pieces, gzip=True) if delivery.gzip else delivery.pieces
        spooled.fill(spool.decompressed(pieces, gzip=packed))
        return Version(delivery.etag, delivery.last_modified)


def read_rows(entry: ItemsEntry, spooled: Spool, spill: Spill, line_bytes_max: int) -> Read:
    """Parse, map, check. What a row is called stays with it as its line."""
    shape = _shape(entry, spooled.head(HEAD_BYTES))
    findings = Findings()
    frames = reading.read(spooled.pieces(), shape, findings, line_bytes_max=line_bytes_max)
    columns, blocks = _columns(frames, shape)
    plan = mapping.plan(entry, columns) if columns else None
    checked = list(_checked(blocks, plan, entry, spill)) if plan else []
    if not any(frame.height for frame, _ in checked) and not findings.bad_rows:
        raise Fault("SourceEmpty", Disposition.RETRY, "the source has no rows; nothing was changed")
    if not checked:
        raise Fault("SourceMalformed", Disposition.RETRY, "no row can be read; check format and delimiter")
    whole = pl.concat([frame for frame, _ in checked])
    named = rules.merge([each for _, found in checked for each in found])
    return _separated(whole, named, findings, entry)


def _columns(frames: Iterator[pl.DataFrame], shape: reading.Shape) -> tuple[list[str], Iterable[pl.DataFrame]]:
    """Columns of a source: those of its header; of JSON Lines those of any object, so that all must be seen first."""
    seen = list(frames) if shape.delimiter is None else list(itertools.islice(frames, 1))
    names = dict.fromkeys(name for frame in seen for name in frame.columns if name != reading.LINE)
    return list(names), itertools.chain(seen, frames)


def _shape(entry: ItemsEntry, head: bytes) -> reading.Shape:
    if entry.format.type is FileType.JSON_LINES:
        return reading.Shape(None)
    if entry.format.type is FileType.TSV:
        return reading.Shape("\t")
    if entry.format.delimiter != "Auto":
        return reading.Shape(entry.format.delimiter)
    if entry.format.type is FileType.CSV:
        return reading.Shape(reading.detect_delimiter(head))
    return reading.detect(head)


def _checked(
    frames: Iterable[pl.DataFrame], plan: mapping.MappingPlan, entry: ItemsEntry, spill: Spill
) -> Iterator[tuple[pl.DataFrame, list[RuleFinding]]]:
    """Map, normalise, check and hash block by block. The rows go to the spill; only narrow columns are returned."""
    named = rules.rules_for(plan.fields)
    for frame in frames:
        mapped = rules.normalise(mapping.apply(frame, plan, keep=(reading.LINE,)), entry.currency)
        checked, found = rules.check(mapped, named)
        yield spill.add(_hashed(checked, plan.fields)).select(*NARROW, reading.LINE, REJECTED, ORDER), found


def _hashed(rows: pl.DataFrame, fields: list[str]) -> pl.DataFrame:
    return rows.with_columns(_group_hash=group_hash(fields), _static_hash=static_hash(fields)).with_columns(
        _row_hash=row_hash(pl.col("_static_hash")), _slot=slot(pl.col("_group_hash"))
    )


def _separated(whole: pl.DataFrame, found: list[RuleFinding], findings: Findings, entry: ItemsEntry) -> Read:
    """Tell accepted from rejected rows; of rows with one id, keep one and name the others."""
    twice = rules.duplicates(whole.select(ID, reading.LINE, REJECTED, ORDER))
    found = [*found, *_duplicate_finding(twice), *_malformed_finding(findings)]
    fit = pl.col(REJECTED).is_null()
    if entry.rejected_rows is RejectedRows.SEND:
        fit = pl.col(ID).is_not_null()
    again = pl.col(ORDER).is_in(twice.get_column(ORDER).implode())
    accepted = whole.drop(REJECTED)
    if twice.height or any(each.level == "Error" for each in found):
        accepted = whole.filter(fit & ~again).drop(REJECTED)
    rejected = whole.filter(~fit & ~again).select(ID, line=reading.LINE, rules=REJECTED)
    repeated = twice.select(ID, line=reading.LINE, rules=pl.lit("id-duplicate"), kept_line="_kept_line")
    unnamed = bool(whole.get_column(ID).null_count())
    return Read(
        accepted=accepted,
        rejected=conform(pl.concat([rejected, repeated], how="diagonal"), REJECTED_SCHEMA).sort("line"),
        findings=found,
        complete=findings.complete and not unnamed,
        rows=whole.height + findings.bad_rows,
    )


def _duplicate_finding(twice: pl.DataFrame) -> list[RuleFinding]:
    if not twice.height:
        return []
    one = twice.row(0, named=True)
    message = (
        "id must be unique: Meta drops every row of a repeated one, so the first good row is kept; "
        f"e.g. {one[ID]} on lines {one['_kept_line']} and {one[reading.LINE]}"
    )
    samples = tuple(twice.get_column(ID).unique(maintain_order=True).head(SAMPLES_MAX).to_list())
    return [RuleFinding("id-duplicate", "Error", twice.height, message, samples)]


def _malformed_finding(findings: Findings) -> list[RuleFinding]:
    if not findings.bad_rows:
        return []
    named = "; ".join(
        f"line {bad.line_from}" + (f"–{bad.line_to}" if bad.line_to > bad.line_from else "") + f" {bad.reason}"
        for bad in findings.samples[:3]
    )
    message = f"rows must be readable, until then nothing counts as gone: {named}"
    return [RuleFinding("row-malformed", "Error", findings.bad_rows, message, ())]
