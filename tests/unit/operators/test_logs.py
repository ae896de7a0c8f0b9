"""One JSON object per line, and nothing secret in it."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from controller.operators import logs
from controller.operators.redaction import REDACTED, REGISTERED_MAX, Redactor

TOKEN = "EAABsbCS1iHgBAKZCkZBZA0ZD"
SECRET = 'p@ss/wörd "quoted" & more'


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What the log writes; the test runner's own handlers come back afterwards."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    stream = io.StringIO()
    redactor = Redactor()
    redactor.register(SECRET)
    logs.configure("INFO", redactor, stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def test_a_line_is_an_object_with_the_extras(written: io.StringIO) -> None:
    logging.getLogger("controller.x").info("taken", extra={"object": "Catalog a/b", "count": 3})
    line = json.loads(written.getvalue())
    assert line.pop("time").startswith("20")
    assert line == {"level": "INFO", "logger": "controller.x", "message": "taken", "object": "Catalog a/b", "count": 3}


def test_libraries_are_quiet_unless_something_is_wrong(written: io.StringIO) -> None:
    for name in logs.QUIET_LOGGERS:
        logging.getLogger(name).info("everyday")
        logging.getLogger(name).warning("wrong")
    assert [json.loads(line)["message"] for line in written.getvalue().splitlines()] == ["wrong"] * len(
        logs.QUIET_LOGGERS
    )


@pytest.mark.parametrize("where", ["message", "argument", "extra", "nested", "traceback", "chained"])
def test_a_registered_secret_shows_nowhere(written: io.StringIO, where: str) -> None:
    log = logging.getLogger("controller.x")
    match where:
        case "message":
            log.info("it is " + SECRET)  # noqa: G003 - exactly what must not hurt
        case "argument":
            log.info("it is %s", SECRET)
        case "extra":
            log.info("x", extra={"value": SECRET})
        case "nested":
            log.info("x", extra={"value": {"deep": [SECRET]}})
        case _:
            _fail(log, chained=where == "chained")
    text = written.getvalue()
    json.loads(text)
    assert REDACTED in text
    assert "wörd" not in text
    assert "quoted" not in text


def _fail(log: logging.Logger, *, chained: bool) -> None:
    try:
        try:
            raise ValueError(SECRET)  # noqa: TRY301
        except ValueError as error:
            if chained:
                raise RuntimeError("outer") from error
            raise
    except (ValueError, RuntimeError):
        log.exception("failed")


@pytest.mark.parametrize(
    ("text", "kept", "hidden"),
    [
        (f"token {TOKEN} end", "end", TOKEN),
        ("GET https://graph.example/v26.0/1?fields=id&access_token=abc", "https://graph.example/v26.0/1?", "abc"),
        ("GET https://shop.example/export.csv?key=shh#x", "https://shop.example/export.csv?", "shh"),
        ("https://user:geheim@shop.example/x", "shop.example/x", "geheim"),
        ("Authorization: Bearer abcdefghijk", "Authorization", "abcdefghijk"),
        ("{'Authorization': 'Basic dXNlcjpwYXNz'}", "Authorization", "dXNlcjpwYXNz"),
        ("headers=[('authorization', 'Bearer abcdefghijk')]", "authorization", "abcdefghijk"),
        ("body access_token=abc&x=1", "x=1", "abc"),
        ('{"access_token": "abcdef"}', "access_token", "abcdef"),
        ("appsecret_proof=0123abcd", "appsecret_proof", "0123abcd"),
        ("app token 1234567890|aBcDeFgHiJkLmNoPqRsT", "app token", "aBcDeFgHiJkLmNoPqRsT"),
        ("jwt eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJr.c2lnbmF0dXJl", "jwt", "eyJpc3MiOiJr"),
        ("s3://bucket/key?X-Amz-Signature=abcdef", "s3://bucket/key?", "abcdef"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(written: io.StringIO, text: str, kept: str, hidden: str) -> None:
    logging.getLogger("controller.x").info("%s", text)
    line = json.loads(written.getvalue())
    assert kept in line["message"]
    assert hidden not in line["message"]
    assert REDACTED in line["message"]


@pytest.mark.parametrize(
    "text",
    [
        "Catalog shop/germany: 404 NotFound",
        "lease taken by vm_0011223344556677",
        "GET https://127.0.0.1:6443/apis/metacatalog.dev/v1alpha1/catalogs",
        "the token of connection acme expires soon",
        "SecretMissing: Secret shop/meta has no key token",
    ],
)
def test_ordinary_lines_stay_whole(written: io.StringIO, text: str) -> None:
    logging.getLogger("controller.x").info("%s", text)
    assert json.loads(written.getvalue())["message"] == text


def test_urls_carry_registered_secrets_in_their_own_spelling() -> None:
    redactor = Redactor()
    redactor.register("a b/c+d=é")
    assert redactor.redact("x a%20b%2Fc%2Bd%3D%C3%A9 y a+b%2Fc%2Bd%3D%C3%A9") == f"x {REDACTED} y {REDACTED}"


def test_short_texts_and_old_secrets_are_not_kept() -> None:
    redactor = Redactor()
    redactor.register("de")
    assert redactor.redact("Adelaide") == "Adelaide"
    redactor.register("oldest-secret")
    for number in range(REGISTERED_MAX):
        redactor.register(f"secret-{number}")
    assert redactor.redact("oldest-secret") == "oldest-secret"
    assert redactor.redact("secret-4000") == REDACTED


def test_a_secret_inside_another_leaves_no_rest() -> None:
    redactor = Redactor()
    redactor.register("abcdef")
    redactor.register("abcdefghij")
    assert redactor.redact("abcdefghij") == REDACTED


def test_the_log_goes_to_standard_error_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    try:
        logs.configure("INFO", Redactor())
        logging.getLogger("x").info("hello")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        logging.captureWarnings(capture=False)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err)["message"] == "hello"
    assert sys.stderr is not None
