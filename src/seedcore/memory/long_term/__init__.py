"""Long-term memory: texts in PostgreSQL, found by meaning and by words."""
