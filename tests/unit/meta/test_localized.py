"""Values per language or country: what the Graph asks, and how it reads the answer."""

import pytest

from controller.faults import Disposition, Fault
from controller.meta import limits
from controller.ports.meta import (
    BatchAnswer,
    Bucket,
    ItemAtMeta,
    Localization,
    Problem,
)
from tests.unit.meta.scripted import (
    RecordingGovernor,
    Script,
    answer,
    connect,
    envelope,
    make_body,
    page,
)


class TestBatches:
    async def test_localized_batch(self) -> None:
        row = {"retailer_id": "a", "warnings": [{"message": "Unrecognised field: 'colour'"}]}
        script = Script(answer({"handles": ["AcHandle"], "validation_status": [row]}))
        governor = RecordingGovernor()
        body = b'{"item_type":"PRODUCT_ITEM","requests":[]}'
        found = await connect(script, governor=governor).send_localized_batch("5", make_body(body))
        assert found == BatchAnswer("AcHandle", (Problem("warning", "Unrecognised field: 'colour'", "a", "colour"),))
        assert script.paths == ["POST /v26.0/5/localized_items_batch"]
        assert script.requests[0].content == body
        assert [(call.name, call.bucket, call.write) for call in governor.admitted] == [
            ("localized_items_batch", Bucket.BATCH, True)
        ]

    async def test_failed_localized_batch_may_have_happened_unless_meta_refused_it(self) -> None:
        dispositions = {}
        for status, document in ((500, envelope(2)), (400, envelope(80014)), (400, envelope(100)), (200, [])):
            with pytest.raises(Fault) as caught:
                await connect(Script(answer(document, status))).send_localized_batch("5", make_body(b"{}"))
            dispositions[caught.value.reason] = caught.value.disposition
        assert dispositions == {
            "MetaUnavailable": Disposition.UNCERTAIN,
            "RateLimited": Disposition.WAIT,
            "InvalidRequest": Disposition.STALLED,
            "ContractViolation": Disposition.UNCERTAIN,
        }

    async def test_too_large_a_localized_batch_is_not_sent(self) -> None:
        script = Script()
        with pytest.raises(Fault, match="PayloadTooLarge"):
            await connect(script).send_localized_batch("5", make_body(b"", size_bytes=limits.BATCH_BYTES_MAX + 1))
        assert script.requests == []


class TestOverrides:
    FRENCH = Localization("fr_XX", None)
    FRANCE = Localization(None, "FR")
    FRENCH_IN_FRANCE = Localization("fr_XX", "FR")
    ITEMS = page({"id": "11", "retailer_id": "a"}, {"id": "12", "retailer_id": "b"}, {"id": "13", "retailer_id": "A"})

    @pytest.mark.parametrize(
        ("localization", "kind", "value"),
        [
            (FRENCH, "LANGUAGE", "fr_XX"),
            (FRANCE, "COUNTRY", "FR"),
            (FRENCH_IN_FRANCE, "LANGUAGE_AND_COUNTRY", "fr_XX|FR"),
        ],
    )
    async def test_each_item_is_asked_for_its_values(self, localization: Localization, kind: str, value: str) -> None:
        details = {"key": value, "type": kind, "values": {"title": "Chemise", "price": "9,99 EUR"}}
        script = Script(answer(self.ITEMS), answer(page(details)), answer(page()))
        governor = RecordingGovernor()
        found = await connect(script, governor=governor).read_overrides("5", ("a", "b", "c"), localization)
        assert found == (
            ItemAtMeta("a", "11", (("price", "9.99 EUR"), ("title", "Chemise"))),
            ItemAtMeta("b", "12", ()),
        )
        assert script.paths == [
            "GET /v26.0/5/products",
            "GET /v26.0/11/override_details",
            "GET /v26.0/12/override_details",
        ]
        assert script.query(0)["fields"] == "id,retailer_id"
        assert script.query(1) == {"type": kind, "keys": f'["{value}"]'}
        assert {call.bucket for call in governor.admitted} == {Bucket.MANAGEMENT}

    async def test_values_in_the_names_of_the_node_and_of_feeds(self) -> None:
        values = {
            "name": "Chemise",
            "link": "https://a/fr",
            "visibility": "staging",
            "sale_price": "€9.99",
            "currency": "EUR",
            "sale_price_effective_date": "x/y",
            "image": [{"url": "https://a/fr.png"}],
        }
        script = Script(answer(self.ITEMS), answer(page({"key": "fr", "type": "country", "values": values})))
        (found,) = await connect(script).read_overrides("5", ("a",), self.FRANCE)
        assert dict(found.fields) == {
            "title": "Chemise",
            "link": "https://a/fr",
            "status": "archived",
            "sale_price": "9.99 EUR",
            "sale_price_effective_date": "x/y",
        }

    @pytest.mark.parametrize(
        "details",
        [
            {"key": "DE", "type": "COUNTRY", "values": {"title": "Hemd"}},
            {"key": "FR", "type": "LANGUAGE", "values": {"title": "Hemd"}},
            {"key": "FR", "type": "COUNTRY", "values": ["title"]},
            {"key": "FR", "type": "COUNTRY"},
        ],
    )
    async def test_what_is_not_of_the_localization_or_cannot_be_read_stays_out(self, details: object) -> None:
        script = Script(answer(self.ITEMS), answer(page(details)))
        assert await connect(script).read_overrides("5", ("a",), self.FRANCE) == (ItemAtMeta("a", "11", ()),)

    async def test_unreadable_answer(self) -> None:
        with pytest.raises(Fault, match="ContractViolation"):
            await connect(Script(answer(self.ITEMS), answer({"data": [7]}))).read_overrides("5", ("a",), self.FRANCE)

    async def test_no_ids_no_call(self) -> None:
        assert await connect(Script()).read_overrides("5", (), self.FRANCE) == ()

    def test_localization_of_nobody(self) -> None:
        with pytest.raises(ValueError, match="language"):
            Localization()
