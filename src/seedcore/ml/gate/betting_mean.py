"""A confidence sequence for the mean of numbers in [-1, 1], by betting (Waudby-Smith and Ramdas 2024).

Against "the mean is at most m" a gambler with the bet b has the capital Π(1 - b + b(1 + x)/(1 + m)), which is not
expected to grow while that is true. The capital here is a mixture over BETS. By Ville's inequality it reaches 1/alpha
with a probability of at most alpha, however often and whenever one looks. The m that it has not refuted are the
sequence.

The order of numbers does not matter to a mixture of fixed bets, so the state is how often each of CELLS values came. A
number between two of them counts at both in parts with its mean: as the logarithm is concave, this understates the
capital, and the promise holds. Losses of classes differ by -1, 0 or 1, which are counted exactly.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from seedcore.errors import InvalidInputError

Floats = npt.NDArray[np.float64]

STEPS = 32
"""Cells to each side of 0."""
CELLS = np.arange(-STEPS, STEPS + 1) / STEPS

BETS = np.array([0.02, 0.04, 0.07, 0.12, 0.2, 0.32, 0.5, 0.8])
"""The best bet against m = 0 is about mean / mean of squares: these are near it for any gain worth a promotion."""
_LOG_WEIGHT = -math.log(len(BETS))
_HALVINGS = 40


def log_capital(counts: Floats, values: Floats, m: float) -> Floats:
    """Logarithms of the capital against "the mean is at most m".

    Args:
        counts: how often each value came, shape (…, c).
        values: in [-1, 1], shape (c,).
        m: greater than -1, at most 1.

    Returns:
        shape (…): what is at least log(1/alpha) refutes the hypothesis with an error of at most alpha.
    """
    growth = np.log(1.0 - BETS + BETS * ((1.0 + values[:, None]) / (1.0 + m)))
    capital = counts @ growth
    highest = capital.max(axis=-1, keepdims=True)
    summed = np.exp(capital - highest).sum(axis=-1)
    result: Floats = highest[..., 0] + np.log(summed) + _LOG_WEIGHT
    return result


class BettingMean:
    """The mean of numbers in [-1, 1] so far, and what is certain about it.

    Attributes:
        n: how many there were.
        total: their sum.
        squares: the sum of their squares.
    """

    __slots__ = ("_counts", "n", "squares", "total")

    def __init__(self) -> None:
        self.n = 0
        self.total = self.squares = 0.0
        self._counts = np.zeros(len(CELLS))

    def add(self, value: float) -> None:
        """Take a number.

        Raises:
            InvalidInputError: it is not from -1 to 1.
        """
        if not -1.0 <= value <= 1.0:
            raise InvalidInputError.for_field("value", "must be from -1 to 1")
        place = (value + 1.0) * STEPS
        low = min(int(place), 2 * STEPS - 1)
        part = place - low
        self._counts[low] += 1.0 - part
        self._counts[low + 1] += part
        self.n += 1
        self.total += value
        self.squares += value * value

    @property
    def mean(self) -> float:
        """The mean; 0 before the first number."""
        return self.total / self.n if self.n else 0.0

    def log_evidence(self, m: float) -> float:
        """Logarithm of the evidence that the mean is more than m: log(1/alpha) is enough for an error of alpha."""
        used = np.flatnonzero(self._counts)
        return float(log_capital(self._counts[used], CELLS[used], max(m, -1.0 + 1e-9))) if self.n else 0.0

    def log_evidence_below(self, m: float) -> float:
        """The same for: the mean is less than m."""
        used = np.flatnonzero(self._counts)
        return float(log_capital(self._counts[used], -CELLS[used], max(-m, -1.0 + 1e-9))) if self.n else 0.0

    def lower(self, alpha: float) -> float:
        """A bound that the mean is not below, at any time, with an error of at most `alpha`."""
        used = np.flatnonzero(self._counts)
        return _lower(self._counts[used], CELLS[used], math.log(1.0 / alpha)) if self.n else -1.0

    def upper(self, alpha: float) -> float:
        """A bound that the mean is not above, at any time, with an error of at most `alpha`."""
        used = np.flatnonzero(self._counts)
        return -_lower(self._counts[used], -CELLS[used], math.log(1.0 / alpha)) if self.n else 1.0

    def to_json(self) -> dict[str, object]:
        """The state, for a jsonb column; some dozens of bytes for losses of classes, 1.5 KB at most."""
        used = np.flatnonzero(self._counts)
        cells = [[int(at) - STEPS, float(self._counts[at])] for at in used]
        return {"n": self.n, "total": self.total, "squares": self.squares, "cells": cells}

    @classmethod
    def from_json(cls, state: Mapping[str, object]) -> "BettingMean":
        """What `to_json` described.

        Raises:
            InvalidInputError: it describes no such state.
        """
        found = cls()
        n, total, squares, cells = (state.get(name) for name in ("n", "total", "squares", "cells"))
        if not (isinstance(n, int) and n >= 0 and isinstance(total, int | float) and isinstance(squares, int | float)):
            raise InvalidInputError.for_field("state", "is not that of a mean")
        if not isinstance(cells, Sequence):
            raise InvalidInputError.for_field("state.cells", "must be a list")
        for cell in cells:
            if not (isinstance(cell, Sequence) and len(cell) == 2 and cell[0] in range(-STEPS, STEPS + 1)):
                raise InvalidInputError.for_field("state.cells", "must be pairs of a cell and its count")
            count = cell[1]
            if not (isinstance(count, int | float) and math.isfinite(count) and count >= 0):
                raise InvalidInputError.for_field("state.cells", "must have counts that are not negative")
            found._counts[int(cell[0]) + STEPS] = float(count)
        found.n, found.total, found.squares = n, float(total), float(squares)
        return found


def _lower(counts: Floats, values: Floats, needed: float) -> float:
    """The smallest m whose refutation is missing: the capital falls as m rises."""
    low, high = -1.0, float(counts @ values / counts.sum())
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        if middle > -1.0 and float(log_capital(counts, values, middle)) < needed:
            high = middle
        else:
            low = middle
    return low
