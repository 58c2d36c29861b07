"""Data of models: tables, schemas, and where rows come from."""
