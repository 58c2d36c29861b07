"""Forward-mode automatic differentiation: numbers that carry their derivative. NumPy computes with them as objects."""

import math
from dataclasses import dataclass
from functools import total_ordering
from typing import Any

import numpy as np


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Dual:
    """value + slope·ε, with ε² = 0."""

    value: float
    slope: float = 0.0

    def __add__(self, other: Any) -> "Dual":
        o = _dual(other)
        return Dual(self.value + o.value, self.slope + o.slope)

    def __neg__(self) -> "Dual":
        return Dual(-self.value, -self.slope)

    def __sub__(self, other: Any) -> "Dual":
        return self + -_dual(other)

    def __rsub__(self, other: Any) -> "Dual":
        return _dual(other) + -self

    def __mul__(self, other: Any) -> "Dual":
        o = _dual(other)
        return Dual(self.value * o.value, self.value * o.slope + self.slope * o.value)

    __radd__, __rmul__ = __add__, __mul__

    def log(self) -> "Dual":
        """What `np.log` calls for each element."""
        return Dual(math.log(self.value), self.slope / self.value)

    def __eq__(self, other: object) -> bool:
        return self.value == _dual(other).value

    def __lt__(self, other: Any) -> bool:
        return self.value < _dual(other).value


def _dual(number: Any) -> Dual:
    return number if isinstance(number, Dual) else Dual(float(number))


def seeded(values: np.ndarray, at: int) -> np.ndarray:
    """`values` as dual numbers, with a slope of 1 at one place."""
    return np.array([Dual(float(value), float(n == at)) for n, value in enumerate(values)], dtype=object)
