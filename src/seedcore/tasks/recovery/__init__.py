"""Takes back what ended processes had in hand."""
