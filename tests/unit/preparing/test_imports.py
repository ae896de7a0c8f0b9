"""The operator never holds rows: what it imports to start a child brings none of the data stack along."""

import subprocess
import sys

import pytest

DATA_STACK = ("polars", "polars_hash", "numpy", "pandas", "pyarrow", "duckdb", "lxml", "isal", "orjson", "xxhash")


@pytest.mark.parametrize(
    "module",
    ["controller.preparing.child", "controller.sources.probe", "controller.stores.local", "controller.ports.preparing"],
)
def test_without_the_data_stack(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(name.split('.')[0] for name in sys.modules))"
    names = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.split()
    assert not set(DATA_STACK).intersection(names)
    assert "controller" in names
