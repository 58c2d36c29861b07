"""Salience: how much a task matters, by a formula or a learned model."""
