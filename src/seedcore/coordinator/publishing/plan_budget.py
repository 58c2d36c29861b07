"""The budget of plans over all workers: each is lent a share, which counts as spent for all others.

Rules limit plans by `budget.plans_per_minute < N`, and only workers, which evaluate the rules, know N. So no number is
divided here. A worker whose answer says `spent` starts a plan while `spent` and its own plans since are below N.
Everything that others may have started by then is in `spent`, so that over all workers at most N plans start in any
minute. The worker's side is `pricing.plan_allowance`.

Where N is small, unused shares would add up to it, and no worker could plan. As soon as a worker brings back a
share that it wanted and could not use, workers take turns: one share at a time, first to who waited longest.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from seedcore.pricing.plan_allowance import MAX_LENT
from seedcore.schemas.snapshot import PlanShare

MINUTE_S = 60.0

SILENT_S = 10.0
"""A share is used for so long after its answer at most."""

TURNS_S = 10.0
"""Workers take turns until no wanted share has come back unused for this long."""

Holder = tuple[str, str]
"""A worker's name, and its session."""


@dataclass(slots=True)
class _Share:
    """What one session of a worker holds.

    Attributes:
        wanted: how many more plans it wanted with its last report.
        carried: what it may use of earlier shares until the answer to its last report reaches it.
        answered: what answers to its last report lent.
        at: when it was last answered.
        turn: when it was last lent something; who waited longest is next.
    """

    at: float
    wanted: int = 0
    carried: int = 0
    answered: int = 0
    turn: float = float("-inf")

    @property
    def lent(self) -> int:
        """Plans that it may have started since its last report."""
        return max(self.carried, self.answered)


class PlanBudget:
    """Counts the plans that were reported in the last minute, and lends shares."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._reported: deque[tuple[int, int]] = deque()
        self._shares: dict[Holder, _Share] = {}
        self._turns_until = float("-inf")

    def count(self, plans: int) -> None:
        """Count plans that started."""
        if plans <= 0:
            return
        # By whole seconds, rounded up: they count for a little longer than a minute, never shorter.
        second = ceil(self._clock())
        if self._reported and self._reported[-1][0] == second:
            plans += self._reported.pop()[1]
        self._reported.append((second, plans))

    def report(self, holder: Holder, plans: int, wanted: int) -> None:
        """Hear a worker's next report, once: the plans that it started since the one before, and what it wants.

        With its next report a worker shows that it got the answer to the one before.
        """
        now = self._clock()
        self.count(plans)
        share = self._shares.setdefault(holder, _Share(now))
        if wanted and share.answered and not plans and self._others_want(holder, now):
            self._turns_until = now + TURNS_S
        share.wanted = wanted
        share.carried = min(max(0, share.answered - plans), wanted)
        share.answered, share.at = 0, now

    def lends_more(self, holder: Holder) -> bool:
        """Whether an answer now would lend more than the worker has."""
        share = self._shares.get(holder)
        return share is not None and self._offer(holder, share, self._clock()) > share.lent

    def answer(self, holder: Holder) -> PlanShare:
        """The worker's share, which counts as lent from now on; its last report has been heard."""
        now = self._clock()
        # A report that is repeated after a long silence gets nothing: its share was dropped.
        share = self._shares.setdefault(holder, _Share(now))
        lent = self._offer(holder, share, now)
        if lent:
            share.turn = now
        share.answered, share.at = max(share.answered, lent), now
        return {"spent": self.spent(holder), "lent": lent}

    def spent(self, holder: Holder | None = None) -> int:
        """Plans in the last minute, and what others than `holder` may have started without having reported it yet."""
        now = self._clock()
        while self._reported and self._reported[0][0] <= now - MINUTE_S:
            self._reported.popleft()
        # A silent worker uses its share no longer, but what it started with it counts for a minute.
        for gone in [key for key, share in self._shares.items() if share.at <= now - SILENT_S - MINUTE_S]:
            del self._shares[gone]
        lent = sum(share.lent for key, share in self._shares.items() if key != holder)
        return sum(plans for _, plans in self._reported) + lent

    @property
    def lent(self) -> int:
        """Plans that are lent to workers that report."""
        now = self._clock()
        return sum(share.lent for share in self._shares.values() if share.at > now - SILENT_S)

    def _offer(self, holder: Holder, share: _Share, now: float) -> int:
        offered = min(share.wanted, MAX_LENT)
        if now >= self._turns_until:
            return offered
        others = [other for key, other in self._shares.items() if key != holder and other.at > now - SILENT_S]
        waiting = [other.turn for other in others if other.wanted]
        if any(other.lent for other in others) or (waiting and min(waiting) < share.turn):
            return 0
        return offered

    def _others_want(self, holder: Holder, now: float) -> bool:
        return any(share.wanted and key != holder and share.at > now - SILENT_S for key, share in self._shares.items())
