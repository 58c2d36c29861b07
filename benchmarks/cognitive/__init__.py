"""How well Cognitive plans: `python -m benchmarks.cognitive planner` and `python -m benchmarks.cognitive model`."""
