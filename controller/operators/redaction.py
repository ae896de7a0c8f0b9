"""Nothing secret in a log line, whoever wrote it.

Two nets: the secrets that this process has read, by their text, and whatever looks like one. Works on the finished
line, so arguments, extras and tracebacks are covered alike.
"""

import json
import re
from collections import OrderedDict
from urllib.parse import quote, quote_plus

REDACTED = "[redacted]"
LENGTH_MIN = 6
"""Shorter texts would blot out ordinary words."""
REGISTERED_MAX = 4_096

_VALUE = r"[^\s\"'\\&,;}\])>]+"
_PATTERNS = (
    # Headers, also inside reprs and JSON: Authorization: Bearer …
    (re.compile(r"(?i)(authorization\\?[\"']?\s*[:=,]\s*\\?[\"']?)(?:(?:bearer|basic|oauth)\s+)?" + _VALUE), r"\1"),
    (re.compile(r"(?i)\b((?:bearer|basic|oauth)\s+)[A-Za-z0-9._~+/=|-]{8,}"), r"\1"),
    # Everything after the question mark of a URL, and user info before its host.
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^/\s\"'\\@]+@"), r"\1"),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s\"'\\?#]*\?)[^\s\"'\\]*"), r"\1"),
    # Parameters outside of URLs.
    (
        re.compile(
            r"(?i)\b((?:access_?token|input_token|appsecret_?proof|app_?secret|client_secret|password|passwd|token"
            r"|api_?key|signature|x-amz-[a-z-]+)\\?[\"']?\s*[:=]\s*\\?[\"']?)(?!\[redacted\])" + _VALUE
        ),
        r"\1",
    ),
    # Tokens of Meta, app tokens (id|secret), and JSON web tokens.
    (re.compile(r"()\bEAA[A-Za-z0-9]{8,}"), r"\1"),
    (re.compile(r"()\b[0-9]{8,20}\|[A-Za-z0-9_-]{16,}"), r"\1"),
    (re.compile(r"()\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), r"\1"),
)


class Redactor:
    """Knows the secrets of this process. The oldest are forgotten; the patterns stay."""

    def __init__(self) -> None:
        self._registered: OrderedDict[str, None] = OrderedDict()
        self._longest_first: tuple[str, ...] = ()
        """One secret may contain another."""

    def register(self, secret: str) -> None:
        """Blot out this text, as it is and as URLs, Python and JSON write it."""
        spellings = {text for text in _spellings(secret) if len(text) >= LENGTH_MIN}
        news = spellings - self._registered.keys()
        for text in sorted(spellings):
            self._registered[text] = None
            self._registered.move_to_end(text)
        while len(self._registered) > REGISTERED_MAX:
            self._registered.popitem(last=False)
        if news:
            self._longest_first = tuple(sorted(self._registered, key=len, reverse=True))

    def redact(self, text: str) -> str:
        for secret in self._longest_first:
            if secret in text:
                text = text.replace(secret, REDACTED)
        for pattern, kept in _PATTERNS:
            text = pattern.sub(kept + REDACTED, text)
        return text


def _spellings(secret: str) -> set[str]:
    """The line is JSON in the end, so each spelling may have been escaped once more."""
    plain = {secret, quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1]}
    plain |= {_escaped(text, ascii_only=ascii_only) for text in set(plain) for ascii_only in (True, False)}
    return plain | {_escaped(text, ascii_only=False) for text in plain}


def _escaped(text: str, *, ascii_only: bool) -> str:
    return json.dumps(text, ensure_ascii=ascii_only)[1:-1]
