"""Submitting tasks: validated whole, then stored in one statement."""
