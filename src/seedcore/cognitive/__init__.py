"""Plans: a goal becomes a DAG of skills, found by search over their typed inputs and outputs."""
