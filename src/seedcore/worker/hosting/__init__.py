"""A process as the host of many organs' agents: their executors, reports, watchdog and end."""
