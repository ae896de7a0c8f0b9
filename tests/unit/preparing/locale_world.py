"""A world whose entry has overlays for languages and countries, and a Meta that holds their values."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from controller.ports.locales import Locale, LocalePending
from controller.ports.preparing import (
    AcknowledgeRequest,
    AcknowledgeResult,
    EncodeRequest,
    EncodeResult,
    Method,
    Receipt,
)
from tests.unit.preparing.overlay_world import OverlayWorld, overlay
from tests.unit.preparing.world import CATALOG, fatal, products

FRENCH = overlay("french", override={"language": "fr_XX"})
SWISS = overlay("swiss", override={"country": "CH"})
FR = Locale(language="fr_XX")
CH = Locale(country="CH")


class LocaleWorld(OverlayWorld):
    """Meta holds, per localization and item, what localised batches said."""

    def __init__(self, directory: Path, *overlays: Mapping[str, object], **options: Any) -> None:
        super().__init__(directory, *overlays, **options)
        self.overrides: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
        self.refuse: set[str] = set()
        self.merges = True

    def encode_locale(self, name: str, **changes: object) -> EncodeResult:
        assert self.head is not None
        request = EncodeRequest(
            store=self.store.url,
            prefix=self.prefix(),
            catalog_id=CATALOG,
            now=self.now,
            method=Method.ITEMS_BATCH,
            partitions=self.partitions,
            refresh=self.head,
            guard=self.guard,
            limits=self.limits,
            overlay=name,
            calls_max=9,
        )
        result = self.run(request.model_copy(update=changes))
        assert isinstance(result, EncodeResult)
        return result

    def bodies(self, encoded: EncodeResult) -> list[dict[str, Any]]:
        found = [json.loads(self.content(file)) for file in encoded.files]
        assert all(set(body) == {"item_type", "requests"} and body["item_type"] == "PRODUCT_ITEM" for body in found)
        return [each for body in found for each in body["requests"]]

    def take(self, content: bytes) -> list[dict[str, str | None]]:
        """Do at Meta what one body says; return what it said of rows."""
        said = []
        requests = json.loads(content)["requests"]
        assert len({each["data"]["id"] for each in requests}) == len(requests), "one row per product per call"
        for each in requests:
            held = self.overrides.setdefault((each["localization"]["type"], each["localization"]["value"]), {})
            data = dict(each["data"])
            item = data.pop("id")
            if item not in self.meta.items or item in self.refuse:
                said.append(fatal(item))
            elif each["method"] == "DELETE":
                assert not data
                held.pop(item, None)
            else:
                before = held.get(item, {}) if self.merges else {}
                held[item] = {name: value for name, value in (before | data).items() if value not in ("", [])}
        return said

    def acknowledge_locale(
        self, name: str, encoded: EncodeResult, receipts: Sequence[Receipt], **changes: object
    ) -> AcknowledgeResult:
        assert self.head is not None
        request = AcknowledgeRequest(
            store=self.store.url,
            prefix=self.prefix(),
            catalog_id=CATALOG,
            now=self.now,
            method=Method.ITEMS_BATCH,
            update_only=False,
            partitions=self.partitions,
            receipts=tuple(receipts),
            refresh=self.head,
            guard=self.guard,
            limits=self.limits,
            overlay=name,
            locale=encoded.locale,
        )
        result = self.run(request.model_copy(update=changes))
        assert isinstance(result, AcknowledgeResult)
        changed = {each.index: each for each in result.partitions}
        self.partitions = tuple(changed.get(each.index, each) for each in self.partitions)
        return result

    def send_locale(self, name: str = "french", **changes: object) -> tuple[EncodeResult, AcknowledgeResult | None]:
        encoded = self.encode_locale(name, **changes)
        if not encoded.files:
            return encoded, None
        receipts = [self.receipt(file, self.take(self.content(file))) for file in encoded.files]
        return encoded, self.acknowledge_locale(name, encoded, receipts)

    def owed(self, locale: Locale = FR) -> LocalePending:
        """What all partitions together owe, as the last look counted it."""
        assert self.last is not None
        found = [each for one in self.last.pending for each in one.localized or () if each.locale == locale]
        names = {each.name for each in found}
        sums = {
            name: sum(getattr(each, name) for each in found)
            for name in ("ids", "acknowledged", "changes", "refused", "unknown")
        }
        return LocalePending(name=names.pop() if names else "", locale=locale, **sums)


def begun(directory: Path, *overlays: Mapping[str, object], count: int = 4, **options: Any) -> LocaleWorld:
    """A world whose items are at Meta."""
    world = LocaleWorld(directory, *overlays, **options)
    world.offer(products(count))
    return world


def loaded(world: LocaleWorld) -> LocaleWorld:
    assert world.look_at_all().refused is None
    for each in world.partitions:
        world.send_full(each.index, update_only=True)
    world.look_at()
    return world


def french(*ids: str, **fields: str) -> list[dict[str, str]]:
    return [{"id": each, "title": f"Produit {each}", **fields} for each in ids]
