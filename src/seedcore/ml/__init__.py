"""Machine learning: trains models from tables, stores them on disk and predicts with them."""
