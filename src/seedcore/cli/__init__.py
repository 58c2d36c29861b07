"""The `seedcore` command: start a whole SeedCore on this machine, and look after its configuration."""
