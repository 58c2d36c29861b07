"""Every statement of the task engine, by name, each beside the index that serves it.

Claims and acknowledgements run with ENGINE_SESSION (see `stores.postgres`): their plans stay index and TID scans
whatever the size of history; `tests/tasks/sql/test_query_plans.py` asks EXPLAIN.
"""

from .look import *  # noqa: F403 - one name for all statements
from .tend import *  # noqa: F403
from .work import *  # noqa: F403
