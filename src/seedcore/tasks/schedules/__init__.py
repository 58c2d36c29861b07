"""Schedules: tasks that are submitted at given times."""
