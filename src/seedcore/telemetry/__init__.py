"""Logs, metrics, and the seam for traces."""
