"""Where the next claim begins in a queue's order, so that it does not step over rows that earlier claims deleted.

While some transaction is open for long, deleted rows cannot be vacuumed away, and a claim that begins at the head of
the index would visit every one of them again. So it begins, for each priority, behind what was claimed a moment ago.
A task that was submitted before that and committed late is found by the full read every `FULL_S`.
"""

import time
from collections import deque
from collections.abc import Sequence

LAG_S = 0.1
"""Submits that commit within this time of one another are never missed."""

FULL_S = 1.0
FIRST, LAST = -32768, 32767
Places = tuple[list[int], list[int], list[int]]
WHOLE: Places = ([FIRST], [0], [LAST])


class ClaimCursor:
    """The position of one claimant in one lane of one queue."""

    def __init__(self) -> None:
        self._settled: dict[int, int] = {}
        self._recent: deque[tuple[float, dict[int, int]]] = deque()
        self._full_read_at = float("-inf")
        self._whole = self._read_all = True

    def places(self) -> Places:
        """Ranges to look through, in order: ranks, the sequence numbers behind which to begin, the next ranks."""
        now = time.monotonic()
        while self._recent and now - self._recent[0][0] >= LAG_S:
            for rank, seq in self._recent.popleft()[1].items():
                self._settled[rank] = max(seq, self._settled.get(rank, 0))
        self._whole = now - self._full_read_at >= FULL_S or not self._settled
        if self._whole:
            self._full_read_at = now
            return WHOLE
        ranks = sorted(self._settled)
        return [FIRST, *ranks], [0, *(self._settled[rank] for rank in ranks)], [*ranks, LAST]

    def claimed(self, rows: Sequence[tuple[int, int]], limit: int) -> None:
        """Of at most `limit`, these rows (rank, seq) were claimed: the rows before the last of each rank were read."""
        if self._whole:
            self._read_all = len(rows) < limit
        elif len(rows) < limit and not self._read_all:
            # Nothing more there; but the last full read stopped at its limit.
            self._full_read_at = float("-inf")
        last: dict[int, int] = {}
        for rank, seq in rows:
            if seq < self._settled.get(rank, 0):
                # It had been passed over, and others may have been too: go on from there.
                self._settled[rank] = seq
                self._recent.clear()
            if seq > last.get(rank, 0):
                last[rank] = seq
        if last:
            self._recent.append((time.monotonic(), last))
