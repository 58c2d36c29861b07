"""The worker's Ray actors, and its ports over Ray."""
