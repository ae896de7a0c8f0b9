"""Accepted and other rows are told apart from a few bytes each as they would be from all columns together."""

import tempfile
from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.preparing.gathering import Gathering, Separated
from controller.preparing.spill import ORDER
from controller.products import rules
from controller.products.fields import ID, VOLATILE
from controller.products.fingerprints import xxh3
from controller.products.prints import MASK, text_of, values_of
from controller.products.records import LINE
from controller.products.rules import REJECTED
from controller.products.tables import NARROW, conform

ROW = st.tuples(
    st.sampled_from(["a", "b", "c", "ä", None]),
    st.sampled_from([None, None, "price-format", "title-required"]),
    st.sampled_from([None, "1 EUR", "in stock"]),
).map(lambda row: row if row[0] is not None else (None, "id-required", row[2]))


def frame(rows: list[tuple[str | None, str | None, str | None]]) -> pl.DataFrame:
    schema = {ID: pl.String, REJECTED: pl.String, VOLATILE[0]: pl.String}
    found = pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        pl.int_range(2, pl.len() + 2, dtype=pl.UInt64).replace({5: None}).alias(LINE),
        pl.int_range(pl.len(), dtype=pl.UInt32).alias(ORDER),
        (pl.int_range(pl.len()) % 3).cast(pl.UInt16).alias(MASK),
    )
    narrow = conform(found, NARROW).with_columns(_static_hash=found.get_column(ORDER).cast(pl.UInt64) + 7)
    return narrow.with_columns(found.select(LINE, REJECTED, ORDER, MASK))


def check(gathering: Gathering, found: Separated, rows: pl.DataFrame, *, lenient: bool) -> None:
    """Compare with what all columns together say."""
    twice = rules.duplicates(rows.select(ID, LINE, REJECTED, ORDER))
    again = pl.col(ORDER).is_in(twice.get_column(ORDER).implode())
    fit = pl.col(ID).is_not_null() if lenient else pl.col(REJECTED).is_null()
    possible, accepted = rows.filter(fit), rows.filter(fit & ~again)
    assert found.twice.equals(twice)
    assert found.accepted == accepted.height
    assert found.one_hash.is_empty()
    alive = ~pl.Series(range(possible.height), dtype=pl.Int64).is_in(found.dead.tolist())
    orders = gathering.column("orders")[alive.to_numpy()].tolist()
    assert orders == accepted.get_column(ORDER).to_list()
    text, lengths = text_of(values_of(accepted))
    assert b"".join(gathering.text(found.dead)) == text
    assert gathering.column("lengths")[alive.to_numpy()].tolist() == lengths.tolist()
    assert gathering.hashes("ids").tolist() == possible.select(xxh3(pl.col(ID))).to_series().to_list()
    contended = possible.get_column(ID).is_in(twice.get_column(ID).implode()).arg_true()
    assert sorted(found.contended.tolist()) == contended.to_list()
    broken = rows.filter(~fit & ~again).select(ID, LINE, rules=REJECTED)
    more = twice.select(ID, LINE, rules=pl.lit("id-duplicate"))
    assert (
        found.rejected.select(ID, LINE.removeprefix("_"), "rules").rows() == pl.concat([broken, more]).sort(LINE).rows()
    )


@settings(deadline=None)
@given(st.lists(ROW, max_size=20), st.integers(1, 20), st.booleans())
def test_accepted_and_other_rows(
    rows: list[tuple[str | None, str | None, str | None]], size: int, lenient: bool
) -> None:
    with tempfile.TemporaryDirectory() as name, Gathering(Path(name), lenient=lenient, narrow_rows_max=8) as gathering:
        whole = frame(rows)
        for block in whole.iter_slices(size):
            gathering.add(block)
        check(gathering, gathering.separated(), whole, lenient=lenient)
        narrow = gathering.narrow()
        assert (narrow is None) == (gathering.fit > 8)
        assert narrow is None or narrow.height == gathering.fit
