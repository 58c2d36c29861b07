"""Measures how fast things arrive, to choose between polling and NOTIFY.

PostgreSQL holds one lock from a NOTIFY to the end of its commit, so commits with a NOTIFY wait for one another's write
to disk: some hundreds a second. Where arrivals are that fast, a reader polls often and asks for no NOTIFY.
"""

import time
from collections import deque

WINDOW_S = 0.05


class ArrivalRate:
    """Counts arrivals within the last WINDOW_S.

    Args:
        high: the rate is high from so many on.
    """

    def __init__(self, high: int) -> None:
        self._high = high
        self._recent: deque[tuple[float, int]] = deque()
        self._count = 0

    def record(self, count: int) -> None:
        """So many arrived just now. Call it with 0, too: the rate may have dropped."""
        now = time.monotonic()
        if count:
            self._recent.append((now, count))
            self._count += count
        while self._recent and now - self._recent[0][0] > WINDOW_S:
            self._count -= self._recent.popleft()[1]

    @property
    def high(self) -> bool:
        """Whether the rate was high at the last call of `record`."""
        return self._count >= self._high
