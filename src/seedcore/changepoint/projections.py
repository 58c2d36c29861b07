"""The scalar series that a valve watches, out of observations of d columns.

One column: where it is (both ways), and how far from its middle. More columns: how far each observation goes the way
that recent ones went (two memories; whatever the direction of a change, it is learned), and how unusual it is.
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

# What is left of the memory after t rows, and the weight of row t in those units: the memory is divided by _LEFT[:, t].
_STAY = 1.0 - np.array(DECAYS)[:, None]
_LEFT = _STAY ** np.arange(CHUNK + 1.0)
_WEIGHT = np.array(DECAYS)[:, None] / _LEFT[:, 1:]
_EARLIER = np.tri(CHUNK, k=-1)


@dataclass(slots=True)
class Whitened:
    """Observations of d columns as three series: along the recent direction (fast, slow), and unusualness.

    Attributes:
        memory: shape (2, d), the mean direction of recent observations.
    """

    space: Space
    past: AutoRegression
    memory: Floats

    @classmethod
    def fit(cls, rows: Floats) -> Self:
        """From a reference, shape (n, d); goes on where it ends."""
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
        # The memory M before a row is never written out: what goes along it is the products with earlier rows, weighted
        # (but for a factor: only its direction counts), and |M + w z|² = |M|² + 2 w M·z + w² |z|².
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
        # Rounding may leave less than nothing where the memory is empty.
        along /= np.sqrt(np.maximum(squares, 0.0)) + 1e-300
        out[:, :-1] = along.T
        out[:, -1] = unusual


def reference_series(rows: Floats) -> Floats:
    """The reference's own series, shape (n, 3), each part by a fit to the others, as new rows are."""
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
