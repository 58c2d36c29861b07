"""Events of tasks: notifications, feeds of single tasks, and the log of all."""
