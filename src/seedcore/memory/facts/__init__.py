"""Facts: what is held to be true, from when to when, and the plans that relied on it."""
