"""Facts in PostgreSQL."""
