"""Which agents belong to which organ."""
