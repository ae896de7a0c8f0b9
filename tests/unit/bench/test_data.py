"""What is measured with: both formats carry the same rows, and the truth about what changed is the truth."""

import csv
from pathlib import Path

from lxml import etree

from hack.bench import data


def as_csv(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def as_xml(path: Path) -> dict[str, dict[str, str]]:
    found = {}
    for item in etree.parse(path).iter("item"):
        row = {etree.QName(each).localname: each.text or "" for each in item}
        found[row["id"]] = {name: row.get(name, "") for name in data.COLUMNS}
    return found


def test_both_formats_carry_the_same_rows(tmp_path: Path) -> None:
    for version in (1, 2):
        table, feed = tmp_path / f"{version}.csv", tmp_path / f"{version}.xml"
        assert data.write(table, 600, version) == data.write(feed, 600, version)
        assert as_csv(table) == as_xml(feed)


def test_the_truth_is_what_differs(tmp_path: Path) -> None:
    first, later, truth = data.prepare(tmp_path, 3_000)
    before, after = as_csv(first), as_csv(later)
    common = before.keys() & after.keys()
    changed = [before[each] for each in common if before[each] != after[each]]
    texts = [each for each in common if before[each]["description"] != after[each]["description"]]
    assert (truth.new, truth.gone) == (len(after.keys() - before.keys()), len(before.keys() - after.keys()))
    assert (truth.changed, truth.text, truth.rows) == (len(changed), len(texts), len(after))
    assert min(truth.new, truth.gone, truth.volatile, truth.text) > 0
    assert data.prepare(tmp_path, 3_000)[2] == truth
