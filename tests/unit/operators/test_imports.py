"""The operator refuses the data stack; each test asks a fresh interpreter."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
OPERATOR = (
    "import controller.operators.process, controller.operators.watching, controller.reconcile.wiring, "
    "controller.meta.client, controller.preparing.child, controller.sources.probe, controller.stores.local, deepdiff"
)


def fresh(program: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_the_whole_operator_is_imported_without_it() -> None:
    program = f"""
from controller.operators.imports import DATA_STACK, refuse_data_stack
refuse_data_stack()
{OPERATOR}
import sys
print(sorted(DATA_STACK & {{name.partition(".")[0] for name in sys.modules}}))
"""
    assert fresh(program) == "[]"


def test_deepdiff_still_tells_differences() -> None:
    program = """
from controller.operators.imports import refuse_data_stack
refuse_data_stack()
from deepdiff import DeepDiff
print(DeepDiff({"a": 1}, {"a": 2})["values_changed"])
"""
    assert fresh(program) == "{\"root['a']\": {'new_value': 2, 'old_value': 1}}"


def test_an_import_of_it_fails_and_says_where_it_belongs() -> None:
    program = """
from controller.operators.imports import refuse_data_stack
refuse_data_stack()
refuse_data_stack()
for name in ("polars", "numpy", "pandas", "duckdb", "lxml.etree"):
    try:
        __import__(name)
    except ModuleNotFoundError as error:
        assert "prepares items" in str(error), name
    else:
        raise AssertionError(name)
"""
    fresh(program)


def test_what_was_loaded_before_is_a_defect() -> None:
    program = """
import sys, types
sys.modules["numpy"] = types.ModuleType("numpy")
from controller.operators.imports import refuse_data_stack
try:
    refuse_data_stack()
except RuntimeError as error:
    print(error)
"""
    assert fresh(program) == "loaded before it could be refused: numpy"


def test_a_step_starts_without_kubernetes() -> None:
    program = """
import sys
sys.argv = ["controller", "prepare"]
from controller.__main__ import main
try:
    main()
except SystemExit as ended:
    print(ended.code, sorted({"kopf", "kubernetes", "aiohttp"} & {name.partition(".")[0] for name in sys.modules}))
"""
    assert fresh(program) == "2 []"
