"""Benchmarks of the ML service."""
