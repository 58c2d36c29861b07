"""The fleet's potential, its gradient, and what a choice adds to it (drift plus penalty: Neely, 2010).

Six terms, each 0 at best, in seconds²; their sum is the energy:

    load           ½ Σᵢ Wᵢ²                   Wᵢ expected seconds of work queued at agent i
    cost           V Σᵢ fᵢ                    fᵢ expected failures among the tasks in hand at agent i
    collaboration  V·w_c Σₚ sₚ (1 - gₚ)       sₚ steps that pair p of agents shares, gₚ how many of 1 of them succeed
    roles          w_r Σₐ Σⱼ pₐⱼ ln(kₐ pₐⱼ)   pₐ probabilities of agent a's kₐ roles: ln kₐ - H(pₐ), lost entropy
    memory         w_m Σₛ ½ mₛ²               mₛ share of store s that is full
    drift          w_d Σₜ qₜ dₜ               dₜ evidence, of stream t, that work stopped looking like the past; qₜ its
                                              share of the traffic

Bounded below: for weights of at least 0 no term is below 0, so the energy is not, and an idle fleet has 0. `load` and
`memory` are sums of squares; `cost`, `collaboration` (gₚ is at most 1) and `drift` are products of numbers of at least
0; `roles` is w_r times the Kullback-Leibler divergence of pₐ from the uniform distribution, which Gibbs' inequality
holds at or above 0. (Where p is below `MIN_ROLE` the logarithm is taken of that: it only raises the sum.)

A term without inputs (None) is omitted; it never counts as 0.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

MIN_ROLE = 1e-12
"""Below this probability the roles' term continues as a straight line, because its slope is unbounded."""


@dataclass(frozen=True, slots=True)
class Weights:
    """What one unit of each term weighs, in seconds²; each finite and at least 0. `collaboration` multiplies `v`.

    Raises:
        ValueError: one is negative or not finite.
    """

    v: float = 1.0
    collaboration: float = 1.0
    roles: float = 1.0
    memory: float = 1.0
    drift: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (np.isfinite(value) and value >= 0):
                raise ValueError(f"weight {field.name} must be finite and at least 0, not {value}")


@dataclass(frozen=True, slots=True)
class FleetState:
    """The inputs of the energy. All but the load may be unknown: None.

    Attributes:
        queued_s: shape (n,), expected seconds of work queued at each agent, at least 0.
        expected_failure: shape (n,), expected failures among the tasks in hand there, at least 0.
        shared: shape (p,), steps of open plans that each pair of agents shares, at least 0.
        together: shape (p,), share of their common steps that succeed, in [0, 1].
        roles: shape (r,), probabilities of roles, agent after agent; each agent's sum to 1. (Only the sum over
            all agents is checked: it bounds the term, by the log sum inequality.)
        role_count: shape (r,), for each of them the number of its agent's roles.
        memory: shape (m,), share of each store that is full, in [0, 1].
        drift: shape (d,), evidence of each stream, in [0, 1].
        traffic: shape (d,), share of the tasks that each stream has, in [0, 1]; None: every stream counts as 1.
    """

    queued_s: Floats
    expected_failure: Floats | None = None
    shared: Floats | None = None
    together: Floats | None = None
    roles: Floats | None = None
    role_count: Floats | None = None
    memory: Floats | None = None
    drift: Floats | None = None
    traffic: Floats | None = None


@dataclass(frozen=True, slots=True)
class Energy:
    """The energy and its terms, which sum to it (seconds²)."""

    energy: float
    breakdown: dict[str, float]


def potential(state: FleetState, weights: Weights) -> Energy:
    """Energy of a fleet, from the terms with inputs.

    Raises:
        ValueError: shapes differ, or a value is not finite or out of its range.
    """
    check(state)
    breakdown = {term: float(value) for term, value in terms(state, weights).items()}
    return Energy(sum(breakdown.values()), breakdown)


