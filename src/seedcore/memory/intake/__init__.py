"""What SeedCore remembers by itself: ended plans, failures, triages and facts."""
