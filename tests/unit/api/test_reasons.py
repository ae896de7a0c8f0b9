"""Faults lie below the list of reasons and carry them as text; here both are held together."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from controller.api.conditions import REASON_PATTERN
from controller.api.reasons import Reason

CONTROLLER = Path(__file__).parents[3] / "controller"
VERDICTS = {"true", "false", "unknown"}
"""Functions whose second argument is a reason."""


def reasons(tree: ast.AST) -> Iterator[str]:
    """Reasons that are written out in calls."""
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        written = {keyword.value for keyword in call.keywords if keyword.arg == "reason"}
        if name == "Fault":
            written.update(call.args[:1])
        if name in VERDICTS:
            written.update(call.args[1:2])
        yield from (node.value for node in written if isinstance(node, ast.Constant) and isinstance(node.value, str))


def test_every_reason_in_the_code_is_listed_with_its_meaning() -> None:
    used = {
        reason: path.relative_to(CONTROLLER)
        for path in sorted(CONTROLLER.rglob("*.py"))
        for reason in reasons(ast.parse(path.read_text(encoding="utf-8")))
        if re.fullmatch(REASON_PATTERN, reason)
    }
    assert "SnapshotLost" in used, "the scan finds nothing any more"
    unknown = {reason: str(path) for reason, path in used.items() if reason not in set(Reason)}
    assert not unknown, "add these to controller/api/reasons.py, with one sentence of meaning each"


def test_the_scan_finds_what_it_should() -> None:
    source = 'Fault("A", x)\nfaults.Fault(reason="B")\ntrue(kind, "C")\nset_condition((), reason="D")\nother("E", "F")'
    assert set(reasons(ast.parse(source))) == {"A", "B", "C", "D"}
