"""What the demo says at its end: tables, the auditor's verdict, a line for the shell, and what to try."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from controller.api import names
from hack.demo import edits
from hack.demo.cluster import CATALOG, CONNECTION, SECRET, Cluster
from hack.demo.options import DIRECTORY, REPOSITORY
from hack.demo.world import Places
from hack.emulator import jsons
from hack.emulator.world import TEST_TOKEN

TABLES = (
    ("mconn",),
    ("mcat",),
    ("mshard",),
    ("msched",),
    ("mop", "--sort-by=.metadata.creationTimestamp"),
    ("mappr",),
    ("mdiag",),
    ("mledger", f"--namespace={names.OPERATOR_NAMESPACE}"),
)
"""Arguments of `kubectl get`: every kind there is."""
INVARIANTS = {
    "I1": "no two operations touched one product at the same time",
    "I4": "no call named a product twice",
    "I5": "no quota was exceeded, nothing was called while throttled",
    "I7": "no value went back in source time",
    "I8": "nothing was deleted or made unsellable that the source still had",
}
NEW_PRICE = "99.95 EUR"
NEW_NAME = "ACME Deutschland"
BAD_TOKEN = "EAABROKEN"
SHARD = f"{CATALOG}-1-0"


@dataclass(frozen=True, slots=True)
class Try:
    """One thing to try: shell lines that work from the root of the repository."""

    title: str
    command: str
    see: str
    undo: str = ""


def text(
    places: Places, cluster: Cluster, rows: edits.Rows, audit: jsons.Object, wrong: Sequence[str], timing: str
) -> str:
    shell = f"For kubectl, paste this into your shell:\n\n  {cluster.plane.shell_line}"
    listed = tries(places, edits.place(rows, edits.EDITED_PLACE))
    return "\n\n".join([_tables(cluster), _verdict(audit, wrong, timing), shell, _tries(listed)])


def tries(places: Places, item: str) -> tuple[Try, ...]:
    file = shlex.quote(shown(places.export))
    ask = f"{shown(Path(sys.executable))} -m hack.demo meta"
    if places.directory != DIRECTORY:
        ask += f" --directory={shlex.quote(str(places.directory))}"
    return (
        Try(
            f"Change a price at the source (in {shown(places.export)} anything may be edited)",
            f"sed -i 's/^{item},[^,]*/{item},{NEW_PRICE}/' {file}",
            f"{ask} {item}",
        ),
        Try(
            "Rename the catalog",
            _patch("mcat", CATALOG, f'{{"spec":{{"name":"{NEW_NAME}"}}}}'),
            ask,
        ),
        Try(
            "Suspend it: nothing new starts",
            _patch("mcat", CATALOG, '{"spec":{"suspend":true}}'),
            f"kubectl get mcat {CATALOG} --output=wide",
            _patch("mcat", CATALOG, '{"spec":{"suspend":false}}'),
        ),
        Try(
            "Delete a shard: it returns, and finds its feed",
            f"kubectl delete mshard {SHARD}",
            "kubectl get mshard",
        ),
        Try(
            "Break the token",
            _patch("secret", SECRET, f'{{"stringData":{{"token":"{BAD_TOKEN}"}}}}'),
            f"kubectl get mconn {CONNECTION} --output=wide",
            _patch("secret", SECRET, f'{{"stringData":{{"token":"{TEST_TOKEN}"}}}}'),
        ),
    )


def shown(path: Path) -> str:
    """As it is called from the root of the repository."""
    return str(path.relative_to(REPOSITORY)) if path.is_relative_to(REPOSITORY) else str(path)


def _patch(kind: str, name: str, document: str) -> str:
    return f"kubectl patch {kind} {name} --type=merge --patch={shlex.quote(document)}"


def _tables(cluster: Cluster) -> str:
    return "\n\n".join(f"$ kubectl get {' '.join(table)}\n{cluster.table(*table)}" for table in TABLES)


def _verdict(audit: jsons.Object, wrong: Sequence[str], timing: str) -> str:
    judged = jsons.as_object(audit["judged"])
    counts = jsons.as_object(audit["counts"])
    saw = f"{counts['requests']} requests, {counts['mutations']} sends and {counts['applied_values_judged']} values"
    open_ = sum(verdict == "not judged" for verdict in judged.values())
    lines = [
        f"The auditor in the stand-in for Meta saw {saw}:",
        f"  {audit['overlaps']} overlaps, {audit['violations_total']} violations, {open_} not judged",
        *(f"  {name} {verdict}: {INVARIANTS.get(name, '')}" for name, verdict in sorted(judged.items())),
    ]
    if wrong:
        lines += ["", "NOT AS PROMISED:", *(f"  {problem}" for problem in wrong)]
    else:
        lines += ["", f"Everything is as promised, {timing}. It stays up until `make down`."]
    return "\n".join(lines)


def _tries(listed: Sequence[Try]) -> str:
    lines = ["Then try, from the root of the repository:"]
    for number, one in enumerate(listed, start=1):
        lines += ["", f"  {number}. {one.title}", f"     try   {one.command}", f"     see   {one.see}"]
        if one.undo:
            lines.append(f"     undo  {one.undo}")
    return "\n".join(lines)
