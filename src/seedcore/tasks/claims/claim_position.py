"""Where the next claim begins in a lane's order, so that it does not step over rows that earlier claims deleted.

While some transaction is open for long, deleted rows cannot be vacuumed away, and a claim that begins at the head of
the index would visit every one of them again. So it begins, for each priority and tenant, behind what was claimed a
moment ago. A task that was submitted before that and committed late is found by the full read every `FULL_S`.
"""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import islice

LAG_S = 0.1
"""Submits that commit within this time of one another are never missed."""

FULL_S = 1.0
FIRST, LAST = -32768, 32767
MAX_HEADS = 256
"""Of so many heads it is remembered how far their claims have come; those of the others begin at the head."""

Head = tuple[int, str]
"""A rank and a tenant: in the order of a lane, the rows of one head follow each other."""

Claimed = Mapping[Head, Sequence[int]]
"""The numbers of claimed rows, by head."""

Places = tuple[list[int], list[str], list[int], list[int], list[str]]
"""Ranges to look through, in order: ranks, tenants, the numbers behind which to begin; ranks and tenants of their ends.
"""

WHOLE: Places = ([FIRST], [""], [0], [LAST], [""])


class ClaimPosition:
    """How far the claims of one claimant have come in one lane of one queue."""

    def __init__(self) -> None:
        self._settled: dict[Head, int] = {}
        self._recent: deque[tuple[float, dict[Head, int]]] = deque()
        self._full_read_at = float("-inf")
        self._whole = self._read_all = True

    def places(self) -> Places:
        """What the next claim has to look through, if it takes all in order."""
        now = time.monotonic()
        while self._recent and now - self._recent[0][0] >= LAG_S:
            for head, seq in self._recent.popleft()[1].items():
                self._settled[head] = max(seq, self._settled.pop(head, 0))
        if (above := len(self._settled) - MAX_HEADS) > 0:
            for head in list(islice(self._settled, above)):
                del self._settled[head]
        self._whole = now - self._full_read_at >= FULL_S or not self._settled
        if self._whole:
            self._full_read_at = now
            return WHOLE
        return self.known_places()

    def known_places(self) -> Places:
        """All of the lane, without what is known to be gone."""
        heads = sorted(self._settled)
        ranks, tenants = [rank for rank, _ in heads], [tenant for _, tenant in heads]
        seqs = [self._settled[head] for head in heads]
        return [FIRST, *ranks], ["", *tenants], [0, *seqs], [*ranks, LAST], [*tenants, ""]

    def after(self, head: Head) -> int:
        """The number behind which this claim begins, in this head."""
        return 0 if self._whole else self._settled.get(head, 0)

    def claimed(self, found: Claimed, full: bool) -> None:
        """These were claimed: the rows before the last of each head were read. `full`: there may be more."""
        last: dict[Head, int] = {}
        for head, seqs in found.items():
            if (lowest := min(seqs)) < self._settled.get(head, 0):
                # It had been passed over, and others may have been too: go on from there.
                self._settled[head] = lowest
                self._recent.clear()
            last[head] = max(seqs)
        if self._whole:
            self._read_all = not full
        elif not full and not self._read_all:
            # Nothing more there; but the last full read stopped at its limit.
            self._full_read_at = float("-inf")
        if last:
            self._recent.append((time.monotonic(), last))
