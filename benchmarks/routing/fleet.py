"""The live comparison's fleet and arrivals: the same numbers for SeedCore and for Ray Serve. Needs NumPy alone."""

import numpy as np

AGENTS, KINDS, SIGMA, SCALE_S = 16, 4, 0.6, 0.8
SEED = 7

_DRAW = np.random.default_rng(SEED)
MEANS: list[list[float]] = (SCALE_S * _DRAW.lognormal(0.0, SIGMA, (AGENTS, KINDS))).tolist()
MIX = [0.25] * KINDS


def arrivals(rate: float, seconds: float) -> list[tuple[float, int, float]]:
    """Poisson arrivals: when (seconds from the start), which kind, and the luck of each."""
    draw = np.random.default_rng(SEED + 1)
    at = np.cumsum(draw.exponential(1 / rate, int(rate * seconds)))
    kinds, luck = draw.integers(KINDS, size=len(at)), draw.exponential(1.0, len(at))
    return list(zip(at.tolist(), kinds.tolist(), luck.tolist(), strict=True))
