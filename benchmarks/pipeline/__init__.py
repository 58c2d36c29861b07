"""Figures of the whole path of a task: `python -m benchmarks.pipeline`."""
