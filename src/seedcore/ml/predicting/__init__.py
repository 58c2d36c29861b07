"""Predictions: loaded models, their cache, and what rows they take."""
