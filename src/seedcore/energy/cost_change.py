"""What a task took, and how often one failed, before and after a moment. Pure."""

from dataclasses import dataclass
from math import sqrt

from seedcore.energy.ledger_calibration import MIN_OUTCOMES, Z
from seedcore.tasks.monitoring.task_lookup import SpentSums


@dataclass(frozen=True, slots=True)
class CostChange:
    """Means before and after, and their difference with its 95 % interval.

    `before` and `after` are None without a task; `change`, `low` and `high` are None where a side has fewer than
    MIN_OUTCOMES.
    """

    before: float | None
    after: float | None
    change: float | None
    low: float | None
    high: float | None


def seconds_change(before: SpentSums, after: SpentSums) -> CostChange:
    """Of the seconds of a task's last attempt, with Welch's standard error."""
    return _change(*((sums.timed, sums.seconds, sums.squares) for sums in (before, after)))


def failures_change(before: SpentSums, after: SpentSums) -> CostChange:
    """Of the share of tasks that failed, with Agresti and Caffo's interval: one failure and one success more a side."""
    sides = [(sums.tasks, sums.failures) for sums in (before, after)]
    means = [failed / n if n else None for n, failed in sides]
    if min(n for n, _ in sides) < MIN_OUTCOMES or means[0] is None or means[1] is None:
        return CostChange(means[0], means[1], None, None, None)
    shares = [(failed + 1) / (n + 2) for n, failed in sides]
    error = Z * sqrt(sum(p * (1 - p) / (n + 2) for p, (n, _) in zip(shares, sides, strict=True)))
    middle = shares[1] - shares[0]
    change = means[1] - means[0]
    return CostChange(means[0], means[1], change, min(middle - error, change), max(middle + error, change))


def _change(before: tuple[int, float, float], after: tuple[int, float, float]) -> CostChange:
    means = [total / n if n else None for n, total, _ in (before, after)]
    if min(before[0], after[0]) < MIN_OUTCOMES or means[0] is None or means[1] is None:
        return CostChange(means[0], means[1], None, None, None)
    variances = [max(0.0, squares / n - (total / n) ** 2) / (n - 1) for n, total, squares in (before, after)]
    change, error = means[1] - means[0], Z * sqrt(sum(variances))
    return CostChange(means[0], means[1], change, change - error, change + error)
