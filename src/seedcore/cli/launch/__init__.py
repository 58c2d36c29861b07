"""`seedcore run`: bring a whole SeedCore up on this machine, and take it down again."""
