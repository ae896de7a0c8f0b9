"""Use cases: observe, plan, run, report. Level-triggered; one module per kind; adapters are seen through ports only."""
