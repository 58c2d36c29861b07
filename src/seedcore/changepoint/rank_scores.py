"""From a scalar series to standard normal scores, whatever its law: ranks of what its past did not tell."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from statistics import NormalDist
from typing import Any, Self

import numpy as np

from seedcore.changepoint.whitening import AutoRegression, Floats

FOLDS = 10


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
    """One scalar series: ranked, whitened in time, and what is left ranked again.

    The first ranks make the series Gaussian: a slope where a law has an edge would tie the rest to the past. A series
    whose past tells nothing is ranked once.
    """

    before: Ranks
    past: AutoRegression
    after: Ranks

    @classmethod
    def fit(cls, series: Floats, rng: np.random.Generator) -> tuple[Self, Floats]:
        """From a reference series, shape (n,).

        Also what its past did not tell, in order, shape (n,): each part by a fit to the others, as new values are.
        """
        before, past = _learn(series, rng)
        if not len(past.coefficients):
            return cls(before, past, before), series
        edges = np.linspace(0, len(series), FOLDS + 1).astype(int)
        parts = []
        for start, stop in pairwise(edges):
            others = np.concatenate([series[:start], series[stop:]])
            parts.append(_left(*_learn(others, rng), series, start, stop))
        residuals = np.concatenate(parts)
        return cls(before, past, Ranks.of(residuals, rng)), residuals

    def scores(self, series: Floats) -> Floats:
        """Normal scores of the next values, shape (m,)."""
        if not len(self.past.coefficients):
            return self.after.scores(series)
        scores = self.before.scores(series)[:, None]
        return self.after.scores(self.past.residuals(scores)[:, 0])

    def state(self) -> dict[str, Any]:
        """What a store keeps: arrays and plain values."""
        return {
            "before": self.before.values,
            "coefficients": self.past.coefficients,
            "tail": self.past.tail,
            "after": self.after.values,
            "rng": self.after.rng.bit_generator.state,
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Self:
        """The channel that `state` tells."""
        bits = np.random.PCG64()
        bits.state = state["rng"]
        rng = np.random.Generator(bits)
        past = AutoRegression(state["coefficients"], state["tail"])
        return cls(Ranks.of(state["before"], rng), past, Ranks.of(state["after"], rng))


def _left(before: Ranks, past: AutoRegression, series: Floats, start: int, stop: int) -> Floats:
    """What is left of one part by the fit to the others."""
    p = len(past.coefficients)
    earlier = before.scores(series[max(0, start - p) : start])
    past.tail = np.concatenate([np.zeros(p - len(earlier)), earlier])[:, None]
    return past.residuals(before.scores(series[start:stop])[:, None])[:, 0]


def _learn(series: Floats, rng: np.random.Generator) -> tuple[Ranks, AutoRegression]:
    before = Ranks.of(series, rng)
    scores = before.own_scores(series)[:, None]
    return before, AutoRegression.fit(scores)
