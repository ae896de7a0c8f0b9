"""The verdict of the demo: whatever is not as promised is named."""

import pytest

from hack.demo import promises
from hack.demo.meta import differences
from hack.demo.products import COLUMNS
from hack.emulator import jsons


def resource(kind: str, *conditions: tuple[str, str], **status: jsons.Json) -> jsons.Object:
    listed: list[jsons.Json] = [{"type": each, "status": value, "reason": "Why"} for each, value in conditions]
    return {"kind": kind, "metadata": {"name": "one"}, "status": {"conditions": listed, **status}}


CATALOG = [("Ready", "True"), ("Synced", "True"), ("Fresh", "True"), ("ItemIssues", "True")]
TOTALS: jsons.Object = {"items": 1600, "invalid": 0, "refused": 1}


def test_what_is_promised_is_no_problem() -> None:
    assert promises.problems(resource("Catalog", *CATALOG, totals=TOTALS)) == []
    assert promises.problems(resource("CatalogShard", ("Ready", "True"))) == []
    assert promises.problems(resource("DeletionApproval", releasedItems=800)) == []


@pytest.mark.parametrize(
    ("found", "named"),
    [
        (resource("Catalog", *CATALOG[1:], totals=TOTALS), "no condition Ready"),
        (resource("Catalog", ("Ready", "False"), *CATALOG[1:], totals=TOTALS), "Ready=False, Why"),
        (resource("Catalog", *CATALOG, ("DeletionsHeld", "True"), totals=TOTALS), "DeletionsHeld=True"),
        (resource("Catalog", *CATALOG, totals={"invalid": 1, "refused": 1}), "one item should be refused"),
        (resource("MetaConnection", ("Ready", "True"), ("Stalled", "True")), "Stalled=True"),
        (resource("SyncOperation", ("Failed", "True")), "no condition Complete"),
        (resource("SyncOperation", ("Reconciling", "True")), "Reconciling=True"),
        (resource("DeletionApproval"), "released nothing"),
    ],
)
def test_what_is_not_is_named(found: jsons.Object, named: str) -> None:
    assert any(named in problem for problem in promises.problems(found))


def test_a_kind_that_is_not_there_is_named() -> None:
    there = [resource(kind, *((each, "True") for each in kinds)) for kind, kinds in promises.CONDITIONS.items()]
    found = promises.all_problems(there[1:])
    assert "there is no MetaConnection" in found
    assert not [problem for problem in found if problem.startswith("there is no") and "MetaConnection" not in problem]


def audit(**changes: jsons.Json) -> jsons.Object:
    return {"overlaps": 0, "violations_total": 0, "judged": {"I1": "clean", "I7": "clean"}, **changes}


def test_a_clean_audit_is_no_problem() -> None:
    assert promises.audit_problems(audit()) == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"overlaps": 1}, "1 overlaps"),
        ({"violations_total": 2}, "2 violations"),
        ({"judged": {"I7": "not judged"}}, "I7 is: not judged"),
        ({"judged": {"I8": "violated"}}, "I8 is: violated"),
    ],
)
def test_an_audit_that_is_not_clean_is_named(changes: jsons.Object, named: str) -> None:
    assert any(named in problem for problem in promises.audit_problems(audit(**changes)))


def row(**values: str) -> dict[str, str]:
    return {**dict.fromkeys(COLUMNS, ""), **values}


@pytest.mark.parametrize(
    ("held", "named"),
    [
        ({}, "1 is missing"),
        ({"1": {"price": "9.9 EUR", "title": "Shirt"}, "2": {}}, "2 is still there"),
        ({"1": {"price": "9.91 EUR", "title": "Shirt"}}, "price is '9.91 EUR' instead of '9.90 EUR'"),
        ({"1": {"price": "9.90 USD", "title": "Shirt"}}, "price is '9.90 USD' instead of '9.90 EUR'"),
        ({"1": {"price": "9.90 EUR"}}, "title is '' instead of 'Shirt'"),
        ({"1": {"price": "9.90 EUR", "title": "Shirt", "size": "XL"}}, "size is 'XL' instead of ''"),
    ],
)
def test_differences_are_named(held: dict[str, dict[str, str]], named: str) -> None:
    wanted = {"1": row(price="9.90 EUR", title="Shirt")}
    assert any(named in problem for problem in differences(wanted, held))


def test_equal_amounts_and_absent_cells_are_no_difference() -> None:
    assert differences({"1": row(price="9.90 EUR")}, {"1": {"price": "9.9 EUR"}}) == []
