"""`python -m hack.simulate --seed N --days D [--count C]`: non-zero on a violation; one line of counts per seed."""

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path

from tests.simulation import scenario


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m hack.simulate", description="Days of operation in virtual time.")
    parser.add_argument("--seed", type=int, required=True, help="everything is drawn from it")
    parser.add_argument("--days", type=float, default=7.0, help="virtual days (7)")
    parser.add_argument("--count", type=int, default=1, help="run so many seeds, from --seed on")
    parser.add_argument("--calm", action="store_true", help="no faults")
    parser.add_argument("--verbose", action="store_true", help="show the operator's log")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO if options.verbose else logging.CRITICAL)
    failed = 0
    for seed in range(options.seed, options.seed + options.count):
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as directory:
            report = scenario.run(seed, options.days, Path(directory) / "store", faults=not options.calm)
        for violation in report.violations[:20]:
            print(f"  {violation}")
        print(f"{report.line()}; {time.monotonic() - began:.1f} s; trace {report.digest[:12]}", flush=True)
        failed += bool(report.violations)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
