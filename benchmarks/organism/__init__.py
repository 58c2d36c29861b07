"""Figures of the organism: `python -m benchmarks.organism`."""
