"""Facts as they go over the wire."""
