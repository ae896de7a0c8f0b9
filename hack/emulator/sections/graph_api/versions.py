"""Versions of the API: two are live, a call without one gets the oldest, every other one is refused."""

import re

from hack.emulator import messages
from hack.emulator.documented import documented

LIVE = ("v25.0", "v26.0")  # Marketing API changelog: v25.0 of 18 Feb 2026, v26.0 of 29 Jul 2026
VERSION = re.compile(r"^v\d{1,3}\.\d{1,2}$")


@documented(
    "versions.live",
    page="Versioning",
    section="Versions",
    says=(
        "v26.0 and v25.0 are served; another version is error 2635; a call without version gets the app's default, the"
        " oldest usable one"
    ),
)
def split(path: str) -> tuple[str, list[str]]:
    """Version and the rest of a path."""
    parts = [part for part in path.split("/") if part]
    if not parts or not VERSION.match(parts[0]):
        return LIVE[0], parts
    if parts[0] not in LIVE:
        raise messages.deprecated_version(LIVE[-1])
    return parts[0], parts[1:]
