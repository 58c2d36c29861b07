"""The Coordinator: one decision for every task."""
