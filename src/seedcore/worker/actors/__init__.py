"""The worker's Ray side: its actors, and its ports over Ray."""
