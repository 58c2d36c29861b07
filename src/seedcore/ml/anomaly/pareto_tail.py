"""Fits the tail of the clean values of one side, to say how far such values go: generalised Pareto and Student's t."""

from dataclasses import dataclass

import numpy as np

from seedcore.ml.anomaly import student_tail
from seedcore.ml.anomaly.local_level import Floats

BODY = 0.5
"""Share of a side's values that are body: the tail is fitted to those beyond."""

MAX_TAIL = 150
"""The tail is fitted to at most so many of the outermost values."""

MAX_LIMIT, _STEPS = 1e9, 30
"""Largest limit, in units of scale; bisection finds it to a billionth of the last doubling."""

SUSPECT = 0.01
"""Values beyond a gap less likely than this are left out of the fit; that alone makes none of them an anomaly."""

# Fits are averaged over these shapes and scales (in means of the inner half), with a prior that favours an exponential
# tail. Beyond its median, half of normal noise has a shape of about -0.2, of Student's t (3 degrees of freedom) 0.25.
_SHAPES = np.linspace(-0.25, 0.75, 21)
_SCALES = np.geomspace(0.4, 2.5, 25) / (1.0 - np.log(2.0))
PRIOR_MEAN, PRIOR_SD = 0.0, 0.2
T_MEAN, T_SD = 0.15, 0.25

_SHAPE, _SCALE = (axis.ravel()[:, None] for axis in np.meshgrid(_SHAPES, _SCALES, indexing="ij"))
_PRIOR = -0.5 * ((_SHAPE - PRIOR_MEAN) / PRIOR_SD) ** 2
_STRAIGHT = np.abs(_SHAPE) < 1e-9
_DIVISOR = np.where(_STRAIGHT, 1.0, _SHAPE)


# Beside them, tails of Student's t: of these the body says how far the tail goes, which 150 values do not say as well.
_NEARLY_0 = 1e-6
_SPREADS = np.geomspace(0.75, 1.35, 9)
_T_BELIEF = -0.5 * ((1 / student_tail.FREEDOMS - T_MEAN) / T_SD) ** 2
_T_PRIOR = np.repeat(_T_BELIEF, len(_SPREADS))[:, None]


def _normalised(prior: Floats) -> Floats:
    normalised: Floats = prior - np.log(np.exp(prior).sum())
    return normalised


@dataclass(frozen=True, slots=True)
class _Laws:
    """All laws of a tail that begins at `start`, in units of the scale; beyond it is a share of the side's values."""

    start: float
    unit: Floats
    begin: Floats

    @classmethod
    def of(cls, start: float, share: float) -> "_Laws":
        start = max(start, _NEARLY_0)
        unit = start / student_tail.quantiles(share)[:, None] * _SPREADS
        return cls(start, unit[:, :, None], student_tail.log_survival(start / unit[:, :, None]))

    def log_survival(self, excess: Floats) -> Floats:
        """Of every law at every excess, shape (laws, values)."""
        t = student_tail.log_survival((self.start + excess) / self.unit) - self.begin
        return np.vstack([_pareto_survival(excess), t.reshape(len(_T_PRIOR), len(excess))])

    def log_density(self, excess: Floats) -> Floats:
        """The same of the density."""
        pareto = (1.0 + _SHAPE) * _pareto_survival(excess) - np.log(_SCALE)
        t = student_tail.log_density((self.start + excess) / self.unit) - np.log(self.unit) - self.begin
        return np.vstack([pareto, t.reshape(len(_T_PRIOR), len(excess))])


_BELIEF = np.vstack([_normalised(_PRIOR), _normalised(_T_PRIOR)])


