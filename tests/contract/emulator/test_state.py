"""With a state directory nothing that was answered is lost, whenever the process dies."""

import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from hack.emulator.app import Emulator
from hack.emulator.fetching import Fetched
from hack.emulator.transport import EmulatorTransport
from tests.contract.emulator.driver import PROMPT, Clock, Meta, create, feed_file, item, localized, update
from tests.contract.emulator.processes import Process, emulator, until

SPEED = "40"


def upload(process: Process, feed: str, rows: list[dict[str, str]]) -> str:
    answer = process.client.post(
        f"/v26.0/{feed}/uploads",
        params={"access_token": process.about["token"]},
        data={"update_only": "false"},
        files={"file": ("feed.csv", feed_file(rows), "text/csv")},
    )
    return str(answer.json()["id"])


def test_what_was_accepted_happens_after_kill_9(tmp_path: Path) -> None:
    options = ("--speed", SPEED, "--state", str(tmp_path / "state"), "--seed", "3")
    rows = [item(f"{n:04d}") for n in range(300)]
    with emulator(*options, switches=PROMPT) as first:
        business = first.about["business"]
        catalog = first.call("POST", f"/{business}/owned_product_catalogs", name="Kept")["id"]
        feed = first.call("POST", f"/{catalog}/product_feeds", name="Kept")["id"]
        session = upload(first, feed, rows)
        until(lambda: "end_time" in first.call("GET", f"/{session}", fields="end_time"))
        requests = [update("0001", price="1.00 EUR"), create("new")]
        body = {"item_type": "PRODUCT_ITEM", "requests": requests}
        url = f"/v26.0/{catalog}/items_batch"
        answer = first.client.post(url, params={"access_token": first.about["token"]}, json=body).json()
        second_session = upload(first, feed, rows[:200])
        before = (first.control("/stats"), first.control("/audit"), first.control("/clock")["now"])
        first.kill()
    with emulator(*options) as second:
        stats, audit = second.control("/stats"), second.control("/audit")
        assert second.control("/clock")["now"] >= before[2] - 1, "time does not go back"
        assert stats["requests"] == before[0]["requests"]
        assert stats["mutations"] == before[0]["mutations"]
        assert audit["overlaps"] == before[1]["overlaps"] == 1, "the batch and the upload touch the same items"
        status = {"handle": answer["handles"][0]}
        until(
            lambda: (
                second.call("GET", f"/{catalog}/check_batch_request_status", **status)["data"][0]["status"]
                == "finished"
            )
        )
        done = until(lambda: _ended(second, second_session))
        assert done["num_detected_items"] == 200
        until(lambda: second.control("/stats")["effects_pending"] == 0)
        found = second.items(catalog)
        assert "new" in found
        assert "0250" not in found
        assert second.control("/audit")["overlaps"] == 1


def _ended(process: Process, session: str) -> Any:
    found = process.call("GET", f"/{session}", fields="end_time,num_detected_items")
    return found if "end_time" in found else None


@pytest.mark.parametrize("calls", [1, 23])
def test_every_answered_call_is_known_after_kill_9(tmp_path: Path, calls: int) -> None:
    """Killed while calls are under way: what was answered is there, what was not may or may not be."""
    options = ("--speed", SPEED, "--state", str(tmp_path / "state"))
    answered: list[str] = []
    with emulator(*options, switches=PROMPT) as first:

        def keep_calling() -> None:
            while True:
                try:
                    made = first.call("POST", f"/{first.about['business']}/owned_product_catalogs", name="C")
                except httpx.HTTPError:
                    return
                answered.append(made["id"])

        caller = threading.Thread(target=keep_calling)
        caller.start()
        until(lambda: len(answered) >= calls)
        first.kill()
        caller.join(timeout=10)
    with emulator(*options) as second:
        known = set(second.control("/stats")["catalogs"])
        assert set(answered) <= known
        assert len(known) <= len(answered) + 1


