"""Publishes what workers decide with, and hears what they did."""
