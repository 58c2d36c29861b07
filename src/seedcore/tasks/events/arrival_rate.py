"""When it is better to fetch than to be called.

PostgreSQL holds one lock from a NOTIFY to the end of its commit, so commits that call wait for one another's write to
disk: some hundreds a second. Where things come that fast, who waits for them looks often, and lets nobody call.
"""

import time
from collections import deque

WINDOW_S = 0.05


class Flow:
    """Counts what came within the last WINDOW_S.

    Args:
        many: so many make a flow.
    """

    def __init__(self, many: int) -> None:
        self._many = many
        self._recent: deque[tuple[float, int]] = deque()
        self._count = 0

    def came(self, count: int) -> None:
        """So many came just now; 0 is worth telling, too: the flow may have ended."""
        now = time.monotonic()
        if count:
            self._recent.append((now, count))
            self._count += count
        while self._recent and now - self._recent[0][0] > WINDOW_S:
            self._count -= self._recent.popleft()[1]

    @property
    def flows(self) -> bool:
        """Whether there were many when `came` was last told."""
        return self._count >= self._many
