"""Models in use: their inputs and losses, and what is done when they change."""
