"""Any sequence of uploads, batches and deletions comes to what a model of a few lines says.

The model is written from the documentation anew: a dictionary of items with their owners, and no notion of packs,
instants or layouts.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from hack.emulator.app import Emulator
from hack.emulator.transport import EmulatorTransport
from tests.contract.emulator.driver import PROMPT, Clock, Meta, create, delete, item

RIDS = "ABCDE"
PRICES = ("1.00 EUR", "2.00 EUR", "3.00 EUR", "bad")
prices = st.sampled_from(PRICES)
whole_rows = st.lists(st.tuples(st.sampled_from(RIDS), prices), max_size=5)
requests = st.lists(
    st.tuples(st.sampled_from(["create", "update", "delete"]), st.sampled_from(RIDS), prices),
    max_size=5,
    unique_by=lambda one: one[1],
)
steps: st.SearchStrategy[tuple[str, Any, Any]] = st.one_of(
    st.tuples(st.just("replace"), st.integers(0, 1), whole_rows),
    st.tuples(st.just("update"), st.integers(0, 1), whole_rows),
    st.tuples(st.just("batch"), st.booleans(), requests),
    st.tuples(st.just("drop_feed"), st.integers(0, 1), st.just([])),
)


@dataclass
class Model:
    """What Meta should hold: item → (owner, price); a batch's items have no owner."""

    switches: dict[str, str]
    items: dict[str, tuple[str | None, str]] = field(default_factory=dict)

    def file(self, feed: str, rows: list[tuple[str, str]], *, replace: bool) -> None:
        if not rows:
            return  # an empty file is refused as a whole
        ids = [rid for rid, _ in rows]
        twice = {rid for rid in ids if ids.count(rid) > 1}
        bad = {rid for rid, price in rows if price == "bad"}
        for rid, price in rows:
            owner = self.items[rid][0] if rid in self.items else None
            foreign = owner not in (None, feed) and self.switches["foreign_owner"] == "refuse"
            if rid not in twice and rid not in bad and not foreign:
                self.items[rid] = (feed, price)
        if replace:
            kept = set(ids)
            kept -= twice if self.switches["duplicate_rows_in_replace"] == "deleted" else set()
            kept -= bad if self.switches["fatal_row_in_replace"] == "deleted" else set()
            self.items = {rid: held for rid, held in self.items.items() if held[0] != feed or rid in kept}

    def batch(self, wanted: list[tuple[str, str, str]], *, upsert: bool) -> None:
        for method, rid, price in wanted:
            there = rid in self.items
            if method == "delete":
                self.items.pop(rid, None)
            elif price == "bad":
                continue
            else:
                creates = method == "create" and (not there or self.switches["create_existing"] == "upsert")
                if creates or (method == "update" and (there or upsert)):
                    self.items[rid] = (self.items[rid][0] if there else None, price)

    def drop(self, feed: str) -> None:
        self.items = {rid: held for rid, held in self.items.items() if held[0] != feed}


@settings(max_examples=60, deadline=None)
@given(
    script=st.lists(steps, max_size=8),
    chosen=st.fixed_dictionaries(
        {
            "foreign_owner": st.sampled_from(["refuse", "adopt"]),
            "duplicate_rows_in_replace": st.sampled_from(["deleted", "kept"]),
            "fatal_row_in_replace": st.sampled_from(["deleted", "kept"]),
            "create_existing": st.sampled_from(["refuse", "upsert"]),
            "batch_rows_checked": st.sampled_from(["at_once", "later"]),
        }
    ),
    lateness=st.sampled_from([0, 8]),
    seed=st.integers(0, 99),
)
def test_any_sequence_comes_to_what_the_model_says(
    script: list[tuple[str, Any, Any]], chosen: dict[str, str], lateness: int, seed: int
) -> None:
    asyncio.run(play(script, chosen, lateness, seed))


async def play(script: list[tuple[str, Any, Any]], chosen: dict[str, str], lateness: int, seed: int) -> None:
    clock = Clock()
    emulator = Emulator(
        clock=clock, seed=seed, switches={**PROMPT, **chosen, "effects_after_finished_seconds": lateness}
    )
    client = httpx.AsyncClient(transport=EmulatorTransport(emulator), base_url="https://graph.facebook.com")
    async with Meta(clock, emulator, client) as meta:
        catalog = await meta.catalog()
        feeds = [await meta.feed(catalog, f"F{number}") for number in range(2)]
        model = Model(chosen)
        for kind, choice, what in script:
            await step(meta, model, catalog, feeds, kind, choice, what)
            meta.wait(400)
            await meta.get("/me")
            truth = {rid: (row["feed"], row["values"]["price"]) for rid, row in (await meta.truth(catalog)).items()}
            assert truth == model.items, f"after {kind}"
        audit = await meta.audit()
        assert audit["overlaps"] == 0
    emulator.close()


async def step(meta: Meta, model: Model, catalog: str, feeds: list[str], kind: str, choice: Any, what: Any) -> None:
    if kind == "batch":
        sent = []
        for method, rid, price in what:
            if method == "delete":
                sent.append(delete(rid))
            elif method == "create":
                sent.append(create(rid, price=price))
            else:
                sent.append({"method": "UPDATE", "data": item(rid, price=price)})
        if sent:
            await meta.batch(catalog, sent, allow_upsert=choice)
        model.batch(what, upsert=choice)
        return
    feed = feeds[choice]
    if kind == "drop_feed":
        await meta.call("DELETE", f"/{feed}")
        feeds[choice] = await meta.feed(catalog, f"F{choice}")
        model.drop(feed)
        return
    rows = [item(rid, price=price) for rid, price in what]
    await meta.upload(feed, rows or b"id,title\n", update_only=kind == "update")
    model.file(feed, what, replace=kind == "replace")
