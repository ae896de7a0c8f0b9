"""A file that comes with the request instead of being fetched: the value of a ConfigMap, read by the operator.

The operator may read a ConfigMap by name and the process with the rows has no access to the API server, so the value
(at most 1 MiB, which is what a ConfigMap holds) travels with the credentials on standard input. Its version is its
digest.
"""

import base64
import hashlib


def packed(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def content(packed_content: str | None) -> bytes:
    return base64.b64decode(packed_content or "")


def version(packed_content: str | None) -> str:
    return "sha256:" + hashlib.sha256(content(packed_content)).hexdigest()
