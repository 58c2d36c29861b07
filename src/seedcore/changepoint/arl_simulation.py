"""A rehearsal on what the reference itself gives: resampled references and streams, and the alarms among them."""

from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt

from seedcore.changepoint.cusum import Cusums
from seedcore.changepoint.rank_scores import Ranks
from seedcore.changepoint.whitening import Floats

_STREAMS = 200
_MOST_STEPS = 5_000
_LEAST_STEPS = 500
_ALARMS = 100


RAISE, MOST_POWER = 1.25, 16
"""Thresholds are raised in steps of a quarter, 35-fold at most."""

DOUBT = 3.0
"""How many times too often a rehearsal may alarm: from one reference it errs that much either way."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What was seen: `alarms` in `observations`, by blocks of the reference drawn with replacement.

    `raised` is what the thresholds were multiplied by, so that it did not alarm far too often: not 1 where something
    is left that no whitening takes out, such as volatility in clusters, or a reference that changed by itself.
    """

    observations: int
    alarms: int
    raised: float = 1.0

    @property
    def arl0(self) -> float:
        """Observations by alarm; all observations when there was none."""
        return self.observations / max(self.alarms, 1)


def rehearse(residuals: Floats, cusums: Cusums, arl0: float, rng: np.random.Generator) -> Rehearsal:
    """Play streams against references, both drawn by blocks from the reference's residuals, shape (n, c).

    Blocks keep what dependence the whitening has left; references of their own keep the error of a finite one.
    Thresholds for which there are more than DOUBT times the alarms asked for are to be raised: see `Rehearsal.raised`.
    """
    n, channels = residuals.shape
    steps = int(min(max(_ALARMS * arl0 / _STREAMS, _LEAST_STEPS), _MOST_STEPS))
    scores = np.empty((steps, channels, _STREAMS), dtype=np.float32)
    for k in range(_STREAMS):
        reference, stream = residuals[_blocks(n, n, rng)], residuals[_blocks(n, steps, rng)]
        for j in range(channels):
            scores[:, j, k] = Ranks.of(reference[:, j], rng).scores(stream[:, j])
    played = steps * _STREAMS

    def at(power: int) -> Rehearsal:
        return Rehearsal(played, _alarms(scores, cusums, RAISE**power), RAISE**power)

    def far_too_many(seen: Rehearsal) -> bool:
        return seen.alarms > DOUBT and seen.alarms * arl0 > DOUBT * played

    seen = at(0)
    if not far_too_many(seen):
        return seen
    # The higher the thresholds, the fewer alarms: the lowest power that is enough, by bisection.
    too_low, enough, seen = 0, MOST_POWER, at(MOST_POWER)
    while enough - too_low > 1:
        middle = (too_low + enough) // 2
        tried = at(middle)
        if far_too_many(tried):
            too_low = middle
        else:
            enough, seen = middle, tried
    return seen


def _alarms(scores: npt.NDArray[np.float32], cusums: Cusums, raised: float) -> int:
    """Alarms in scores of shape (steps, c, streams), with thresholds so many times as high."""
    slope = cusums.slope[:, None].astype(np.float32)
    drift, height = 0.5 * slope**2, (raised * cusums.threshold)[:, None].astype(np.float32)
    sums = np.zeros((len(slope), scores.shape[2]), dtype=np.float32)
    alarms = 0
    for step in scores:
        sums += step[cusums.channel] * slope
        sums -= drift
        np.maximum(sums, 0.0, out=sums)
        reached = (sums >= height).any(axis=0)
        if reached.any():
            alarms += int(reached.sum())
            sums[:, reached] = 0.0
    return alarms


def _blocks(n: int, length: int, rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    size = ceil(2.5 * n ** (1 / 3))
    starts = rng.integers(0, n, ceil(length / size))
    places: np.ndarray[tuple[int], np.dtype[np.int64]] = ((starts[:, None] + np.arange(size)) % n).reshape(-1)[:length]
    return places
