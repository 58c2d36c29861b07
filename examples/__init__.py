"""Real jobs to run against a SeedCore that is up."""
