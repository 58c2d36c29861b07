"""The task engine beside the Postgres queues that people use from Python: `python -m benchmarks.queue`."""
