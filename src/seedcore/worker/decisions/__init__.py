"""Deciding about leased tasks with what the Coordinator publishes, and reporting to it how they went."""
