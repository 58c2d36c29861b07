"""Bringing a SeedCore up: organs, dispatchers, and the proof that a task goes through."""
