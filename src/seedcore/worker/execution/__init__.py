"""Runs skills inside a worker: executor, pools, watchdog."""
