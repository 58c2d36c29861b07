"""Measurements: each module runs by `python -m benchmarks.NAME` and prints a table, or JSON with `--json`."""
