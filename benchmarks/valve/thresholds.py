"""The table of `seedcore.changepoint.thresholds`, simulated anew."""

import numpy as np

from benchmarks.valve.streams import Floats
from seedcore.changepoint.rank_scores import normal_scores
from seedcore.changepoint.thresholds import OFFSETS, SLOPES

HEIGHTS = (4.0, 6.0, 8.0, 10.0, 12.0)
SIZES = (500, 700, 1_000, 1_500, 2_000, 4_000)
_STEPS, _LAG = 4_000, 100


def scores(n: int, streams: int, rng: np.random.Generator) -> Floats:
    """Normal scores, shape (steps, streams): each stream with a reference and one lag of correlation of its own."""
    noise = rng.standard_normal((_STEPS, streams))
    left = rng.standard_normal(streams) / np.sqrt(n)
    for t in range(1, _STEPS):
        noise[t] = left * noise[t - 1] + np.sqrt(1.0 - left**2) * noise[t]
    table = normal_scores(n)
    for k in range(streams):
        noise[:, k] = table[np.sort(rng.standard_normal(n)).searchsorted(noise[:, k])]
    return noise


def arl(rows: Floats, height: float) -> float:
    """Observations by alarm of a two-sided set of CUSUMs; the first 100 steps are not counted."""
    steps, streams = rows.shape
    slope = np.array([sign * size for sign in (1, -1) for size in SLOPES])[:, None]
    level = height + np.array(OFFSETS * 2)[:, None]
    sums = np.zeros((len(slope), streams))
    alarms = 0
    for t, row in enumerate(rows):
        sums = np.maximum(sums + slope * row - 0.5 * slope**2, 0.0)
        reached = (sums >= level).any(axis=0)
        sums[:, reached] = 0.0
        alarms += int(reached.sum()) if t >= _LAG else 0
    return (steps - _LAG) * streams / max(alarms, 1)


def table(streams: int) -> list[list[str]]:
    """A row a size of reference."""
    found = []
    for n in SIZES:
        rows = scores(n, streams, np.random.default_rng(n))
        found.append([f"{n:,}", *(f"{arl(rows, height):,.0f}" for height in HEIGHTS)])
    return found
