"""Asking the Coordinator what to do with leased tasks, and reporting to it how they went."""
