"""Turning leased tasks into plans whose steps the task engine stores."""
