"""State: one place that sees everything."""
