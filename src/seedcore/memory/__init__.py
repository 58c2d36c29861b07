"""Working memory, and flashbulb memory: incidents that are kept for good."""