@dataclass(frozen=True, slots=True)
class Tail:
    """The fitted tail of one side: `count` values beyond `start`, in units of `scale`."""

    start: float
    scale: float
    count: int
    grain: float
    weights: Floats
    laws: _Laws

    def chance(self, distances: Floats) -> Floats:
        """Probability that the largest of as many clean values gets as far, shape (k,)."""
        excess = np.maximum(distances - self.grain / 2 - self.start, 0.0) / self.scale
        return np.minimum(self.count * (self.weights @ np.exp(self.laws.log_survival(excess))), 1.0)

    def limit(self, level: float) -> float:
        """The distance whose chance is `level`."""
        low, high = 0.0, 1.0
        while self._passed(high) > level and high < MAX_LIMIT:
            low, high = high, 2 * high
        for _ in range(_STEPS):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if self._passed(middle) > level else (low, middle)
        return self.start + self.scale * high + self.grain / 2

    def _passed(self, excess: float) -> float:
        return self.count * float(self.weights @ np.exp(self.laws.log_survival(np.array([excess]))[:, 0]))


def fit(distances: Floats, grain: float = 0.0) -> Tail:
    """The tail of clean values among these.

    From the inside outwards: a gap between neighbours that is too wide for the tail fitted to all inside it sets apart
    what lies beyond, which then has no part in the fit.

    Args:
        distances: shape (k,), of one side's values, at least 5, all over 0.
        grain: the step of the lattice that the series lies on; 0: it lies on none.
    """
    ordered = np.sort(_smeared(distances, grain))[::-1]
    count = int(np.clip(round((1 - BODY) * len(ordered)), 4, min(MAX_TAIL, len(ordered) - 1)))
    start = float(ordered[count])
    excess = ordered[:count] - start
    scale = float(np.mean(excess[count // 2 :])) or float(np.mean(excess)) or start
    laws = _Laws.of(start / scale, count / len(ordered))
    survival, density = laws.log_survival(excess / scale), laws.log_density(excess / scale)
    apart = _set_apart(density, survival)
    weights = _weights(density[:, apart:].sum(axis=1, keepdims=True))[:, 0]
    return Tail(start, scale, count - apart, grain, weights, laws)


def _smeared(distances: Floats, grain: float) -> Floats:
    """Equal values spread evenly over their step of the lattice, because a density gives ties no probability."""
    if grain == 0.0:
        return distances
    ordered = np.sort(distances)
    _, first, counts = np.unique(ordered, return_index=True, return_counts=True)
    place = np.arange(len(ordered)) - np.repeat(first, counts)
    return np.maximum(ordered + grain * ((place + 0.5) / np.repeat(counts, counts) - 0.5), 0.0)


def _pareto_survival(excess: Floats) -> Floats:
    """Log survival of every (shape, scale) at every value, shape (laws, values)."""
    ratio = excess / _SCALE
    with np.errstate(divide="ignore"):
        logs: Floats = np.where(_STRAIGHT, -ratio, -np.log(np.maximum(1.0 + _SHAPE * ratio, 0.0)) / _DIVISOR)
    return logs


def _weights(likelihood: Floats) -> Floats:
    """Posterior weights of the laws from log likelihoods, shape (laws, cases)."""
    belief = likelihood + _BELIEF
    weights: Floats = np.exp(belief - belief.max(axis=0))
    weights /= weights.sum(axis=0)
    return weights


def _set_apart(density: Floats, survival: Floats) -> int:
    """How many of the outermost values a gap sets apart."""
    ranks = np.arange(1, density.shape[1] // 2 + 1)
    inner = density[:, ::-1].cumsum(axis=1)[:, ::-1]
    # The outermost m are known only to lie beyond the next one.
    with np.errstate(invalid="ignore"):
        weights = _weights(inner[:, ranks] + ranks * survival[:, ranks])
        # A law under which both are impossible has no weight.
        gap = np.nan_to_num(ranks * (survival[:, ranks - 1] - survival[:, ranks]), nan=0.0, neginf=-np.inf)
    chance = (weights * np.exp(gap)).sum(axis=0)
    wide = np.flatnonzero(chance < SUSPECT / ranks**2)
    return int(ranks[wide[-1]]) if len(wide) else 0
