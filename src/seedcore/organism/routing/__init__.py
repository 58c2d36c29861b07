"""Which organ runs a task type, and which host has an agent."""
