"""The running operator never loads the data stack: an import of it fails at once, wherever it comes from.

deepdiff, for one, imports polars, numpy and pandas where it finds them (105 MiB instead of 32) and works without.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from typing_extensions import override

DATA_STACK = frozenset({"polars", "polars_hash", "numpy", "pandas", "pyarrow", "duckdb", "lxml", "psycopg"})


class _Refusal(MetaPathFinder):
    """First of all finders; knows only what it refuses."""

    @override
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        root = fullname.partition(".")[0]
        if root in DATA_STACK:
            raise ModuleNotFoundError(f"{root} is only for the process that prepares items", name=fullname)
        return None


def refuse_data_stack() -> None:
    """Refuse from now on. Call it before anything else is imported; what is loaded already is a defect."""
    loaded = sorted(DATA_STACK & sys.modules.keys())
    if loaded:
        raise RuntimeError(f"loaded before it could be refused: {', '.join(loaded)}")
    if not any(isinstance(finder, _Refusal) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Refusal())
