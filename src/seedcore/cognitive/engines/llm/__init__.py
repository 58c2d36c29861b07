"""The engine that asks a language model, and holds its answers to the same schemas and checks."""
