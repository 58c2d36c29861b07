"""Estimates what the points around a point lead one to expect there: medians before it, after it, and on both sides."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

HALVES = (40, 20, 10, 5)
"""Candidates for the points on each side; the widest whose error is within AS_GOOD of the best is taken."""

AS_GOOD = 1.05
TO_SD = 1.4826
"""Standard deviation of a normal distribution, in median absolute deviations."""


@dataclass(frozen=True, slots=True)
class Level:
    """What is expected at each of n points.

    Attributes:
        expected: shape (n,), by the points on both sides.
        half: points that count on each side.
        error: median absolute distance of the values from it, in the series' units.
        one_sided: shape (n,), by the points of the side whose guess is nearer to the value. It separates a step of the
            level, which one side expects, from an anomaly, which neither side expects.
    """

    expected: Floats
    half: int
    error: float
    one_sided: Floats


def local_level(values: Floats) -> Level:
    """The level of a series of at least 2 * HALVES[-1] + 1 values."""
    halves = [half for half in HALVES if 2 * half + 1 <= len(values)]
    both = {half: _both_sides(values, half) for half in halves}
    errors = {half: float(np.median(np.abs(values - guess))) for half, guess in both.items()}
    best = min(errors.values())
    half = next(half for half in halves if errors[half] <= AS_GOOD * best)
    before, after = _one_side(values, half)
    one_sided = np.where(np.abs(values - before) <= np.abs(values - after), before, after)
    return Level(both[half], half, errors[half], one_sided)


def neighbour_error(values: Floats) -> float:
    """Median absolute distance of the values from the median of their nearest neighbours."""
    return float(np.median(np.abs(values - _both_sides(values, HALVES[-1]))))


def spread(residuals: Floats) -> float:
    """Robust standard deviation: the median absolute deviation from 0, scaled for a normal distribution."""
    return TO_SD * float(np.median(np.abs(residuals)))


def _both_sides(values: Floats, half: int) -> Floats:
    """The median of `half` points on each side; within `half` of an end, a robust line through the first or last."""
    n, width = len(values), 2 * half + 1
    windows = np.lib.stride_tricks.sliding_window_view(values, width)
    guess = np.empty(n)
    guess[half : n - half] = np.median(np.delete(windows, half, axis=1), axis=1)
    guess[:half] = _line(values[:width])[:half]
    guess[n - half :] = _line(values[n - width :])[width - half :]
    return guess


def _one_side(values: Floats, half: int) -> tuple[Floats, Floats]:
    """The median of the `half` points before, and of those after; where there are fewer, none (infinitely far)."""
    medians = np.median(np.lib.stride_tricks.sliding_window_view(values, half), axis=1)
    before, after = np.full(len(values), np.inf), np.full(len(values), np.inf)
    before[half:] = medians[:-1]
    after[:-half] = medians[1:]
    return before, after


def _line(values: Floats) -> Floats:
    """Siegel's repeated medians: a line that tolerates outliers in up to half of the points."""
    x = np.arange(len(values), dtype=np.float64)
    runs = x[:, None] - x[None, :]
    np.fill_diagonal(runs, 1.0)
    slopes = (values[:, None] - values[None, :]) / runs
    others = slopes[~np.eye(len(values), dtype=bool)].reshape(len(values), -1)
    slope = float(np.median(np.median(others, axis=1)))
    return float(np.median(values - slope * x)) + slope * x
