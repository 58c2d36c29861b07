"""Every statement of the task engine, by name, each beside the index that serves it.

Claims and acknowledgements run with ENGINE_SESSION (see `stores.postgres`): their plans stay index and TID scans
whatever the size of history; `tests/tasks/test_plans_of_statements.py` asks EXPLAIN.
"""

from seedcore.tasks.sql.look import *  # noqa: F403 - one name for all statements
from seedcore.tasks.sql.tend import *  # noqa: F403
from seedcore.tasks.sql.work import *  # noqa: F403
