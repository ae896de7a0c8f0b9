"""What the checks found, as it is kept: with the rejected rows for the next look, and item by item for reports."""

import json
from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from controller.ports.preparing import Findings, RefreshHead, RefreshRequest, RuleCount
from controller.preparing.context import Context
from controller.preparing.objects import read_metadata, table_key, write_table
from controller.products.rules import NAMED_MAX, RuleFinding
from controller.products.tables import Kind

SAMPLES_MAX = 10
CHECKS = "checks"


def write_rejected(
    request: RefreshRequest, context: Context, rejected: pl.DataFrame, findings: Sequence[RuleFinding]
) -> str:
    """Write rejected rows, with what the rules found, so that a quiet look can say it again."""
    checks = [rule_count(each).model_dump() for each in findings]
    key = table_key(request.prefix, Kind.REJECTED, "all")
    return write_table(context.store, key, rejected, {CHECKS: json.dumps(checks)})


def write_findings(request: RefreshRequest, context: Context, findings: Sequence[RuleFinding]) -> str:
    """Write what the checks found, item by item."""
    found = Findings(checks=tuple(rule_count(each, NAMED_MAX) for each in findings))
    key = f"{request.prefix}/findings.json"
    context.store.write(key, found.model_dump_json().encode())
    return key


def _findings_of(context: Context, head: RefreshHead) -> tuple[RuleCount, ...]:
    content = context.store.read(head.findings) if head.findings is not None else None
    return Findings.model_validate_json(content).checks if content is not None else ()


def with_remarks(request: RefreshRequest, context: Context, head: RefreshHead, said: Sequence[RuleCount]) -> str | None:
    """Add what is to be said of overlays to the findings of this step."""
    if not said or head.findings is None or not head.findings.startswith(request.prefix):
        return head.findings
    found = Findings(checks=(*_findings_of(context, head), *said))
    key = f"{request.prefix}/findings-with-overlays.json"
    context.store.write(key, found.model_dump_json().encode())
    return key


def rule_count(found: RuleFinding, named_max: int = SAMPLES_MAX) -> RuleCount:
    """A finding as documents have it."""
    return RuleCount(
        rule=found.rule,
        level=found.level,
        count=found.count,
        message=found.message,
        sample_ids=found.sample_ids[:named_max],
    )


def findings_again(context: Context, rejected: str | None) -> list[RuleFinding]:
    """What was found in the read that left this table of rejected rows."""
    if rejected is None:
        return []
    found = json.loads(read_metadata(context.store, rejected).get(CHECKS, "[]"))
    counts = [RuleCount.model_validate(each) for each in found]
    return [RuleFinding(each.rule, each.level, each.count, each.message, each.sample_ids) for each in counts]


def named_again(context: Context, head: RefreshHead, rejected: str | None) -> list[RuleFinding]:
    """What the checks found, with all the ids that were named."""
    named = {each.rule: each.sample_ids for each in _findings_of(context, head)}
    found = findings_again(context, rejected)
    return [replace(each, sample_ids=named.get(each.rule, each.sample_ids)) for each in found]
