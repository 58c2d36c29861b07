"""The durable task engine. It knows no Ray."""
