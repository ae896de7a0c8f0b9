"""Values for one language or country: what is sent to whom, what comes back, and what is never touched."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from controller.faults import Fault
from controller.ports.locales import Locale, LocalePending
from controller.ports.preparing import (
    EncodeResult,
    Fate,
    Limits,
    ListedPartition,
    RebuildRequest,
    RebuildResult,
    Result,
    SentIDsRequest,
    SentIDsResult,
    VerifyRequest,
    VerifyResult,
)
from tests.unit.preparing.locale_world import CH, FR, FRENCH, SWISS, LocaleWorld, begun, french, loaded
from tests.unit.preparing.overlay_world import STOCK
from tests.unit.preparing.world import CATALOG, products


def test_values_arrive_for_the_items_that_meta_has_and_nobody_else(tmp_path: Path) -> None:
    world = begun(tmp_path, FRENCH)
    world.say("french", french("00000", "00002", "UNHEARD-OF"))
    loaded(world)
    assert world.owed() == LocalePending(name="french", locale=FR, ids=2, changes=2)
    encoded, result = world.send_locale()
    assert encoded.locale == FR
    assert world.bodies(encoded)[0]["localization"] == {"type": "LANGUAGE", "value": "fr_XX"}
    assert world.overrides == {
        ("LANGUAGE", "fr_XX"): {each: {"title": f"Produit {each}"} for each in ("00000", "00002")}
    }
    assert result is not None
    assert (result.accepted, result.refused, result.unknown) == (2, 0, 0)
    assert result.pending[0].localized == (LocalePending(name="french", locale=FR, ids=2, acknowledged=2),)
    assert world.meta.items["00000"]["title"] == "Product 00000", "the item's own text stays"
    head = world.head
    assert head is not None
    assert (head.overlays[0].unknown, head.overlays[0].sample_unknown) == (1, ("UNHEARD-OF",))
    assert world.encode_locale("french").files == ()


def test_before_the_first_load_nothing_is_owed(tmp_path: Path) -> None:
    world = begun(tmp_path, FRENCH)
    world.say("french", french("00000"))
    world.look_at_all()
    assert world.owed() == LocalePending(name="french", locale=FR)
    assert world.encode_locale("french").files == ()


def test_only_what_changed_is_sent_and_as_a_whole(tmp_path: Path) -> None:
    world = begun(tmp_path, FRENCH)
    world.say("french", french("00000", "00001", color="rouge"))
    loaded(world)
    world.send_locale()
    world.say("french", [*french("00000", color="bleu"), *french("00001", color="rouge")])
    world.look_at("french")
    assert world.owed().changes == 1
    encoded, _ = world.send_locale()
    assert world.bodies(encoded) == [
        {
            "method": "UPDATE",
            "data": {"id": "00000", "title": "Produit 00000", "color": "bleu"},
            "localization": {"type": "LANGUAGE", "value": "fr_XX"},
        }
    ]
    assert world.look_at("french").pending[0].localized == (
        LocalePending(name="french", locale=FR, ids=2, acknowledged=2),
    )


@pytest.mark.parametrize("merges", [True, False])
def test_a_value_that_ends_is_said_empty_and_a_row_without_values_is_removed(tmp_path: Path, merges: bool) -> None:
    world = begun(tmp_path, {**FRENCH, "emptyCells": "Clear"})
    world.merges = merges
    world.say("french", french("00000", "00001", color="rouge"))
    loaded(world)
    world.send_locale()
    world.say(
        "french", [{"id": "00000", "title": "Produit 00000", "color": ""}, {"id": "00001", "title": "", "color": ""}]
    )
    world.look_at("french")
    encoded, _ = world.send_locale()
    said = {each["data"]["id"]: each for each in world.bodies(encoded)}
    assert said["00000"]["data"]["color"] == ""
    assert said["00001"]["method"] == "DELETE"
    assert world.overrides["LANGUAGE", "fr_XX"] == {"00000": {"title": "Produit 00000"}}
    assert world.look_at("french").pending[0].localized == (
        LocalePending(name="french", locale=FR, ids=1, acknowledged=1),
    )


def test_an_empty_cell_that_says_nothing_changes_nothing(tmp_path: Path) -> None:
    world = begun(tmp_path, FRENCH)
    world.say("french", french("00000", color="rouge"))
    loaded(world)
    world.send_locale()
    world.say("french", [{"id": "00000", "title": "Produit 00000", "color": ""}])
    world.look_at("french")
    assert world.encode_locale("french").files == ()
    assert world.overrides["LANGUAGE", "fr_XX"]["00000"]["color"] == "rouge"


@pytest.mark.parametrize("merges", [True, False])
def test_a_field_that_the_overlay_gives_no_more_is_said_empty(tmp_path: Path, merges: bool) -> None:
    world = begun(tmp_path, FRENCH)
    world.merges = merges
    world.say("french", french("00000", color="rouge"))
    loaded(world)
    world.send_locale()
    world.declare({**FRENCH, "columns": [{"field": "title", "column": "title"}]})
    world.configurations["french"] = "2"
    world.look_at("french")
    world.send_locale()
    assert world.overrides["LANGUAGE", "fr_XX"] == {"00000": {"title": "Produit 00000"}}


def test_a_removed_overlay_takes_its_values_along(tmp_path: Path) -> None:
    world = begun(tmp_path, FRENCH, SWISS)
    world.say("french", french("00000", "00001"))
    world.say("swiss", [{"id": "00000", "price": "12.00 CHF"}])
    loaded(world)
    world.send_locale()
    world.send_locale("swiss")
    world.declare(SWISS)
    world.refresh(read=False)
    assert world.owed() == LocalePending(name="french", locale=FR, changes=2)
    encoded, result = world.send_locale()
    assert {each["method"] for each in world.bodies(encoded)} == {"DELETE"}
    assert result is not None
    assert world.overrides == {("LANGUAGE", "fr_XX"): {}, ("COUNTRY", "CH"): {"00000": {"price": "12.00 CHF"}}}
    assert [each.locale for each in world.partitions[0].locales] == [CH]
    world.refresh(read=False)
    assert world.owed() == LocalePending(name="", locale=FR)
    assert world.owed(CH).acknowledged == 1


def test_another_language_under_the_same_name_removes_the_old_one_first(tmp_path: Path) -> None:
    world = begun(tmp_path, FRENCH)
    world.say("french", french("00000"))
    loaded(world)
    world.send_locale()
    world.declare({**FRENCH, "override": {"language": "fr_CA"}})
    world.configurations["french"] = "2"
    world.look_at("french")
    assert world.owed().changes == 1
    assert world.owed(Locale(language="fr_CA")).changes == 1
    first, _ = world.send_locale()
    second, _ = world.send_locale()
    assert (first.locale, second.locale) == (FR, Locale(language="fr_CA"))
    assert world.overrides == {
        ("LANGUAGE", "fr_XX"): {},
        ("LANGUAGE", "fr_CA"): {"00000": {"title": "Produit 00000"}},
    }


def test_an_overlay_that_was_never_read_removes_nothing(tmp_path: Path) -> None:
    """After the rows were lost, an overlay that is down must not look like one that was taken out."""
    world = begun(tmp_path, FRENCH)
    world.say("french", french("00000"))
    loaded(world)
    world.send_locale()
    world.head = None
    (tmp_path / "exports" / "french.csv").unlink()
    world.look_at_all()
    assert world.owed() == LocalePending(name="french", locale=FR)
    assert world.encode_locale("french").files == ()


def test_what_a_check_rejects_stays_as_it_is_and_is_named(tmp_path: Path) -> None:
    world = begun(tmp_path, SWISS)
    world.say("swiss", [{"id": f"0000{number}", "price": "12.00 CHF"} for number in range(3)])
    loaded(world)
    world.send_locale("swiss")
    world.say(
        "swiss",
        [
            {"id": "00000", "price": "a lot"},
            {"id": "00001", "price": "13.00 CHF"},
            {"id": "00002", "price": "12.00 CHF"},
        ],
    )
    result = world.look_at("swiss")
    (found,) = [each for each in result.checks if each.rule == "overlay-swiss"]
    assert (found.level, found.count, found.sample_ids) == ("Error", 1, ("00000",))
    assert "price-format" in found.message
    world.send_locale("swiss")
    held = world.overrides["COUNTRY", "CH"]
    assert [held[f"0000{number}"]["price"] for number in range(3)] == ["12.00 CHF", "13.00 CHF", "12.00 CHF"]


def test_columns_that_the_localization_may_not_have_are_left_out_and_named(tmp_path: Path) -> None:
    world = begun(tmp_path, FRENCH)
    world.say("french", french("00000", price="9.00 EUR", image_link="https://shop.example/fr.jpg"))
    loaded(world)
    assert world.last is not None
    (found,) = [each for each in world.last.checks if each.rule == "overlay-french-left-out"]
    assert found.level == "Warning"
    assert "price" in found.message
    assert "image_link" in found.message
    world.send_locale()
    assert world.overrides["LANGUAGE", "fr_XX"]["00000"] == {"title": "Produit 00000"}


def test_nested_values_are_written_as_a_batch_takes_them(tmp_path: Path) -> None:
    world = begun(tmp_path, FRENCH)
    url = "https://shop.example/fr.jpg"
    world.say("french", [{"id": "00000", "image[0].url": url, "applink.ios_url": "acme://fr"}])
    loaded(world)
    encoded, _ = world.send_locale()
    (said,) = world.bodies(encoded)
    assert said["data"] == {"id": "00000", "image": [{"url": url}], "applink": {"ios_url": "acme://fr"}}


def test_a_refused_row_is_sent_again_only_when_it_changes_or_after_a_day(tmp_path: Path) -> None:
    world = begun(tmp_path, FRENCH)
    world.say("french", french("00000", "00001"))
    world.refuse = {"00000"}
    loaded(world)
    _, result = world.send_locale()
    assert result is not None
    assert (result.accepted, result.refused) == (1, 1)
    assert result.errors[0].sample_ids == ("00000",)
    world.look_at("french")
    assert world.owed() == LocalePending(name="french", locale=FR, ids=2, acknowledged=1, refused=1)
    assert world.encode_locale("french").files == ()
    world.say("french", [{"id": "00000", "title": "Autre"}, *french("00001")])
    world.refuse = set()
    world.look_at("french")
    encoded, _ = world.send_locale()
    assert [each["data"]["id"] for each in world.bodies(encoded)] == ["00000"]
    assert world.look_at("french").pending[0].localized == (
        LocalePending(name="french", locale=FR, ids=2, acknowledged=2),
    )


def test_after_a_day_a_refused_row_is_sent_again(tmp_path: Path) -> None:
    world = begun(tmp_path, FRENCH)
    world.say("french", french("00000"))
    world.refuse = {"00000"}
    loaded(world)
    world.send_locale()
    world.now += timedelta(hours=25)
    assert [each["data"]["id"] for each in world.bodies(world.encode_locale("french"))] == ["00000"]


def test_values_are_said_again_after_a_week_even_if_nothing_changes(tmp_path: Path) -> None:
    world = begun(tmp_path, FRENCH)
    world.say("french", french("00000", "00001"))
    loaded(world)
    world.send_locale()
    world.overrides["LANGUAGE", "fr_XX"]["00000"] = {"title": "Somebody else's"}
    assert world.last is not None
    assert world.last.next_look_at is not None
    assert world.last.next_look_at <= world.now + timedelta(days=1), "who else would notice?"
    world.now += timedelta(days=6)
    world.refresh(read=False)
    assert world.owed().changes == 0
    world.now += timedelta(days=2)
    world.refresh(read=False)
    assert world.owed() == LocalePending(name="french", locale=FR, ids=2, acknowledged=2, changes=2)
    world.send_locale()
    assert world.overrides["LANGUAGE", "fr_XX"]["00000"] == {"title": "Produit 00000"}
    world.refresh(read=False)
    assert world.owed().changes == 0


def test_a_field_that_a_warning_names_is_not_acknowledged(tmp_path: Path) -> None:
    world = begun(tmp_path, FRENCH)
    world.say("french", french("00000", "00001", color="rouge"))
    loaded(world)
    encoded = world.encode_locale("french")
    line = {"id": "00000", "severity": "warning", "message": "Unsupported", "field": "color"}
    other = {"id": "00001", "severity": "warning", "message": "Recommended", "field": "material"}
    receipt = world.receipt(encoded.files[0], [line, other])
    result = world.acknowledge_locale("french", encoded, [receipt])
    assert result.pending[0].localized == (LocalePending(name="french", locale=FR, ids=2, acknowledged=1, refused=1),)
    assert {each.message for each in result.warnings} == {"Unsupported", "Recommended"}


def test_an_abandoned_body_is_unknown_and_sent_again(tmp_path: Path) -> None:
    world = begun(tmp_path, FRENCH)
    world.say("french", french("00000", "00001"))
    loaded(world)
    encoded = world.encode_locale("french")
    receipt = world.receipt(encoded.files[0], fate=Fate.UNKNOWN)
    result = world.acknowledge_locale("french", encoded, [receipt])
    assert result.unknown == 2
    assert result.pending[0].localized == (LocalePending(name="french", locale=FR, ids=2, changes=2, unknown=2),)
    world.send_locale()
    assert len(world.overrides["LANGUAGE", "fr_XX"]) == 2


def test_an_abandoned_value_that_ends_meanwhile_is_said_empty(tmp_path: Path) -> None:
    """It may have arrived, so it is cleared; and a row that may be there is removed."""
    world = begun(tmp_path, {**FRENCH, "emptyCells": "Clear"})
    world.say("french", french("00000", "00001", color="rouge"))
    loaded(world)
    encoded = world.encode_locale("french")
    for file in encoded.files:
        world.take(world.content(file))
    world.acknowledge_locale("french", encoded, [world.receipt(encoded.files[0], fate=Fate.UNKNOWN)])
    world.say(
        "french", [{"id": "00000", "title": "Produit 00000", "color": ""}, {"id": "00001", "title": "", "color": ""}]
    )
    world.look_at("french")
    world.send_locale()
    assert world.overrides["LANGUAGE", "fr_XX"] == {"00000": {"title": "Produit 00000"}}


def test_a_body_that_was_never_accepted_changes_nothing(tmp_path: Path) -> None:
    world = begun(tmp_path, FRENCH)
    world.say("french", french("00000"))
    loaded(world)
    encoded = world.encode_locale("french")
    before = world.partitions
    result = world.acknowledge_locale("french", encoded, [world.receipt(encoded.files[0], fate=Fate.NEVER_ACCEPTED)])
    assert world.partitions == before
    assert result.pending[0].localized is not None
    assert result.pending[0].localized[0].changes == 1


def read_back_as(world: LocaleWorld, encoded: EncodeResult, rows: list[dict[str, str]]) -> tuple[Result, str]:
    """Compare the one body with what Meta returns; return the result and where the rows stand."""
    (file,) = encoded.files
    key = f"{world.prefix()}/read-back.jsonl"
    world.store.write(key, b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    request = VerifyRequest(
        store=world.store.url,
        prefix=world.prefix(),
        catalog_id=CATALOG,
        now=world.now,
        sent=(file.sent,),
        read_back=key,
        partitions=world.partitions,
        locale=encoded.locale,
    )
    return world.run(request), key


def test_reading_back_confirms_only_what_is_equal_in_every_field(tmp_path: Path) -> None:
    world = begun(tmp_path, FRENCH)
    world.say("french", french("00000", "00001", "00002", color="rouge"))
    loaded(world)
    encoded = world.encode_locale("french")
    (file,) = encoded.files
    listed = world.run(
        SentIDsRequest(
            store=world.store.url, prefix=world.prefix(), catalog_id=CATALOG, now=world.now, sent=(file.sent,)
        )
    )
    assert isinstance(listed, SentIDsResult)
    assert json.loads(world.store.read(listed.ids) or b"") == ["00000", "00001", "00002"]
    rows = [
        {"id": "00000", "title": "Produit  00000", "color": "rouge"},
        {"id": "00001", "title": "Produit 00001"},
        {"id": "00002"},
    ]
    verified, key = read_back_as(world, encoded, rows)
    assert verified == VerifyResult(equal=1, proven=1, different=2, missing=0)
    result = world.acknowledge_locale("french", encoded, [world.receipt(file, fate=Fate.UNKNOWN, read_back=key)])
    assert (result.accepted, result.unknown) == (1, 2)


def test_what_a_given_up_batch_may_have_left_proves_nothing(tmp_path: Path) -> None:
    world = begun(tmp_path, FRENCH)
    world.say("french", french("00000", "00001"))
    loaded(world)
    rows = [{"id": item, "title": f"Produit {item}"} for item in ("00000", "00001")]
    first = world.encode_locale("french")
    assert read_back_as(world, first, rows)[0] == VerifyResult(equal=2, proven=2)
    world.acknowledge_locale("french", first, [world.receipt(first.files[0], fate=Fate.UNKNOWN)])
    assert read_back_as(world, world.encode_locale("french"), rows)[0] == VerifyResult(equal=2, proven=0)


def test_values_go_with_their_item_and_come_anew_with_it(tmp_path: Path) -> None:
    world = begun(tmp_path, FRENCH)
    world.say("french", french("00000", "00001"))
    loaded(world)
    world.send_locale()
    world.send_full(0)
    world.offer(products(4)[1:])
    for _ in range(3):
        world.look()
        world.send_batch()
    world.send_full(0)
    assert "00000" not in world.meta.items
    world.overrides["LANGUAGE", "fr_XX"].pop("00000")
    world.refresh(read=False)
    assert world.owed() == LocalePending(name="french", locale=FR, ids=1, acknowledged=1)
    world.offer(products(4, color="red"))
    world.look()
    _, result = world.send_full(0, update_only=True)
    assert result is not None
    assert result.pending[0].localized == (LocalePending(name="french", locale=FR, ids=2, acknowledged=1, changes=1),)
    world.send_locale()
    assert set(world.overrides["LANGUAGE", "fr_XX"]) == {"00000", "00001"}


def test_a_country_does_not_go_on_showing_an_item_that_leaves(tmp_path: Path) -> None:
    world = begun(tmp_path, SWISS, FRENCH)
    world.guard = world.guard.model_copy(update={"grace": timedelta(days=2)})
    world.say("swiss", [{"id": "00000", "availability": "in stock"}])
    world.say("french", french("00000"))
    loaded(world)
    world.send_locale("swiss")
    world.send_locale("french")
    world.offer(products(4)[1:])
    for _ in range(3):
        world.look()
    assert world.owed(CH).changes == 1
    assert world.owed(FR) == LocalePending(name="french", locale=FR)
    encoded, _ = world.send_locale("swiss")
    assert [each["method"] for each in world.bodies(encoded)] == ["DELETE"]
    world.offer(products(4, color="red"))
    world.look()
    assert world.owed(CH).changes == 1
    assert world.owed(FR).acknowledged == 1


def test_a_plain_overlay_beside_it_changes_rows_and_it_does_not(tmp_path: Path) -> None:
    world = begun(tmp_path, STOCK, FRENCH)
    world.say("stock", [{"id": "00000", "price": "5.00 EUR"}])
    world.say("french", french("00000"))
    loaded(world)
    world.send_locale()
    world.say("french", [{"id": "00000", "title": "Autre"}])
    result = world.look_at("french")
    assert result.pending[0].volatile == result.pending[0].static == 0
    world.say("stock", [{"id": "00000", "price": "6.00 EUR"}])
    result = world.look_at("stock")
    assert result.pending[0].volatile == 1
    world.send_batch()
    assert world.meta.items["00000"]["price"] == "6.00 EUR"
    assert world.owed().changes == 1


def test_bodies_keep_to_the_limits_and_are_full(tmp_path: Path) -> None:
    world = begun(tmp_path, FRENCH, count=50)
    world.say("french", [{"id": f"{number:05}", "description": "é" * 400} for number in range(50)])
    loaded(world)
    world.limits = Limits(batch_rows_max=20)
    encoded = world.encode_locale("french")
    assert [file.rows for file in encoded.files] == [20, 20, 10]
    assert not encoded.more
    world.limits = Limits(batch_bytes_max=10_000)
    encoded = world.encode_locale("french", calls_max=2)
    assert encoded.more
    assert len(encoded.files) == 2
    assert all(9_000 < file.bytes <= 10_000 for file in encoded.files)
    world.limits = Limits(batch_rows_max=20)
    encoded = world.encode_locale("french", calls_max=2)
    assert ([file.rows for file in encoded.files], encoded.more) == ([20, 20], True)


def test_partitions_are_sent_together_and_acknowledged_one_by_one(tmp_path: Path) -> None:
    world = begun(tmp_path, FRENCH, count=40, partitions=2)
    world.say("french", french(*(f"{number:05}" for number in range(40))))
    loaded(world)
    encoded, result = world.send_locale()
    assert encoded.files[0].partitions == (0, 1)
    assert result is not None
    assert [each.localized[0].acknowledged for each in result.pending if each.localized] == [
        sum(1 for item in world.meta.feed.values() if item == index) for index in (0, 1)
    ]
    assert len(world.overrides["LANGUAGE", "fr_XX"]) == 40


def test_only_the_items_that_were_asked_for(tmp_path: Path) -> None:
    world = begun(tmp_path, FRENCH)
    world.say("french", french("00000", "00001"))
    loaded(world)
    encoded = world.encode_locale("french", item_ids=("00001",))
    assert [each["data"]["id"] for each in world.bodies(encoded)] == ["00001"]


def test_an_overlay_without_a_localization_or_of_another_name_sends_nothing(tmp_path: Path) -> None:
    world = begun(tmp_path, STOCK, FRENCH)
    world.say("stock", [{"id": "00000", "price": "5.00 EUR"}])
    world.say("french", french("00000"))
    loaded(world)
    assert world.encode_locale("stock").files == ()
    assert world.encode_locale("nobody").files == ()


def test_a_lost_snapshot_is_never_taken_for_an_empty_one(tmp_path: Path) -> None:
    world = begun(tmp_path, FRENCH)
    world.say("french", french("00000"))
    loaded(world)
    world.send_locale()
    (head,) = world.partitions[0].locales
    world.store.path(head.snapshot).unlink()
    with pytest.raises(Fault) as raised:
        world.encode_locale("french")
    assert raised.value.reason == "SnapshotLost"


def test_an_overlay_whose_narrow_table_was_lost_is_read_as_if_for_the_first_time(tmp_path: Path) -> None:
    world = begun(tmp_path, FRENCH)
    world.say("french", french("00000"))
    loaded(world)
    world.send_locale()
    assert world.head is not None
    assert world.head.overlays[0].localized is not None
    world.store.path(world.head.overlays[0].localized).unlink()
    world.look_at("french")
    assert world.owed() == LocalePending(name="french", locale=FR, ids=1, acknowledged=1)


def test_after_a_loss_everything_is_said_again_and_what_nobody_names_is_removed(tmp_path: Path) -> None:
    world = begun(tmp_path, FRENCH)
    world.say("french", french("00000", "00001", color="rouge"))
    loaded(world)
    world.send_locale()
    listing = f"{world.prefix()}/listing.jsonl"
    world.store.write(listing, b"".join(json.dumps(row).encode() + b"\n" for row in world.meta.items.values()))
    rebuilt = world.run(
        RebuildRequest(
            store=world.store.url,
            prefix=world.prefix(),
            catalog_id=CATALOG,
            now=world.now,
            partitions=world.partitions,
            listings=(ListedPartition(index=0, listing=listing),),
        )
    )
    assert isinstance(rebuilt, RebuildResult)
    world.partitions, world.head = rebuilt.partitions, None
    world.say("french", french("00000"))
    world.configurations["french"] = "2"
    world.look_at_all()
    assert world.owed() == LocalePending(name="french", locale=FR, ids=1, changes=4, unknown=4)
    world.send_locale()
    assert world.overrides["LANGUAGE", "fr_XX"]["00000"]["title"] == "Produit 00000"
    assert set(world.overrides["LANGUAGE", "fr_XX"]) == {"00000"}
    world.refresh(read=False)
    assert world.owed() == LocalePending(name="french", locale=FR, ids=1, acknowledged=1)


def test_renaming_an_overlay_sends_nothing(tmp_path: Path) -> None:
    world = begun(tmp_path, FRENCH)
    world.say("french", french("00000"))
    loaded(world)
    world.send_locale()
    world.declare({**FRENCH, "name": "francais"})
    world.look_at_all()
    assert world.owed() == LocalePending(name="francais", locale=FR, ids=1, acknowledged=1)
