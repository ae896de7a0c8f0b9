"""Types of parameters: what a value must look like, whichever encoding carried it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hack.emulator import bodies, jsons, messages

Check = Callable[[str, bodies.Value], bodies.Value]

# Accepted on every call and never handed to it.
COMMON = frozenset(
    {
        "access_token", "appsecret_proof", "appsecret_time", "fields", "locale", "format", "pretty", "method",
        "suppress_http_code", "debug", "include_headers", "metadata", "date_format", "return_ssl_resources",
    }
)  # fmt: skip
PAGING = frozenset({"limit", "after", "before", "summary", "default_summary"})
CURRENCY = re.compile(r"^[A-Z]{3}$")
COUNTRY = re.compile(r"^[A-Z]{2}$")


DIGITS_MAX = 18  # more never fit into an id


def is_digits(text: str) -> bool:
    """Only 0 to 9 (other scripts have digits too), and few enough to be a number of Meta's."""
    return text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX


@dataclass(frozen=True, slots=True)
class Param:
    name: str
    check: Check
    required: bool = False


def text(name: str, value: bodies.Value) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise messages.invalid(f"Param {name} must be a string", name)


def filled(name: str, value: bodies.Value) -> str:
    found = text(name, value)
    if not found.strip():
        raise messages.missing_parameter(name)
    return found


def boolean(name: str, value: bodies.Value) -> bool:
    if isinstance(value, bool):
        return value
    known = {"true": True, "1": True, "false": False, "0": False}
    if isinstance(value, str | int) and str(value).lower() in known:
        return known[str(value).lower()]
    raise messages.invalid(f"Param {name} must be a boolean", name)


def integer(name: str, value: bodies.Value) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,18}", value.strip()):
        return int(value)
    raise messages.invalid(f"Param {name} must be an integer", name)


def number_id(name: str, value: bodies.Value) -> str:
    found = text(name, value)
    if not is_digits(found):
        raise messages.invalid(f'Param {name} must be a valid ID string (e.g., "123")', name)
    return found


def decoded(name: str, value: bodies.Value) -> jsons.Json:
    """A JSON value that may have come as a JSON string inside a form."""
    if isinstance(value, bodies.UploadedFile):
        raise messages.invalid(f"Param {name} must not be a file", name)
    if not isinstance(value, str):
        return value
    try:
        return jsons.parse(value)
    except ValueError:
        raise messages.invalid(f"Param {name} must be valid JSON", name) from None


def array(name: str, value: bodies.Value) -> list[jsons.Json]:
    found = decoded(name, value)
    if not isinstance(found, list):
        raise messages.invalid(f"Param {name} must be an array.", name)
    return found


def texts(name: str, value: bodies.Value) -> list[jsons.Json]:
    """A list of texts, as JSON or with commas."""
    if isinstance(value, str) and not value.lstrip().startswith("["):
        return [one.strip() for one in value.split(",") if one.strip()]
    found = array(name, value)
    if not all(isinstance(one, str) for one in found):
        raise messages.invalid(f"Param {name} must be an array of strings.", name)
    return found


def mapping(name: str, value: bodies.Value) -> jsons.Object:
    found = decoded(name, value)
    if not isinstance(found, dict):
        raise messages.invalid(f"Param {name} must be an object.", name)
    return found


def opaque(name: str, value: bodies.Value) -> jsons.Json:
    """A value that is kept as it came."""
    if isinstance(value, bodies.UploadedFile):
        raise messages.invalid(f"Param {name} must not be a file", name)
    return value


def file(name: str, value: bodies.Value) -> bodies.UploadedFile:
    if isinstance(value, bodies.UploadedFile):
        return value
    raise messages.invalid(f"Param {name} must be uploaded as a file", name)


def one_of(*allowed: str, fold: bool = True) -> Check:
    """An enum; Meta's samples use both cases."""

    def check(name: str, value: bodies.Value) -> str:
        found = text(name, value)
        for word in allowed:
            if found == word or (fold and found.lower() == word.lower()):
                return word
        raise messages.invalid(f"Param {name} must be one of {{{', '.join(allowed)}}}", name)

    return check


def currency(name: str, value: bodies.Value) -> str:
    found = text(name, value)
    if not CURRENCY.match(found):
        raise messages.invalid(f"Param {name} must be an ISO 4217 currency code", name)
    return found


def country(name: str, value: bodies.Value) -> str:
    found = text(name, value)
    if not COUNTRY.match(found):
        raise messages.invalid(f"Param {name} must be an ISO 3166 country code", name)
    return found


def web_address(name: str, value: bodies.Value) -> str:
    found = text(name, value)
    if not re.match(r"^(https?|ftps?|sftp)://[^\s/]+", found):
        raise messages.invalid(f"Param {name} is not a valid URI.", name)
    return found


def check_all(found: bodies.Parameters, params: Mapping[str, Param], *, paged: bool, where: str) -> bodies.Parameters:
    """The parameters of one call: unknown ones, missing ones and wrong ones are errors."""
    checked: bodies.Parameters = {}
    for name, value in found.items():
        if name in COMMON or (paged and name in PAGING):
            continue
        param = params.get(name)
        if param is None:
            raise messages.unknown_parameter(name, where)
        checked[name] = param.check(name, value)
    for name, param in params.items():
        if param.required and name not in checked:
            raise messages.missing_parameter(name)
    return checked
