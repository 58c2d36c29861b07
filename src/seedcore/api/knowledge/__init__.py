"""What is known: the routes of memory and of facts."""
