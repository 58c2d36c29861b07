"""Memory: working memory, facts, and flashbulbs (incidents that are kept permanently)."""