async def test_quotas_tokens_and_switches_survive_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    first = Emulator(clock=clock, state=tmp_path, switches=PROMPT)
    async with _client(first) as client:
        await client.post("/_emulator/tokens", json={"token": "EAAkept", "business": "55"})
        await client.post("/_emulator/switches", json={"platform_calls_per_hour": 2})
        answers = [await client.get("/v26.0/me", params={"access_token": "EAAkept"}) for _ in range(3)]
    assert answers[-1].json()["error"]["code"] == 4
    first.close()
    second = Emulator(clock=clock, state=tmp_path)
    async with _client(second) as client:
        again = await client.get("/v26.0/me", params={"access_token": "EAAkept"})
    assert again.json()["error"]["code"] == 4
    assert second.switches.platform_calls_per_hour == 2
    second.close()


async def test_a_stuck_upload_and_one_that_waits_for_its_file_survive_a_restart(tmp_path: Path) -> None:
    clock = Clock()

    async def fetcher(_url: str, _username: str, _password: str) -> Fetched:
        return Fetched(200, feed_file([item("fetched")]))

    first = Emulator(clock=clock, state=tmp_path, switches={**PROMPT, "upload_delay_seconds": 3})
    async with Meta(clock, first, _client(first)) as meta:
        catalog, feed = await meta.catalog_and_feed(deletion_enabled="false")
        await meta.arm("stuck_upload", path="uploads")
        stuck = await meta.upload(feed, [item(f"{n}") for n in range(40)], wait=False)
        waiting = (await meta.post(f"/{feed}/uploads", url="http://shop.example/f.csv"))["id"]
    first.close()
    second = Emulator(clock=clock, state=tmp_path, fetcher=fetcher)
    async with Meta(clock, second, _client(second)) as meta:
        meta.wait(10)
        await meta.get("/me")
        meta.wait(100)
        assert "end_time" not in await meta.session(stuck)
        assert (await meta.session(waiting))["num_persisted_items"] == 1
        found = set(await meta.truth(catalog))
        assert "fetched" in found
        assert 1 < len(found) < 41
        assert (await meta.audit())["overlaps"] == 0
    second.close()


def _client(made: Emulator) -> httpx.AsyncClient:
    from hack.emulator.transport import EmulatorTransport

    return httpx.AsyncClient(transport=EmulatorTransport(made), base_url="https://graph.facebook.com")


def test_a_directory_of_another_version_is_refused(tmp_path: Path) -> None:
    made = Emulator(clock=Clock(), state=tmp_path)
    made.store.set_meta("schema", 999)
    made.close()
    with pytest.raises(ValueError, match="another version"):
        Emulator(clock=Clock(), state=tmp_path)


async def test_values_per_country_survive(tmp_path: Path) -> None:
    clock = Clock()
    emulator_ = Emulator(clock=clock, state=tmp_path / "state", switches=PROMPT)
    base = "https://graph.facebook.com"
    async with Meta(clock, emulator_, httpx.AsyncClient(transport=EmulatorTransport(emulator_), base_url=base)) as meta:
        catalog, feed = await meta.catalog_and_feed()
        await meta.upload(feed, [item("A")])
        await meta.localized(catalog, [localized("A", "FR", title="Chemise")])
        meta.wait(200)
        assert (await meta.truth(catalog))["A"]["overrides"] == {"FR": {"title": "Chemise"}}
        await meta.localized(catalog, [localized("A", "DE", title="Hemd")])
    emulator_.close()
    clock.now += 200
    again = Emulator(clock=clock, state=tmp_path / "state")
    async with Meta(clock, again, httpx.AsyncClient(transport=EmulatorTransport(again), base_url=base)) as meta:
        found = (await meta.truth(catalog))["A"]["overrides"]
        assert found == {"FR": {"title": "Chemise"}, "DE": {"title": "Hemd"}}
    again.close()
