"""Typed clients between services."""
