"""Rules of the house that no linter knows. A rule that is not checked rots."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "controller").rglob("*.py"))
ALL = sorted(path for part in ("controller", "hack", "tests") for path in (ROOT / part).rglob("*.py"))

MODULE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
BLANKET_EXCEPTS_MAX = 5
BANNED_WORDS = re.compile(r"(^|_)(utils?|managers?|helpers?|misc|common_stuff)($|_)|(Util|Manager|Helper)s?$")
UNORDERED = {"join", "group_by", "unique"}
"""Polars leaves the order of these open unless it is asked to keep it."""


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name]


def parsed(paths: list[Path]) -> Iterator[tuple[Path, ast.Module]]:
    for path in paths:
        yield path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))


def test_modules_and_classes_say_what_they_are() -> None:
    found = [str(path.relative_to(ROOT)) for path in ALL if BANNED_WORDS.search(path.stem)]
    for path, tree in parsed(ALL):
        found += [
            f"{path}: {node.name}"
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef) and BANNED_WORDS.search(node.name)
        ]
    assert found == []


def test_modules_are_of_a_size_to_read() -> None:
    long = {str(path.relative_to(ROOT)): lines for path in ALL if (lines := _lines(path)) > MODULE_LINES_MAX}
    assert long == {}


def test_functions_are_short() -> None:
    long = [
        f"{path}:{node.lineno} {node.name} has {length} lines"
        for path, tree in parsed(SOURCES)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]
    assert long == []


def test_blanket_excepts_are_few() -> None:
    found = [
        f"{path}:{node.lineno}"
        for path, tree in parsed(SOURCES)
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and isinstance(node.type, ast.Name)
        and node.type.id in ("Exception", "BaseException")
        and not isinstance(node.body[-1], ast.Raise)  # cleans up and lets the error go on
    ]
    assert len(found) <= BLANKET_EXCEPTS_MAX, found


def test_row_order_is_never_left_to_chance() -> None:
    """`join`, `group_by` and `unique` on frames keep their order only when told to."""
    found = [
        f"{path}:{call.lineno} .{call.func.attr}()"
        for path, tree in parsed([path for path in SOURCES if path.parts[-2] in ("products", "preparing")])
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in UNORDERED
        and not isinstance(call.func.value, ast.Constant)
        and any(isinstance(keyword.arg, str) and keyword.arg in ("on", "how", "by") for keyword in call.keywords)
        and not any(keyword.arg == "maintain_order" for keyword in call.keywords)
        and not any(keyword.arg == "how" and _is_set_like(keyword.value) for keyword in call.keywords)
    ]
    assert found == []


def test_the_lock_file_installs_from_anywhere() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    pinned = re.findall(r"^([A-Za-z0-9_.-]+)==\S+.*\\$", text, re.MULTILINE)
    assert len(pinned) > 30
    for requirement in re.split(r"\n(?=[A-Za-z0-9])", text.strip()):
        assert "--hash=sha256:" in requirement, requirement[:60]


@pytest.mark.parametrize("name", ["LICENSE", "README.md", "Makefile", "pyproject.toml", "requirements.lock"])
def test_the_top_level_is_as_agreed(name: str) -> None:
    assert (ROOT / name).is_file()


def test_nothing_else_stands_at_the_top() -> None:
    allowed = {"LICENSE", "README.md", "Makefile", "pyproject.toml", "requirements.lock"}
    folders = {"controller", "crds", "manifests", "tests", "hack"}
    top = {path.relative_to(ROOT).parts[0] for path in tracked()}
    assert {name for name in top if not name.startswith(".")} <= allowed | folders


def test_no_committed_file_names_an_issue() -> None:
    """Comments and tests explain themselves; numbers of a tracker rot."""
    pattern = re.compile(r"\b(issue|ticket) #?\d+\b", re.IGNORECASE)
    found = [
        str(path.relative_to(ROOT))
        for path in tracked()
        if path.suffix in (".py", ".md", ".yaml", ".toml")
        and path.is_file()
        and pattern.search(path.read_text("utf-8"))
    ]
    assert found == []


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def _is_set_like(value: ast.expr) -> bool:
    """These only filter the left side, or have an order by definition."""
    return isinstance(value, ast.Constant) and value.value in ("anti", "semi", "cross")
