"""Tails of Student's t, tabulated: symmetric noise whose body says how heavy its tail is."""

import numpy as np

from seedcore.ml.anomaly.local_level import Floats

FREEDOMS = np.array([1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 10.0, 20.0, 50.0])
"""Degrees of freedom of the laws."""

_POINTS = 3000
_X = np.concatenate([[0.0], np.geomspace(1e-4, 1e7, _POINTS)])
_LOG_X = np.log(_X[1:])


def _log_density(x: Floats) -> Floats:
    """Log density of |t| but for a constant, shape (laws, points)."""
    found: Floats = -(FREEDOMS[:, None] + 1) / 2 * np.log1p(x**2 / FREEDOMS[:, None])
    return found


def _tables() -> tuple[Floats, Floats]:
    """Log survival at _X, shape (laws, points), and the constants of the densities."""
    density = np.exp(_log_density(_X))
    pieces = 0.5 * (density[:, 1:] + density[:, :-1]) * np.diff(_X)
    # Beyond the last point the density is a power.
    rest = density[:, -1] * _X[-1] / FREEDOMS
    tail = rest[:, None] + np.concatenate([np.cumsum(pieces[:, ::-1], axis=1)[:, ::-1], np.zeros((len(density), 1))], 1)
    return np.log(tail / tail[:, :1]), -np.log(tail[:, :1])


_LOG_SURVIVAL, _CONSTANT = _tables()


def quantiles(share: float) -> Floats:
    """What |t| goes beyond with chance `share`, one a law."""
    return np.array([np.interp(-np.log(share), -row, _X) for row in _LOG_SURVIVAL])


def log_survival(x: Floats) -> Floats:
    """Log of the chance that |t| goes beyond x, shape (laws, scales, points); x has this shape, or laws is 1."""
    place = np.log(np.maximum(np.broadcast_to(x, (len(FREEDOMS), *x.shape[1:])), _X[1]))
    rows = [np.interp(place[k], _LOG_X, row[1:]) for k, row in enumerate(_LOG_SURVIVAL)]
    beyond = np.maximum(place - _LOG_X[-1], 0.0)
    found: Floats = np.array(rows) - FREEDOMS[:, None, None] * beyond
    return found


def log_density(x: Floats) -> Floats:
    """Log density of |t|, shape (laws, scales, points)."""
    freedom = FREEDOMS[:, None, None]
    found: Floats = _CONSTANT[:, :, None] - (freedom + 1) / 2 * np.log1p(x**2 / freedom)
    return found
