"""Limits for short series, too short to fit their noise: simulated quantiles of normal noise of the same length."""

from functools import lru_cache

import numpy as np

from seedcore.ml.anomaly.local_level import TO_SD, Floats
from seedcore.schemas.ml.anomaly import MIN_LENGTH

MANY = 24
"""Series of at least this many points are judged by a fitted tail instead."""

ROUNDS = 40_000


def limit(n: int, false_alarm: float) -> float:
    """The score that the outermost of n clean points passes with probability `false_alarm`, on either side."""
    return float(np.quantile(_outermost(n), 1.0 - false_alarm))


def chance(n: int, scores: Floats) -> Floats:
    """Probability that one of n clean points gets as far on one side, shape (k,); never below 1 / (2 ROUNDS)."""
    further = ROUNDS - np.searchsorted(_outermost(n), scores).astype(np.float64)
    return (further + 1.0) / (ROUNDS + 1.0) / 2.0


@lru_cache(maxsize=MANY - MIN_LENGTH)
def _outermost(n: int) -> Floats:
    """How far the outermost of n points is from their median, in robust standard deviations, sorted, (ROUNDS,)."""
    points = np.random.default_rng(n).standard_normal((ROUNDS, n))
    away = np.abs(points - np.median(points, axis=1, keepdims=True))
    found: Floats = np.sort(away.max(axis=1) / (TO_SD * np.median(away, axis=1)))
    return found
