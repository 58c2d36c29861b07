"""What shortens the start of a process."""
