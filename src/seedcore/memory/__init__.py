"""Working memory, and flashbulb memory: incidents that are kept permanently."""
