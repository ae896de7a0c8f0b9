"""Run simulated worlds from the command line: `python -m hack.simulate --seed N --days D`."""
