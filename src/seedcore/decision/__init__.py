"""One decision for a batch of tasks: policy rules, backlog, agent selection. Pure."""
