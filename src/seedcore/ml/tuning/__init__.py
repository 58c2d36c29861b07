"""Tuning: search spaces, trials on Ray, and the best of them."""
