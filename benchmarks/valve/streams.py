"""Unshifted streams by name: `STREAMS[name](rng, n)` is (n, d)."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Stream = Callable[[np.random.Generator, int], Floats]

_BURN = 200


def autoregressive(rho: float, d: int = 1) -> Stream:
    """AR(1) of unit variance in each of d columns."""

    def draw(rng: np.random.Generator, n: int) -> Floats:
        noise = rng.standard_normal((n + _BURN, d)) * np.sqrt(1.0 - rho**2)
        for t in range(1, len(noise)):
            noise[t] += rho * noise[t - 1]
        return noise[_BURN:]

    return draw


def correlated(rng: np.random.Generator, n: int) -> Floats:
    """32 columns, mixed by one fixed matrix, autocorrelated with 0.3."""
    mix = np.random.default_rng(99).standard_normal((32, 32)) / 6.0 + 0.3 * np.eye(32)
    mixed: Floats = autoregressive(0.3, 32)(rng, n) @ mix.T
    return mixed


STREAMS: dict[str, Stream] = {
    "N(0,1)": lambda rng, n: rng.standard_normal((n, 1)),
    "t3": lambda rng, n: rng.standard_t(3, (n, 1)),
    "exponential": lambda rng, n: rng.exponential(size=(n, 1)),
    "AR(1) 0.2": autoregressive(0.2),
    "AR(1) 0.5": autoregressive(0.5),
    "Poisson(2) lattice": lambda rng, n: rng.poisson(2.0, (n, 1)).astype(np.float64),
    "5 % ones": lambda rng, n: (rng.random((n, 1)) < 0.05).astype(np.float64),
    "32-d correlated": correlated,
    "32-d counts": lambda rng, n: rng.poisson(0.3, (n, 32)).astype(np.float64),
}
