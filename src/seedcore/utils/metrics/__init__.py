"""Metrics of a process of Ray."""
