"""Bringing a SeedCore up: organs, workers, and the proof that a task goes through."""
