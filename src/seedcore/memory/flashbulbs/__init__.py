"""Flashbulb memory: incidents that are kept permanently."""
