"""Plain Ray, on the cluster that SeedCore runs on. RAY_ADDRESS names it; see README.md."""
