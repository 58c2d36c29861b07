"""Certificates of HTTP: what servers show, what clients hold it against, and how a new one gets to a running server."""
