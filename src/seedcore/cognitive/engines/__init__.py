"""Two engines behind one protocol: search and statistics, and a language model."""
