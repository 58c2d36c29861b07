"""Jobs to run against a running SeedCore."""
