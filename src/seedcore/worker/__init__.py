"""The process that claims tasks, decides where each goes, and runs them."""
