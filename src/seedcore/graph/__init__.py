"""The knowledge graph over Bolt."""
