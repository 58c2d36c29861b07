"""Texts become vectors: in this process, or by an endpoint."""
