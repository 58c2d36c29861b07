"""Series of a few points, too few to tell the law of their noise: how far normal noise of so many goes (simulated)."""

from functools import lru_cache

import numpy as np

from seedcore.ml.anomaly.local_level import TO_SD, Floats

FEWEST, MANY = 8, 24
"""From so many points to fewer than so many."""

ROUNDS = 40_000


def limit(n: int, false_alarm: float) -> float:
    """The score that the outermost of n clean points passes with probability `false_alarm`, on either side."""
    return float(np.quantile(_outermost(n), 1.0 - false_alarm))


def chance(n: int, scores: Floats) -> Floats:
    """Probability that one of n clean points gets as far on one side, shape (k,); no less than the simulation tells."""
    further = ROUNDS - np.searchsorted(_outermost(n), scores).astype(np.float64)
    return (further + 1.0) / (ROUNDS + 1.0) / 2.0


@lru_cache(maxsize=MANY - FEWEST)
def _outermost(n: int) -> Floats:
    """How far the outermost of n points is from their median, in robust standard deviations, sorted, (ROUNDS,)."""
    points = np.random.default_rng(n).standard_normal((ROUNDS, n))
    away = np.abs(points - np.median(points, axis=1, keepdims=True))
    found: Floats = np.sort(away.max(axis=1) / (TO_SD * np.median(away, axis=1)))
    return found
