"""Fleets to route for: how fast each agent does each type, and how much they can do together."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linprog

AGENTS, TYPES, SIGMA = 16, 4, 0.6


@dataclass(frozen=True, slots=True)
class Instance:
    """A fleet and the work that comes.

    Attributes:
        mean_s: shape (n, k), mean service time of each type at each agent; times are exponential around it.
        mix: shape (k,), share of each type among arrivals.
        fails: shape (n,), share of attempts that fail there.
        capacity: tasks a second that the fleet can do at most, by linear programming, when nobody fails.
    """

    mean_s: np.ndarray
    mix: np.ndarray
    fails: np.ndarray
    capacity: float


def heterogeneous(seed: int, agents: int = AGENTS, types: int = TYPES) -> Instance:
    """Log-normal speeds, median 1 s, and a mix of types drawn at random."""
    draw = np.random.default_rng(seed)
    mean_s = draw.lognormal(0.0, SIGMA, (agents, types))
    mix = draw.dirichlet(np.full(types, 5.0))
    return Instance(mean_s, mix, np.zeros(agents), capacity(mean_s, mix))


def identical(seed: int, agents: int = AGENTS, types: int = TYPES) -> Instance:
    """Every agent does every type in 1 s on average."""
    mix = np.random.default_rng(seed).dirichlet(np.full(types, 5.0))
    return Instance(np.ones((agents, types)), mix, np.zeros(agents), float(agents))


def failing(seed: int) -> Instance:
    """Three of the agents fail four attempts of five, and fail in a tenth of their time: they look idle and fast."""
    made = heterogeneous(seed)
    bad = np.random.default_rng(seed + 1000).choice(len(made.mean_s), 3, replace=False)
    fails, good = made.fails.copy(), np.ones(len(made.mean_s), dtype=bool)
    fails[bad], good[bad] = 0.8, False
    # What the others can do is the capacity: whoever relies on the three has less.
    return replace(made, fails=fails, capacity=capacity(made.mean_s[good], made.mix))


def capacity(mean_s: np.ndarray, mix: np.ndarray) -> float:
    """The largest rate of arrivals that a fleet can serve at all: max λ with Σᵢ xᵢₖ = λ·mixₖ and Σₖ xᵢₖ·eᵢₖ ≤ 1."""
    n, k = mean_s.shape
    gain = np.zeros(n * k + 1)
    gain[-1] = -1.0
    busy = np.zeros((n, n * k + 1))
    served = np.zeros((k, n * k + 1))
    for agent in range(n):
        busy[agent, agent * k : (agent + 1) * k] = mean_s[agent]
    for kind in range(k):
        served[kind, kind : n * k : k] = 1.0
        served[kind, -1] = -mix[kind]
    found = linprog(gain, A_ub=busy, b_ub=np.ones(n), A_eq=served, b_eq=np.zeros(k), method="highs")
    return float(found.x[-1])
