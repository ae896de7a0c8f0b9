"""What goes out."""

import hashlib
import hmac
from urllib.parse import parse_qsl

import pytest

from controller.faults import Disposition, Fault
from controller.meta.payload import FilePart, JsonDocument, Stream
from controller.meta.protocol import Outgoing, Request, compose, make_proof, node, secrets_of
from controller.ports.meta import Credentials, Secret
from tests.unit.meta.scripted import APP_SECRET, ENDPOINT, TOKEN, credentials, make_body

READ = Request("read_catalog", "read catalog 1", "GET", "1", params=(("fields", "id,name"), ("q", "ü &")))
CREATE = Request("create_feed", "create a feed", "POST", "1/product_feeds", params=(("name", "ü &"),))
DELETE = Request("delete_feed", "delete feed 2", "DELETE", "2", params=(("force", "true"),))
UPLOAD = Request(
    "upload", "upload", "POST", "2/uploads", (("update_only", "true"),), FilePart("a.csv.gz", make_body(b"abc"))
)
BATCH = Request("items_batch", "batch", "POST", "1/items_batch", payload=JsonDocument(make_body(b"{}")))
PROOF = hmac.new(APP_SECRET.encode(), TOKEN.encode(), hashlib.sha256).hexdigest()


def send(request: Request, *, app_secret: bool = False) -> Outgoing:
    return compose(request, credentials(app_secret=app_secret), ENDPOINT)


def test_reads_and_deletions_put_parameters_into_the_address() -> None:
    read = send(READ)
    assert read.url == f"{ENDPOINT}/v26.0/1?fields=id%2Cname&q=%C3%BC+%26"
    assert read.content is None
    assert send(DELETE).url == f"{ENDPOINT}/v26.0/2?force=true"


def test_creations_put_them_into_a_form() -> None:
    create = send(CREATE)
    assert create.url == f"{ENDPOINT}/v26.0/1/product_feeds"
    assert isinstance(create.content, bytes)
    assert parse_qsl(create.content.decode()) == [("name", "ü &")]
    assert create.headers["Content-Type"] == "application/x-www-form-urlencoded"


def test_streams_announce_their_length() -> None:
    for request in (UPLOAD, BATCH):
        outgoing = send(request)
        assert isinstance(outgoing.content, Stream)
        assert outgoing.headers["Content-Length"] == str(outgoing.content.length_bytes)
        assert outgoing.headers["Content-Type"] == outgoing.content.content_type


def test_token_is_in_the_header_and_nowhere_else() -> None:
    for request in (READ, CREATE, DELETE, UPLOAD, BATCH):
        outgoing = send(request, app_secret=True)
        assert outgoing.headers["Authorization"] == f"Bearer {TOKEN}"
        assert TOKEN not in outgoing.url
        assert TOKEN not in repr(outgoing)
        assert APP_SECRET not in outgoing.url + repr(outgoing) + str(dict(outgoing.headers))


async def test_proof_goes_with_every_call_where_there_is_an_app_secret() -> None:
    assert make_proof(Secret(TOKEN), Secret(APP_SECRET)) == PROOF
    for request in (READ, DELETE, BATCH):
        assert f"appsecret_proof={PROOF}" in send(request, app_secret=True).url
        assert "appsecret_proof" not in send(request).url
    form = send(CREATE, app_secret=True)
    assert isinstance(form.content, bytes)
    assert PROOF not in form.url
    assert f"appsecret_proof={PROOF}".encode() in form.content
    upload = send(UPLOAD, app_secret=True)
    assert isinstance(upload.content, Stream)
    assert PROOF not in upload.url
    assert PROOF.encode() in b"".join([piece async for piece in upload.content.open()])


def test_an_apps_own_token_needs_no_proof() -> None:
    request = Request("debug_token", "inspect", "GET", "debug_token", bearer=Secret(f"9|{APP_SECRET}"))
    outgoing = send(request, app_secret=True)
    assert outgoing.headers["Authorization"] == f"Bearer 9|{APP_SECRET}"
    assert "appsecret_proof" not in outgoing.url


def test_writes_end_their_connection() -> None:
    assert all(send(request).headers.get("Connection") == "close" for request in (CREATE, DELETE, UPLOAD, BATCH))
    assert "Connection" not in send(READ).headers


@pytest.mark.parametrize("token", ["", "abc\n", "a b", "tökén", "a\r\nX: y"])
def test_token_that_is_none_is_said_without_showing_it(token: str) -> None:
    with pytest.raises(Fault) as caught:
        compose(READ, Credentials("77", Secret(token)), ENDPOINT)
    assert (caught.value.reason, caught.value.disposition) == ("TokenInvalid", Disposition.STALLED)
    assert not token.strip() or token not in str(caught.value)


def test_ids_cannot_reach_another_path() -> None:
    assert node("../me?x#y", "products") == "..%2Fme%3Fx%23y/products"


def test_what_must_not_be_shown_is_known() -> None:
    shown = {secret.reveal() for secret in secrets_of(READ, credentials(app_secret=True))}
    assert shown == {TOKEN, APP_SECRET, PROOF}


def test_deadline_is_that_of_the_body_where_there_is_one() -> None:
    assert READ.deadline_seconds(credentials(timeout_seconds=7)) == 7
    assert UPLOAD.deadline_seconds(credentials(timeout_seconds=7)) == 5
