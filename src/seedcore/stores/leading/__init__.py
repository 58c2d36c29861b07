"""Who leads: one process of several does what must be done once."""
