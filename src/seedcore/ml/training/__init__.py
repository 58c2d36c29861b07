"""Training: parameters, splits, fitting, and how good a model is."""
