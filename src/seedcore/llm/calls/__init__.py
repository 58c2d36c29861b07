"""The one way to a language model's server: time-outs, retries, circuit breaker, concurrency and budgets."""
