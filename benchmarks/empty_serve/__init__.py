"""Seven Serve applications that do nothing, started as SeedCore starts its own: what any seven cost on this machine."""
