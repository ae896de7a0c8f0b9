"""Write what is generated from the code: crds/*.yaml and hack/emulator/COVERAGE.md.

python -m hack.generate           write
python -m hack.generate --check   write nothing; exit 1 and show what differs where something is stale
"""

import argparse
import difflib
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import yaml
from typing_extensions import override

from controller.api.crds import crd, crd_name
from controller.api.v1alpha1 import KINDS

ROOT = Path(__file__).resolve().parent.parent
HEADER = "# Generated from controller/api by `python -m hack.generate`. Do not edit.\n"
DIFF_LINES_MAX = 40
"""Enough to see what is stale; the way to mend it is always the same."""


class _Plain(yaml.SafeDumper):
    """YAML as people write it: no anchors, lists indented."""

    @override
    def ignore_aliases(self, data: Any) -> bool:
        return True

    @override
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def crd_yaml(kind: Any) -> str:
    """The text of one file in crds/."""
    body = yaml.dump(crd(kind), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120)
    return HEADER + body


def generated() -> dict[Path, str]:
    """Every generated file with the text that it should have."""
    files = {ROOT / "crds" / f"{crd_name(kind)}.yaml": crd_yaml(kind) for kind in KINDS}
    if importlib.util.find_spec("hack.emulator.coverage") is not None:
        coverage = importlib.import_module("hack.emulator.coverage")
        files[ROOT / "hack" / "emulator" / "COVERAGE.md"] = coverage.generate()
    return files


def surplus(files: dict[Path, str], root: Path = ROOT) -> list[Path]:
    """CRDs of kinds that do not exist any more."""
    return sorted(path for path in (root / "crds").glob("*.yaml") if path not in files)


def differences(files: dict[Path, str], root: Path = ROOT) -> list[str]:
    """Say for every stale file what differs; empty when all is fresh."""
    report: list[str] = []
    for path, wanted in files.items():
        present = path.read_text(encoding="utf-8") if path.exists() else ""
        if present == wanted:
            continue
        name = str(path.relative_to(root))
        lines = list(
            difflib.unified_diff(present.splitlines(), wanted.splitlines(), name, "generated", lineterm="", n=1)
        )
        hidden = max(0, len(lines) - DIFF_LINES_MAX)
        report += [*lines[:DIFF_LINES_MAX], *([f"… {hidden} more lines"] if hidden else [])]
    return [*report, *(f"{path.relative_to(root)}: no kind has this definition" for path in surplus(files, root))]


def main() -> int:
    """Write or check; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m hack.generate", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail where something is stale")
    check = parser.parse_args().check
    files = generated()
    if check:
        report = differences(files)
        print(
            "\n".join(
                [*report, "stale: run `make generate` and commit the result"]
                if report
                else ["generated files are fresh"]
            )
        )
        return 1 if report else 0
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for path in surplus(files):
        path.unlink()
    print(f"wrote {len(files)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
