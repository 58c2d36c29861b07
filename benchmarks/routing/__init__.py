"""Figures of routing: `python -m benchmarks.routing`."""
