"""The audit as a pure function: brute force agrees with it."""

from array import array

from hypothesis import given
from hypothesis import strategies as st

from hack.emulator import auditor
from hack.emulator.journal import Applied, Journal, Mutation, RequestRecord, WitnessRecord
from hack.emulator.storage import Store
from hack.emulator.switches import Switches

spans = st.tuples(st.integers(0, 20), st.integers(0, 8), st.sets(st.integers(0, 5)), st.booleans(), st.integers(1, 2))


def journal_of(*mutations: Mutation) -> Journal:
    journal = Journal(Store(None))
    for mutation in mutations:
        journal.open_mutation(mutation)
    return journal


def mutation(id: int, start: float, end: float, keys: set[int], *, refused: bool = False, catalog: int = 1) -> Mutation:  # noqa: A002
    return Mutation(
        id=id,
        request=id,
        kind="batch",
        catalog=catalog,
        feed=0,
        first_byte=start,
        accepted=start,
        ends=end,
        rows=len(keys),
        refused=refused,
        keys=array("Q", sorted(keys)),
    )


@given(found=st.lists(spans, max_size=12))
def test_overlaps_are_all_pairs_that_meet_in_time_and_items(
    found: list[tuple[int, int, set[int], bool, int]],
) -> None:
    mutations = [
        mutation(number, start, start + length, keys, refused=refused, catalog=catalog)
        for number, (start, length, keys, refused, catalog) in enumerate(found, start=1)
    ]
    expected = sum(
        1
        for place, one in enumerate(mutations)
        for other in mutations[:place]
        if not (one.refused or other.refused)
        and one.catalog == other.catalog
        and set(one.keys) & set(other.keys)
        and one.first_byte <= other.ends
        and other.first_byte <= one.ends
    )
    assert auditor.audit(journal_of(*mutations), Switches())["overlaps"] == expected


def possible(values: list[str], history: list[tuple[str, int]]) -> bool:
    """Is there a choice of sequence numbers for the values that never decreases?"""
    reachable = {-1}
    for value in values:
        numbers = [number for known, number in history if known == value]
        reachable = {number for number in numbers if any(number >= before for before in reachable)}
    return bool(reachable)


@given(
    history=st.lists(st.sampled_from("abc"), min_size=1, max_size=6),
    applied=st.lists(st.sampled_from("abc"), max_size=6),
)
def test_a_history_is_in_order_if_some_reading_of_it_is(history: list[str], applied: list[str]) -> None:
    journal = journal_of()
    numbered = list(zip(history, range(len(history)), strict=True))
    journal.witness([WitnessRecord("A", "title", value, number, at=0) for value, number in numbered], [])
    known = [value for value in applied if value in history]
    journal.apply(Applied(float(at), 1, "A", "title", value, 1) for at, value in enumerate(known, start=1))
    judged = auditor.audit(journal, Switches())["judged"]
    assert isinstance(judged, dict)
    assert judged["I7"] == ("clean" if possible(known, numbered) else "violated")


def request(seq: int, at: float, *, told: float = 0, delivered: bool = True) -> RequestRecord:
    return RequestRecord(
        seq, at, at, "POST", "/1/items_batch", "app", 1, "catalog_batch", 200, 0, told, delivered=delivered
    )


@given(times=st.lists(st.integers(0, 300), max_size=40))
def test_the_worst_rolling_window_counts(times: list[int]) -> None:
    journal = journal_of()
    for seq, at in enumerate(times, start=1):
        journal.request(request(seq, float(at)))
    worst = max((sum(1 for other in times if at - 60 < other <= at) for at in times), default=0)
    judged = auditor.audit(journal, Switches(quota_profile="8_per_minute"))["judged"]
    assert isinstance(judged, dict)
    assert (judged["I5"] == "violated") == (worst > 8)


def test_values_are_compared_by_what_they_mean() -> None:
    assert auditor.comparable("price", "12.50  EUR") == auditor.comparable("price", "12.5 EUR")
    assert auditor.comparable("price", "12.50 EUR") != auditor.comparable("price", "12.50 USD")
    assert auditor.comparable("title", "1.0") != auditor.comparable("title", "1")
