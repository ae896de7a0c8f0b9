"""Versions, access tokens, proofs, permissions, and the shape of errors."""

import hashlib
import hmac
from typing import Any

import pytest

from hack.emulator.world import TEST_APP, TEST_APP_SECRET, TEST_TOKEN
from tests.contract.emulator.claims import claims
from tests.contract.emulator.driver import Meta


@claims("versions.live")
@pytest.mark.parametrize("version", ["v25.0", "v26.0", ""])
async def test_live_versions_and_none_are_served(meta: Meta, version: str) -> None:
    answer = await meta.call("GET", "/me", version=version)
    assert answer.status == 200
    assert answer.headers["facebook-api-version"] == (version or "v25.0")


@claims("versions.live")
@pytest.mark.parametrize("version", ["v24.0", "v27.0", "v2.11"])
async def test_other_versions_are_refused(meta: Meta, version: str) -> None:
    answer = await meta.call("GET", "/me", version=version)
    assert (answer.status, answer.code) == (400, 2635)
    assert "v26.0" in answer.message


@claims("tokens.where", "tokens.me")
async def test_a_token_may_come_in_every_way(meta: Meta) -> None:
    meta.token = ""
    ways: list[dict[str, Any]] = [
        {"params": {"access_token": TEST_TOKEN}},
        {"headers": {"Authorization": f"Bearer {TEST_TOKEN}"}},
    ]
    for way in ways:
        assert (await meta.call("GET", "/me", **way))["id"]
    for body in (
        {"data": {"access_token": TEST_TOKEN, "name": "A"}},
        {"json": {"access_token": TEST_TOKEN, "name": "A"}},
    ):
        answer = await meta.client.post(f"/v26.0/{meta.business}/owned_product_catalogs", **body)  # type: ignore[arg-type]
        assert answer.status_code == 200, answer.text


@claims("tokens.refused")
async def test_no_token_and_unknown_token(meta: Meta) -> None:
    meta.token = ""
    assert (await meta.get("/me")).code == 2500
    meta.token = "EAAnobody"
    answer = await meta.get("/me")
    assert (answer.status, answer.code) == (400, 190)
    assert answer["error"]["type"] == "OAuthException"
    assert answer["error"]["fbtrace_id"]


@claims("tokens.refused")
async def test_an_expired_and_a_revoked_token_have_subcodes(meta: Meta) -> None:
    await meta.control("POST", "/tokens", {"token": "EAAshort", "expires_in": 100})
    meta.token = "EAAshort"
    assert (await meta.get("/me")).status == 200
    meta.wait(101)
    assert (await meta.get("/me"))["error"]["error_subcode"] == 463
    await meta.control("POST", "/tokens", {"token": "EAAshort", "expires_at": 0, "subcode": 460})
    assert (await meta.get("/me"))["error"]["error_subcode"] == 460
    await meta.control("POST", "/tokens", {"token": "EAAshort", "subcode": None})
    assert (await meta.get("/me")).status == 200


@claims("tokens.proof")
async def test_the_proof_is_checked(meta: Meta) -> None:
    right = hmac.new(TEST_APP_SECRET.encode(), TEST_TOKEN.encode(), hashlib.sha256).hexdigest()
    assert (await meta.get("/me", appsecret_proof=right)).status == 200
    wrong = await meta.get("/me", appsecret_proof="0" * 64)
    assert (wrong.code, wrong.message) == (100, "Invalid appsecret_proof provided in the API argument")
    await meta.control("POST", "/tokens", {"token": TEST_TOKEN, "proof_required": True})
    missing = await meta.get("/me")
    assert (missing.code, missing["error"]["type"]) == (100, "GraphMethodException")
    assert (await meta.get("/me", appsecret_proof=right)).status == 200


@claims("tokens.debug")
async def test_an_app_token_inspects_a_token(meta: Meta) -> None:
    meta.token = f"{TEST_APP}|{TEST_APP_SECRET}"
    data = (await meta.get("/debug_token", input_token=TEST_TOKEN))["data"]
    assert data["is_valid"] is True
    assert data["app_id"] == TEST_APP
    assert data["expires_at"] == 0
    assert "catalog_management" in data["scopes"]
    unknown = (await meta.get("/debug_token", input_token="EAAnobody"))["data"]
    assert unknown["is_valid"] is False
    assert unknown["error"]["code"] == 190


@claims("tokens.debug", "switch.debug_token_with_itself")
async def test_a_token_that_inspects_itself_may_be_refused(make: Any) -> None:
    refused: Meta = await make()
    answer = await refused.get("/debug_token", input_token=TEST_TOKEN)
    assert answer.code == 100
    allowed: Meta = await make(switches={"debug_token_with_itself": "allowed"})
    assert (await allowed.get("/debug_token", input_token=TEST_TOKEN))["data"]["is_valid"] is True


@claims("tokens.debug")
async def test_an_expired_token_is_shown_as_such(meta: Meta) -> None:
    await meta.control("POST", "/tokens", {"token": "EAAold", "expires_in": 10})
    meta.wait(20)
    meta.token = f"{TEST_APP}|{TEST_APP_SECRET}"
    data = (await meta.get("/debug_token", input_token="EAAold"))["data"]
    assert data["is_valid"] is False
    assert data["error"]["subcode"] == 463


@claims("tokens.permissions", "tokens.app")
async def test_permissions_and_app(meta: Meta) -> None:
    rows = (await meta.get("/me/permissions")).rows
    assert {"permission": "catalog_management", "status": "granted"} in rows
    assert (await meta.get("/app"))["id"] == TEST_APP


async def test_a_token_without_the_permission_is_refused(meta: Meta) -> None:
    await meta.control("POST", "/tokens", {"token": "EAApoor", "scopes": ["business_management"]})
    meta.token = "EAApoor"
    answer = await meta.get(f"/{meta.business}/owned_product_catalogs")
    assert answer.code == 200
    assert "catalog_management" in answer.message


async def test_what_belongs_to_another_business_does_not_exist(meta: Meta) -> None:
    catalog = await meta.catalog()
    await meta.control("POST", "/tokens", {"token": "EAAother", "business": "777"})
    meta.token = "EAAother"
    answer = await meta.get(f"/{catalog}")
    assert (answer.code, answer["error"]["error_subcode"]) == (100, 33)
    assert answer["error"]["type"] == "GraphMethodException"


@claims("switch.test_token")
async def test_the_well_known_token_can_be_turned_off(make: Any) -> None:
    meta: Meta = await make(switches={"test_token": "refused"})
    assert (await meta.get("/me")).code == 190


async def test_what_is_unknown_is_an_error_and_what_is_missing_says_so(meta: Meta) -> None:
    catalog = await meta.catalog()
    path = await meta.get(f"/{catalog}/bogus")
    assert (path.code, path.message) == (2500, "Unknown path components: /bogus")
    parameter = await meta.get(f"/{catalog}", colour="red")
    assert parameter.code == 100
    assert "colour" in parameter.message
    name = await meta.get(f"/{catalog}", fields="id,colour")
    assert name.message == "(#100) Tried accessing nonexisting field (colour) on node type (ProductCatalog)"
    node = await meta.get("/4242")
    assert (node.code, node["error"]["error_subcode"]) == (100, 33)
    later = await meta.get(f"/{catalog}/product_sets")
    assert later.status == 501
    assert "Product sets" in later.message
