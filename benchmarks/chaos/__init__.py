"""`python -m benchmarks.chaos`: kill and stop processes of a running SeedCore at random while tasks run, then judge.

`judge` says what counts as lost, completed twice and stolen, and from which evidence; `plan` what is done to whom.
"""
