"""The engine that needs no language model: search over typed skills, Bayes factors, expected loss, statistics."""
