"""Connections to the stores."""
