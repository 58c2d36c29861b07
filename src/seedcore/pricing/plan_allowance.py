"""A worker's share of the budget of plans: how many it may start before it asks again. Pure.

The Coordinator's side is `coordinator.publishing.plan_budget`, which counts what is lent to a worker as spent for all
others. That holds over all workers when each of them

- starts a plan only when `left` is above 0, and takes `spent` for the plans of the last minute;
- says with a report how many more it wants, and starts no more than that until the answer;
- starts none when the answer is older than USABLE_S.
"""

from dataclasses import dataclass

USABLE_S = 8.0
"""Seconds after the report was sent in which its share may be used; the Coordinator expects it to be used for 10 s."""

MAX_LENT = 100
"""Plans that one worker is lent at most."""


@dataclass(slots=True)
class PlanAllowance:
    """What a worker was lent, and what it started since; times are monotonic seconds."""

    _spent: int = 0
    _lent: int = 0
    _started: int = 0
    _until: float = float("-inf")

    @property
    def spent(self) -> int:
        """Plans of the last minute over all workers, and what is lent to others: `budget.plans_per_minute` of rules."""
        return self._spent + self._started

    @property
    def started_since(self) -> int:
        """Plans that were started since the last report."""
        return self._started

    def left(self, now: float) -> int:
        """Plans that may still be started."""
        return max(0, self._lent - self._started) if now < self._until else 0

    def started(self, plans: int) -> None:
        """Count plans that were started, whether they were lent or not."""
        self._started += plans

    def begin_report(self, wanted: int) -> tuple[int, int]:
        """`plans` and `plans_wanted` of a new report; until its answer no more than `wanted` are left.

        A report that is repeated, because its answer was lost, repeats these two numbers.
        """
        wanted = min(wanted, MAX_LENT)
        plans, self._started = self._started, 0
        self._spent += plans
        self._lent = min(max(0, self._lent - plans), wanted)
        return plans, wanted

    def answered(self, spent: int, lent: int, sent_at: float) -> None:
        """Take over the share that the answer to the newest report brings; `sent_at` is when that report was sent."""
        self._spent, self._lent, self._until = spent, lent, sent_at + USABLE_S
