"""The gate: outcomes, shadow answers, and the test that promotes or refuses."""
