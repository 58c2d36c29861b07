"""The registry: model files, their aliases, and who uses them."""
