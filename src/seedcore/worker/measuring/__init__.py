"""What a worker counts of its tasks."""
