"""The skills that SeedCore brings along."""
