"""Memory: search, its halves, embedders, the facade."""
