"""Scaling: arrivals as they were recorded, and as they are forecast."""
