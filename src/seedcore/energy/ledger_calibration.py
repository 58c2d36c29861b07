"""Evaluates the ledger's sums: how accurate expectations are, and whether the energy changed at a moment. Pure."""

from dataclasses import dataclass
from math import sqrt
from typing import Literal

from seedcore.pricing.outcome_sums import Sums

MIN_OUTCOMES = 30
"""Outcomes on both sides that a comparison requires: means of fewer are not close enough to normal."""

Z = 1.96
"""Two-sided, 95 %."""


@dataclass(frozen=True, slots=True)
class LedgerCalibration:
    """Expected against realised means of an outcome; ratios are None where nothing was expected.

    `rmse` is the root of the mean squared error of single decisions' ΔE, in seconds².
    """

    outcomes: int
    expected_s: float
    realised_s: float
    seconds_ratio: float | None
    expected_failure: float
    realised_failure: float
    expected_delta: float
    realised_delta: float
    delta_ratio: float | None
    rmse: float


def calibrate(sums: Sums) -> LedgerCalibration | None:
    """The means of sums; None without an outcome."""
    n = sums.outcomes
    if n == 0:
        return None
    return LedgerCalibration(
        outcomes=n,
        expected_s=sums.expected_s / n,
        realised_s=sums.realised_s / n,
        seconds_ratio=_ratio(sums.realised_s, sums.expected_s),
        expected_failure=sums.expected_failures / n,
        realised_failure=sums.failures / n,
        expected_delta=sums.expected_delta / n,
        realised_delta=sums.realised_delta / n,
        delta_ratio=_ratio(sums.realised_delta, sums.expected_delta),
        rmse=sqrt(sums.squared_error / n),
    )


Verdict = Literal["worse", "better", "no_change_shown", "too_little_data"]


@dataclass(frozen=True, slots=True)
class EnergyChange:
    """How much more energy an outcome added after a moment than before, in seconds²; with its 95 % interval.

    `change`, `low` and `high` are None where there were fewer than MIN_OUTCOMES outcomes on a side.
    """

    before: int
    after: int
    change: float | None
    low: float | None
    high: float | None

    @property
    def verdict(self) -> Verdict:
        """What the interval shows: `worse` and `better` only when it leaves zero out."""
        if self.low is None or self.high is None:
            return "too_little_data"
        if self.low > 0:
            return "worse"
        return "better" if self.high < 0 else "no_change_shown"


def measured_change(before: Sums, after: Sums) -> EnergyChange:
    """The difference of the means of realised ΔE, with Welch's standard error."""
    if min(before.outcomes, after.outcomes) < MIN_OUTCOMES:
        return EnergyChange(before.outcomes, after.outcomes, None, None, None)
    change = after.realised_delta / after.outcomes - before.realised_delta / before.outcomes
    error = Z * sqrt(_variance(before) + _variance(after))
    return EnergyChange(before.outcomes, after.outcomes, change, change - error, change + error)


def _variance(sums: Sums) -> float:
    """The variance of the mean."""
    n, mean = sums.outcomes, sums.realised_delta / sums.outcomes
    return max(0.0, sums.realised_squares / n - mean * mean) / (n - 1)


def _ratio(realised: float, expected: float) -> float | None:
    return realised / expected if expected > 0 else None
