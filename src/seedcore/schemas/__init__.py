"""What goes over the wire between services and their clients, one module a service."""
