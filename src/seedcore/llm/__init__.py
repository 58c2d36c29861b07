"""Language models and embedders: clients, budgets, the embedded server."""
