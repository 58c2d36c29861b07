"""Machine learning: models trained from tables, kept in a registry on disk, and asked for predictions."""
