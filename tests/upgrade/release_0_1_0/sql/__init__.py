"""Every statement of the task engine, by name, each beside the index that serves it.

Claims and acknowledgements run with ENGINE_SESSION (see `stores.postgres`): their plans stay index and TID scans
whatever the size of history, and whatever PostgreSQL believes of it: a vacuum that sees a queue's tables empty makes it
think so until the next one. Hence three forms. `id = any(array(...))` instead of `in (...)`; `lateral (... where id =
a.id offset 0)`, which cannot be turned round, for a join; and where a delete has to join, `id between a.id and a.id`: an
equality would let the whole index be read in order. `tests/tasks/test_plans_of_statements.py` asks EXPLAIN.
"""

from .look import *  # noqa: F403 - one name for all statements
from .tend import *  # noqa: F403
from .work import *  # noqa: F403
