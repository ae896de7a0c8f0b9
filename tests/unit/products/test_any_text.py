"""Whatever stands in the cells of a source: no rule and no preset fails, and what was accepted is in its one form."""

import csv
import io
import re
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.products import rules
from controller.products.fields import AVAILABILITIES, KNOWN
from controller.products.rules import REJECTED
from tests.unit.products.reads import EXPORTS, Export

ODD = st.sampled_from(
    [
        "",
        " ",
        "0",
        "-0",
        "1e309",
        "NaN",
        "inf",
        "9" * 40,
        "<b>",
        "://",
        "/",
        "€",
        "1,2,3",
        "é\u0301",
        "\u202e",
        "🙂",
        "#",
        "=",
    ]
)
CELLS = st.one_of(st.none(), ODD, st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=30))


@settings(deadline=None)
@given(st.lists(st.fixed_dictionaries(dict.fromkeys(KNOWN, CELLS)), min_size=1, max_size=4), st.booleans())
def test_rules_judge_anything(rows: list[dict[str, str | None]], comma: bool) -> None:
    frame = pl.DataFrame(rows, schema=dict.fromkeys(KNOWN, pl.String))
    normal = rules.normalise(frame, "EUR", decimal_comma=comma)
    assert normal.equals(rules.normalise(normal, "EUR")) or comma
    result, _ = rules.check(normal, rules.rules_for(normal.columns))
    for row in result.filter(pl.col(REJECTED).is_null()).iter_rows(named=True):
        assert re.fullmatch(r"\d+(\.\d+)? [A-Z]{3}", row["price"])
        assert row["availability"] in AVAILABILITIES
        assert all(row[name] for name in ("id", "title", "description", "link", "image_link"))


PRESETS: dict[str, dict[str, Any]] = {
    "shopify.csv": {"preset": "Shopify", "templates": [{"field": "link", "template": "https://shop.example/{Handle}"}]},
    "woocommerce.csv": {"preset": "WooCommerce", "constants": [{"field": "link", "value": "https://shop.example"}]},
    "magento.csv": {
        "preset": "Magento",
        "constants": [{"field": name, "value": "https://shop.example"} for name in ("link", "image_link")],
    },
    "meta_template.csv": {"preset": "MetaTemplate"},
}


@settings(deadline=None, max_examples=10)
@pytest.mark.parametrize("name", PRESETS)
@given(data=st.data())
def test_presets_take_anything(name: str, data: st.DataObject) -> None:
    """Rows of a real export with cells blanked or replaced: parents without names, children without parents."""
    rows = list(csv.reader(io.StringIO((EXPORTS / name).read_text(encoding="utf-8"))))
    header, *body = [row for row in rows if not row[0].startswith("#")]
    used = [at for at in range(len(header)) if any(row[at] for row in body)]
    for _ in range(data.draw(st.integers(1, 12))):
        row = data.draw(st.sampled_from(body))
        row[data.draw(st.sampled_from(used))] = (data.draw(CELLS) or "").replace('"', "").replace("\r", "")
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *data.draw(st.permutations(body))])
    found = Export(text.getvalue().encode(), mapping=PRESETS[name], currency="EUR")
    assert found.rows.height + sum(each.count for each in found.plan.assembly.findings()) <= len(body)
