"""In-memory twins of the worker's ports. Each passes the same tests as the real implementation."""
