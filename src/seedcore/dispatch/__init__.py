"""Dispatchers and the reaper."""
