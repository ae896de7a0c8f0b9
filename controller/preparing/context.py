"""What a step may touch: the store, and a way to read over HTTP. Built at the entry, or by a world without either."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from controller.sources.http import HTTPReader
from controller.stores.local import LocalStore

OpenHTTP = Callable[[Sequence[str]], HTTPReader]
"""Allowed networks to a reader."""


@dataclass(frozen=True, slots=True)
class Context:
    store: LocalStore
    http: OpenHTTP = HTTPReader
