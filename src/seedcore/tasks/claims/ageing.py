"""Ageing: one place of every twenty goes to the task that has waited longest below the best priority.

A row of `ready` does not say since when it is there, but its number does: the claimant notes now and then which number
is the last, and what has a number from before `after_s` seconds has waited for as long.
"""

import time
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from seedcore.tasks.claims.claim_position import Head

PLACES = 20
"""One of so many."""

MAX_AGED_HEADS = 8
SAMPLES = 50


class AgedRange(NamedTuple):
    """Rows of a head with numbers between these two."""

    head: Head
    after: int
    end: int


class Ageing:
    """What has waited for long in one lane.

    Args:
        after_s: the wait from which a task has a right to a place; 0: none ever has.
    """

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._samples: deque[tuple[float, int]] = deque()
        self._old = 0
        self._credit = 0.0

    def sampled(self, seq: int) -> None:
        """The last number given is `seq`."""
        if not self._after_s:
            return
        now = time.monotonic()
        if not self._samples or now - self._samples[-1][0] >= self._after_s / SAMPLES:
            self._samples.append((now, seq))
        while self._samples and now - self._samples[0][0] >= self._after_s:
            self._old = self._samples.popleft()[1]

    def places(self, heads: Mapping[Head, int], best: int, limit: int) -> tuple[list[AgedRange], int]:
        """Where the oldest tasks below rank `best` are, in order, and how many of them a claim of `limit` takes."""
        old = sorted((seq, head) for head, seq in heads.items() if head[0] > best and seq <= self._old)
        if not old:
            self._credit = 0.0
            return [], 0
        places = int(min(self._credit + limit / PLACES, max(1.0, limit / PLACES)))
        if places < 1:
            return [], 0
        del old[MAX_AGED_HEADS:]
        # Of each what is older than the first of the next one, as far as is known; then the rest of what is old.
        ends = [*(seq for seq, _ in old[1:]), self._old + 1]
        first = [AgedRange(head, 0, end) for (_, head), end in zip(old, ends, strict=True)]
        rest = [AgedRange(head, end - 1, self._old + 1) for (_, head), end in zip(old[:-1], ends[:-1], strict=True)]
        return [*first, *rest], places

    def claimed(self, count: int, aged: int) -> None:
        """Of a claim's `count` tasks `aged` had such a place."""
        self._credit += count / PLACES - aged
