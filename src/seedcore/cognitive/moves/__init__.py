"""Moves for work that stopped looking like its past: which there are, and which is worth trying."""
