"""What goes over the wire of the ML service."""
