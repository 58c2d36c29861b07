"""Projects observations of d columns to the scalar series that a valve watches.

One column: its value (in both directions), and its distance from the middle. Several columns: how far each observation
goes in the direction of the recent ones (two memories, so that any direction of change is learned), and how unusual it
is.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np

from seedcore.changepoint.whitening import AutoRegression, Floats, Space

DECAYS = (0.15, 0.04)
"""Share of the newest observation in the learned direction: about 12 and 49 observations are remembered."""

CHUNK = 128
_FOLDS = 10
_WARM_UP = 100

# The share of the memory left after t rows, and the weight of row t in its units: the memory is divided by _LEFT[:, t].
_STAY = 1.0 - np.array(DECAYS)[:, None]
_LEFT = _STAY ** np.arange(CHUNK + 1.0)
_WEIGHT = np.array(DECAYS)[:, None] / _LEFT[:, 1:]
_EARLIER = np.tri(CHUNK, k=-1)


@dataclass(slots=True)
class Whitened:
    """Turns observations of d columns into three series: along the recent direction (fast, slow), and unusualness.

    Attributes:
        memory: shape (2, d), the mean direction of recent observations.
    """

    space: Space
    past: AutoRegression
    memory: Floats

    @classmethod
    def fit(cls, rows: Floats) -> Self:
        """Fit to a reference, shape (n, d); new rows continue where it ends."""
        space = Space.fit(rows)
        past = AutoRegression.fit(space.apply(rows))
        fitted = cls(space, past, np.zeros((len(DECAYS), rows.shape[1])))
        past.tail = np.zeros_like(past.tail)
        fitted.series(rows[-_WARM_UP:])
        return fitted

    def series(self, rows: Floats) -> Floats:
        """Shape (m, 3): fast direction, slow direction, unusualness."""
        z = self.past.residuals(self.space.apply(rows))
        out = np.empty((len(z), len(DECAYS) + 1))
        for start in range(0, len(z), CHUNK):
            self._chunk(z[start : start + CHUNK], out[start : start + CHUNK])
        return out

    def _chunk(self, z: Floats, out: Floats) -> None:
        # The memory M before a row is never computed: the projection on it is the weighted products with earlier rows
        # (up to a factor: only its direction counts), and |M + w z|² = |M|² + 2 w M·z + w² |z|².
        m = len(z)
        weight = _WEIGHT[:, :m]
        products = z @ z.T
        unusual = products.diagonal().copy()
        products *= _EARLIER[:m, :m]
        along = weight @ products.T
        along += self.memory @ z.T
        squares = np.empty((len(DECAYS), m))
        squares[:, 0] = np.einsum("kd,kd->k", self.memory, self.memory)
        squares[:, 1:] = (weight * (2.0 * along + weight * unusual))[:, :-1]
        np.cumsum(squares, axis=1, out=squares)
        self.memory = (self.memory + weight @ z) * _LEFT[:, m, None]
        # Rounding may give a negative sum where the memory is empty.
        along /= np.sqrt(np.maximum(squares, 0.0)) + 1e-300
        out[:, :-1] = along.T
        out[:, -1] = unusual


def reference_series(rows: Floats) -> Floats:
    """The reference's own series, shape (n, 3): each fold by a fit to the other folds, as new rows are."""
    n = len(rows)
    edges = np.linspace(0, n, _FOLDS + 1).astype(int)
    parts = []
    for start, stop in pairwise(edges):
        others = Whitened.fit(np.concatenate([rows[:start], rows[stop:]]))
        others.memory[:] = 0.0
        others.past.tail[:] = 0.0
        before = rows[max(0, start - _WARM_UP) : start]
        if start == 0:
            before = rows[stop : stop + _WARM_UP]
        others.series(before)
        parts.append(others.series(rows[start:stop]))
    return np.concatenate(parts)
