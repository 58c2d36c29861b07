"""Logs, and the seams for metrics and traces."""
