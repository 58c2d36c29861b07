"""Simulates run lengths: alarms in streams resampled from the reference, against resampled references."""

from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt

from seedcore.changepoint.cusum import Cusums
from seedcore.changepoint.rank_scores import Ranks
from seedcore.changepoint.whitening import Floats

_STREAMS = 200
_MAX_STEPS = 5_000
_MIN_STEPS = 500
_ALARMS = 100


RAISE, MAX_POWER = 1.25, 16
"""Thresholds are raised in steps of a quarter, 35-fold at most."""

DOUBT = 3.0
"""How many times too often a simulation may alarm: from one reference its error is that large in either direction."""


@dataclass(frozen=True, slots=True)
class RunLengthSimulation:
    """The result: `alarms` in `observations`, by blocks of the reference drawn with replacement.

    `raised` is the factor that the thresholds were multiplied by to avoid far too many alarms. It is not 1 where
    whitening leaves something, such as clustered volatility, or where the reference itself changes.
    """

    observations: int
    alarms: int
    raised: float = 1.0

    @property
    def arl0(self) -> float:
        """Observations per alarm; all observations when there was none."""
        return self.observations / max(self.alarms, 1)


def simulate_run_lengths(
    residuals: Floats, cusums: Cusums, arl0: float, rng: np.random.Generator
) -> RunLengthSimulation:
    """Run streams against references, both drawn by blocks from the reference's residuals, shape (n, c).

    Blocks keep the dependence that whitening leaves; a reference for each stream keeps the error of a finite one.
    Thresholds with more than DOUBT times the requested alarms have to be raised: see `RunLengthSimulation.raised`.
    """
    n, channels = residuals.shape
    steps = int(min(max(_ALARMS * arl0 / _STREAMS, _MIN_STEPS), _MAX_STEPS))
    scores = np.empty((steps, channels, _STREAMS), dtype=np.float32)
    for k in range(_STREAMS):
        reference, stream = residuals[_blocks(n, n, rng)], residuals[_blocks(n, steps, rng)]
        for j in range(channels):
            scores[:, j, k] = Ranks.of(reference[:, j], rng).scores(stream[:, j])
    observations = steps * _STREAMS

    def simulate(power: int) -> RunLengthSimulation:
        return RunLengthSimulation(observations, _alarms(scores, cusums, RAISE**power), RAISE**power)

    def too_many(simulation: RunLengthSimulation) -> bool:
        return simulation.alarms > DOUBT and simulation.alarms * arl0 > DOUBT * observations

    result = simulate(0)
    if not too_many(result):
        return result
    # The higher the thresholds, the fewer alarms: the lowest power that is enough, by bisection.
    too_low, enough, result = 0, MAX_POWER, simulate(MAX_POWER)
    while enough - too_low > 1:
        middle = (too_low + enough) // 2
        attempt = simulate(middle)
        if too_many(attempt):
            too_low = middle
        else:
            enough, result = middle, attempt
    return result


def _alarms(scores: npt.NDArray[np.float32], cusums: Cusums, raised: float) -> int:
    """Alarms in scores of shape (steps, c, streams), with thresholds `raised` times as high."""
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