def terms(state: FleetState, weights: Weights) -> dict[str, Any]:
    """The terms by name, without checks; of the number type of the state (the tests use dual numbers)."""
    found: dict[str, Any] = {"load": 0.5 * (state.queued_s @ state.queued_s)}
    if state.expected_failure is not None:
        found["cost"] = weights.v * state.expected_failure.sum()
    if state.shared is not None and state.together is not None:
        found["collaboration"] = weights.v * weights.collaboration * (state.shared @ (1.0 - state.together))
    if state.roles is not None and state.role_count is not None:
        found["roles"] = weights.roles * (state.roles @ _lost_entropy(state.roles, state.role_count))
    if state.memory is not None:
        found["memory"] = weights.memory * 0.5 * (state.memory @ state.memory)
    if state.drift is not None:
        weighed = state.drift if state.traffic is None else state.drift * state.traffic
        found["drift"] = weights.drift * weighed.sum()
    return found


def gradient(state: FleetState, weights: Weights) -> dict[str, Floats]:
    """Partial derivatives of the energy by the known fields of `FleetState`, each of its field's shape.

    `role_count` and `traffic` are not variables. Units are seconds² for one unit of the field: seconds for `queued_s`.

    Raises:
        ValueError: as `potential`.
    """
    check(state)
    slopes: dict[str, Floats] = {"queued_s": state.queued_s.copy()}
    if state.expected_failure is not None:
        slopes["expected_failure"] = np.full_like(state.expected_failure, weights.v)
    if state.shared is not None and state.together is not None:
        slopes["shared"] = weights.v * weights.collaboration * (1.0 - state.together)
        slopes["together"] = -weights.v * weights.collaboration * state.shared
    if state.roles is not None and state.role_count is not None:
        slopes["roles"] = weights.roles * (_lost_entropy(state.roles, state.role_count) + (state.roles >= MIN_ROLE))
    if state.memory is not None:
        slopes["memory"] = weights.memory * state.memory
    if state.drift is not None:
        share = np.ones_like(state.drift) if state.traffic is None else state.traffic
        slopes["drift"] = weights.drift * share
    return slopes


def _lost_entropy(roles: Any, count: Floats) -> Any:
    return np.log(np.maximum(roles, MIN_ROLE) * count)


_RANGES: dict[str, float] = {
    "queued_s": np.inf,
    "expected_failure": np.inf,
    "shared": np.inf,
    "together": 1.0,
    "roles": 1.0 + 1e-9,
    "role_count": np.inf,
    "memory": 1.0,
    "drift": 1.0,
    "traffic": 1.0,
}
_SAME_LENGTH = (("queued_s", "expected_failure"), ("shared", "together"), ("roles", "role_count"), ("drift", "traffic"))


def check(state: FleetState) -> None:
    """Check a state against the ranges of `FleetState`.

    Raises:
        ValueError: shapes differ, or a value is not finite or out of its range.
    """
    for name, limit in _RANGES.items():
        values = getattr(state, name)
        if values is None:
            continue
        if values.ndim != 1:
            raise ValueError(f"{name} must be a vector, not of shape {values.shape}")
        if len(values) and not (values.min() >= 0 and values.max() <= limit and np.isfinite(values).all()):
            raise ValueError(f"every value of {name} must be finite and in [0, {limit:g}]")
    for one, other in _SAME_LENGTH:
        a, b = getattr(state, one), getattr(state, other)
        if b is not None and (a is None or len(a) != len(b)):
            raise ValueError(f"{one} and {other} must be vectors of the same length")
    if state.roles is not None:
        if state.role_count is None:
            raise ValueError("roles must be vectors with their role_count")
        # Each agent's probabilities sum to 1, and an agent with k roles has k rows: rows weighed 1/k count the agents.
        agents = float((1.0 / state.role_count).sum()) if len(state.roles) else 0.0
        if abs(float(state.roles.sum()) - agents) > 1e-6 * max(1.0, agents):
            raise ValueError("the roles of every agent must sum to 1")


def delta(queued_s: Floats, service_s: Floats, cost: Floats, *, v: float) -> Floats:
    """What one task adds at each of n agents: Wᵢeᵢ + ½eᵢ² + V·costᵢ, shape (n,), seconds²."""
    result: Floats = queued_s * service_s + 0.5 * service_s**2 + v * cost
    return result
