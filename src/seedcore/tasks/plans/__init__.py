"""Plans: what makes one valid, its options, and recipes."""
