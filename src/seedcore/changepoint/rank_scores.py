"""Turns a scalar series of any distribution into standard normal scores: ranks of its residuals over time."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from statistics import NormalDist
from typing import Any, Self

import numpy as np

from seedcore.changepoint.whitening import AutoRegression, Floats

FOLDS = 10

CHANNEL_ARRAYS = ("before", "coefficients", "tail", "after")
"""Names of a channel's arrays where it is stored."""


@lru_cache(maxsize=64)
def normal_scores(n: int) -> Floats:
    """The score of each of n + 1 places between n reference values, shape (n + 1,)."""
    inverse = NormalDist().inv_cdf
    half = np.array([inverse((k + 0.5) / (n + 1)) for k in range((n + 1) // 2)])
    middle = np.zeros((n + 1) % 2)
    scores = np.concatenate([half, middle, -half[::-1]])
    scores.flags.writeable = False
    return scores


@dataclass(slots=True)
class Ranks:
    """Scores by rank among reference values. Ties are broken by chance, so that ranks are uniform on any lattice.

    Attributes:
        values: shape (n,), sorted.
        tied: whether some of them are equal.
        rng: breaks ties.
    """

    values: Floats
    tied: bool
    rng: np.random.Generator

    @classmethod
    def of(cls, values: Floats, rng: np.random.Generator) -> Self:
        """Ranks among `values`."""
        ordered = np.sort(values)
        return cls(ordered, bool((ordered[1:] == ordered[:-1]).any()), rng)

    def own_scores(self, values: Floats) -> Floats:
        """Scores of the reference values themselves, in their order: each among the others, as a new one is."""
        places = np.empty(len(values), dtype=np.int64)
        places[np.lexsort((self.rng.random(len(values)), values))] = np.arange(len(values))
        scores: Floats = normal_scores(len(values) - 1)[places]
        return scores

    def scores(self, values: Floats) -> Floats:
        """Normal scores of new values, shape (m,)."""
        places = self.values.searchsorted(values)
        if self.tied:
            above = self.values.searchsorted(values, side="right")
            places = places + (self.rng.random(len(values)) * (above - places + 1)).astype(np.int64)
        scores: Floats = normal_scores(len(self.values))[places]
        return scores


@dataclass(slots=True)
class Channel:
    """Scores of one scalar series: ranked, whitened in time, and the residuals ranked again.

    The first ranking makes the series Gaussian: at an edge of the distribution a slope would tie the residuals to the
    past. A series that is not autocorrelated is ranked once.
    """

    before: Ranks
    past: AutoRegression
    after: Ranks

    @classmethod
    def fit(cls, series: Floats, rng: np.random.Generator) -> tuple[Self, Floats]:
        """From a reference series, shape (n,).

        Also returns the residuals in order, shape (n,): each fold by a fit to the other folds, as new values are.
        """
        before, past = _fit_ranked(series, rng)
        if not len(past.coefficients):
            return cls(before, past, before), series
        edges = np.linspace(0, len(series), FOLDS + 1).astype(int)
        parts = []
        for start, stop in pairwise(edges):
            others = np.concatenate([series[:start], series[stop:]])
            parts.append(_fold_residuals(*_fit_ranked(others, rng), series, start, stop))
        residuals = np.concatenate(parts)
        return cls(before, past, Ranks.of(residuals, rng)), residuals

    def scores(self, series: Floats) -> Floats:
        """Normal scores of the next values, shape (m,)."""
        if not len(self.past.coefficients):
            return self.after.scores(series)
        scores = self.before.scores(series)[:, None]
        return self.after.scores(self.past.residuals(scores)[:, 0])

    def arrays(self) -> dict[str, Floats]:
        """The arrays to store, by the names in CHANNEL_ARRAYS."""
        parts = (self.before.values, self.past.coefficients, self.past.tail, self.after.values)
        return dict(zip(CHANNEL_ARRAYS, parts, strict=True))

    def generator_state(self) -> Mapping[str, Any]:
        """The state of the random generator to store, as JSON."""
        state: Mapping[str, Any] = self.after.rng.bit_generator.state
        return state

    @classmethod
    def restore(cls, arrays: Mapping[str, Floats], generator_state: Any) -> Self:
        """The channel that had these arrays and this generator state."""
        bits = np.random.PCG64()
        bits.state = generator_state
        rng = np.random.Generator(bits)
        past = AutoRegression(arrays["coefficients"], arrays["tail"])
        return cls(Ranks.of(arrays["before"], rng), past, Ranks.of(arrays["after"], rng))


def _fold_residuals(before: Ranks, past: AutoRegression, series: Floats, start: int, stop: int) -> Floats:
    """Residuals of one fold by the fit to the others."""
    p = len(past.coefficients)
    earlier = before.scores(series[max(0, start - p) : start])
    past.tail = np.concatenate([np.zeros(p - len(earlier)), earlier])[:, None]
    return past.residuals(before.scores(series[start:stop])[:, None])[:, 0]


def _fit_ranked(series: Floats, rng: np.random.Generator) -> tuple[Ranks, AutoRegression]:
    before = Ranks.of(series, rng)
    scores = before.own_scores(series)[:, None]
    return before, AutoRegression.fit(scores)
