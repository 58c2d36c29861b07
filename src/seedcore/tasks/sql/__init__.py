"""SQL of the task engine, by subject; every statement stands beside the index that serves it.

Claims and acknowledgements run with ENGINE_SESSION (see `stores.postgres`): their plans stay index and TID scans
whatever the size of history, and whatever PostgreSQL assumes about it: a vacuum that finds a queue's tables empty makes
it assume so until the next vacuum. Hence three forms. `id = any(array(...))` instead of `in (...)`; `lateral (... where
id = a.id offset 0)`, which cannot be turned round, for a join; and where a delete has to join, `id between a.id and
a.id`: an equality would let the whole index be read in order. `tests/tasks/sql/test_query_plans.py` checks EXPLAIN.
"""
