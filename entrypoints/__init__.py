"""One builder for each Serve application; no logic."""
