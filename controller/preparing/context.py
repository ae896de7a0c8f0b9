"""What a step may touch: the store, and a way to read over HTTP. Built at the entry, or by a world without either."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.stores.local import LocalStore

if TYPE_CHECKING:  # most steps need no HTTP
    from controller.sources.http import HTTPReader

OpenHTTP = Callable[[Sequence[str]], "HTTPReader"]
"""Allowed networks to a reader."""


def over_the_network(allowed: Sequence[str]) -> "HTTPReader":
    from controller.sources.http import HTTPReader

    return HTTPReader(allowed)


@dataclass(frozen=True, slots=True)
class Context:
    store: LocalStore
    http: OpenHTTP = over_the_network
