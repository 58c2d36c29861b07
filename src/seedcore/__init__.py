"""SeedCore: fleets of skilled agents on Ray."""

__version__ = "0.1.0"
