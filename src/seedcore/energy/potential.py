"""The fleet's potential and what a choice adds to it (drift plus penalty: Neely, 2010).

L(W) = ½ Σᵢ Wᵢ², Wᵢ the expected seconds of work queued at agent i. A task with expected service time e raises it by
Wᵢe + ½e²; V weighs costs that are not time. Every term is at least 0, so the energy is bounded below by 0.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Energy:
    """The energy and its terms, which sum to it (seconds²)."""

    energy: float
    breakdown: dict[str, float]


def potential(queued_s: Floats, expected_failure: Floats, *, v: float) -> Energy:
    """Energy of a fleet.

    Args:
        queued_s: shape (n,), expected seconds of work queued at each agent, at least 0.
        expected_failure: shape (n,), expected failures among what is queued there, at least 0.
        v: seconds² that one unit of cost weighs, at least 0.

    Raises:
        ValueError: the shapes differ, or a value is negative or not finite.
    """
    if queued_s.ndim != 1 or queued_s.shape != expected_failure.shape:
        raise ValueError("queued_s and expected_failure must be vectors of the same length")
    if not (np.isfinite(queued_s).all() and np.isfinite(expected_failure).all() and np.isfinite(v)):
        raise ValueError("every value must be finite")
    if (queued_s < 0).any() or (expected_failure < 0).any() or v < 0:
        raise ValueError("every value must be at least 0")
    breakdown = {"load": float(0.5 * queued_s @ queued_s), "cost": float(v * expected_failure.sum())}
    return Energy(sum(breakdown.values()), breakdown)


def delta(queued_s: Floats, service_s: Floats, cost: Floats, *, v: float) -> Floats:
    """What one task adds at each of n agents: Wᵢeᵢ + ½eᵢ² + V·costᵢ, shape (n,), seconds²."""
    result: Floats = queued_s * service_s + 0.5 * service_s**2 + v * cost
    return result
