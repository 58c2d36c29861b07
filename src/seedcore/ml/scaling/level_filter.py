"""Level and trend by exponential smoothing with seasonal regression, at many origins and for many gains at once.

The model of a series z is z = level + X b + noise, where the level moves and may have a damped trend, and X has cosines
and sines of the seasons. Smoothing is linear: the level of z - X b is that of z minus those of the columns of X times
b. And least squares on what the filter did not foresee, of z and of the columns alike, is the best estimate of b in
this model. So one pass over the series gives, for every pair of gains, forecasts at every origin from what came before
it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# Gain of the level, gain of the trend, damping of the trend by step.
_GAINS = np.array(
    [
        (0.0005, 0.0, 0.0),
        (0.003, 0.0, 0.0),
        (0.01, 0.0, 0.0),
        (0.03, 0.0, 0.0),
        (0.1, 0.0, 0.0),
        (0.3, 0.0, 0.0),
        (0.7, 0.0, 0.0),
        (0.03, 0.01, 0.999),
        (0.1, 0.03, 0.995),
        (0.3, 0.1, 0.98),
    ]
)
ALPHA, BETA, PHI = (column[:, None] for column in _GAINS.T)
MIDDLE = 4
"""The gains of a first look."""

_RIDGE = 1e-3


@dataclass(frozen=True, slots=True)
class Origins:
    """What is known at each origin, for each pair of gains.

    Attributes:
        at: shape (o,), points that are known at the origin.
        level, trend: shape (o, gains, 1 + columns), of the series and of the columns.
        season: shape (o, gains, columns), the coefficients b.
    """

    at: Ints
    level: Floats
    trend: Floats
    season: Floats

    def end(self) -> "Origins":
        """The last origin alone."""
        return Origins(self.at[-1:], self.level[-1:], self.trend[-1:], self.season[-1:])

    def forecasts(self, ahead: int, columns: Floats, seasonal: bool) -> Floats:
        """The series `ahead` steps after the last known point, shape (o, gains).

        Args:
            ahead: 1 is the next point.
            columns: shape (o, columns), of the points that are forecast.
            seasonal: with the seasons, or by level and trend alone.
        """
        damped = np.where(PHI > 0, PHI * (1 - PHI**ahead) / np.where(PHI < 1, 1 - PHI, 1.0), 0.0)
        state = self.level + damped * self.trend
        plain: Floats = state[:, :, 0]
        if not seasonal:
            return plain
        found: Floats = plain + np.einsum("ogc,ogc->og", columns[:, None, :] - state[:, :, 1:], self.season)
        return found


def run(values: Floats, columns: Floats, origins: Ints, memory: float) -> Origins:
    """Filter the series.

    Args:
        values: shape (n,).
        columns: shape (n, c), of the seasons; c may be 0.
        origins: ascending, each from 1 to n.
        memory: points after which an observation counts 1/e for the seasons.
    """
    data = np.column_stack([values, columns])
    gains, width = len(_GAINS), data.shape[1]
    level, trend = np.zeros((gains, width)), np.zeros((gains, width))
    square, product = np.zeros((gains, width - 1, width - 1)), np.zeros((gains, width - 1))
    out = Origins(
        origins,
        np.empty((len(origins), gains, width)),
        np.empty((len(origins), gains, width)),
        np.zeros((len(origins), gains, width - 1)),
    )
    begin = 0
    for k, end in enumerate(origins):
        surprises = np.empty((end - begin, gains, width))
        for t in range(begin, end):
            expected = level + PHI * trend
            surprise = data[t] - expected
            gain = np.maximum(ALPHA, 1.0 / (t + 1))
            level = expected + gain * surprise
            trend = PHI * trend + (gain * BETA if t > 3 else 0.0) * surprise
            surprises[t - begin] = surprise if t else 0.0
        out.level[k], out.trend[k] = level, trend
        if width > 1:
            fade = np.exp(-(end - begin) / memory)
            x = surprises[:, :, 1:].transpose(1, 2, 0)
            square = fade * square + x @ x.transpose(0, 2, 1)
            product = fade * product + np.einsum("gct,tg->gc", x, surprises[:, :, 0])
            diagonal = np.einsum("gcc->gc", square).mean(axis=1)[:, None, None] + 1e-9
            out.season[k] = np.linalg.solve(square + _RIDGE * diagonal * np.eye(width - 1), product[:, :, None])[
                :, :, 0
            ]
        begin = int(end)
    return out
