"""Converts a state on the wire to the vectors of the potential, and the gradient back to names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np

from seedcore.errors import InvalidInputError
from seedcore.pricing.potential import FleetState, Floats
from seedcore.schemas.energy import StateIn

_ABSENT = {
    "cost": "no agent reports `running`",
    "collaboration": "the state has no pairs of agents that share steps of plans",
    "roles": "no agent reports roles: no organ declares any",
    "memory": "no memory reports how full it is: without Redis each process has its own",
    "drift": "no valve reports evidence",
}


@dataclass(frozen=True, slots=True)
class StateVectors:
    """A state as vectors with the names of their entries; and the terms without inputs, with the reason."""

    state: FleetState
    agents: list[str]
    roles: list[tuple[str, str]]
    streams: list[str]
    absent: dict[str, str] = field(default_factory=dict)


def state_vectors(given: StateIn, why: Mapping[str, str] | None = None) -> StateVectors:
    """Vectors of a state.

    Args:
        given: the state.
        why: more specific reasons, by term, why inputs are absent.

    Raises:
        InvalidInputError: an agent's roles do not sum to 1, or `traffic` does not name a stream of `drift`.
    """
    loads = list(given.agents.values())
    known: dict[str, Floats] = {}
    if any(load.running is not None for load in loads):
        # Expected failures among the tasks in hand: by the agent's own share so far, 0 before its first outcome.
        known["expected_failure"] = _vector(
            [(load.running or 0) * load.failed / max(1, load.completed + load.failed) for load in loads]
        )
    if given.collaboration is not None:
        known["shared"] = _vector([pair.steps for pair in given.collaboration])
        known["together"] = _vector([pair.success for pair in given.collaboration])
    roles = [(agent, role) for agent, load in given.agents.items() for role in load.roles or ()]
    if roles:
        known |= _roles(given)
    if given.memory is not None and (working := given.memory.working) is not None:
        known["memory"] = _vector([min(1.0, working.bytes / working.max_bytes)])
    if given.drift is not None:
        known["drift"] = _vector(list(given.drift.values()))
        if given.traffic is not None:
            known["traffic"] = _traffic(given.drift, given.traffic)
    names = {"cost": "expected_failure", "collaboration": "shared"}
    reasons = _ABSENT | dict(why or {})
    if given.memory is not None and given.memory.absent and "working" in given.memory.absent:
        reasons["memory"] = given.memory.absent["working"]
    absent = {term: reason for term, reason in reasons.items() if names.get(term, term) not in known}
    state = FleetState(_vector([load.queued_s for load in loads]), **known)
    return StateVectors(state, list(given.agents), roles, list(given.drift or ()), absent)


class NamedSlopes(TypedDict, total=False):
    """Slopes of the energy by the names of what they belong to; see `schemas.energy.GradientOut`."""

    queued_s: dict[str, float]
    expected_failure: dict[str, float]
    roles: dict[str, dict[str, float]]
    shared: list[float]
    together: list[float]
    memory: dict[str, float]
    drift: dict[str, float]


def named_slopes(vectors: StateVectors, slopes: Mapping[str, Floats]) -> NamedSlopes:
    """The slopes of the known inputs, by name."""
    values: dict[str, list[float]] = {name: slope.tolist() for name, slope in slopes.items()}
    found: NamedSlopes = {"queued_s": dict(zip(vectors.agents, values["queued_s"], strict=True))}
    if "expected_failure" in values:
        found["expected_failure"] = dict(zip(vectors.agents, values["expected_failure"], strict=True))
    if "roles" in values:
        by_agent: dict[str, dict[str, float]] = {}
        for (agent, role), slope in zip(vectors.roles, values["roles"], strict=True):
            by_agent.setdefault(agent, {})[role] = slope
        found["roles"] = by_agent
    if "shared" in values:
        found["shared"], found["together"] = values["shared"], values["together"]
    if "memory" in values:
        found["memory"] = {"working": values["memory"][0]}
    if "drift" in values:
        found["drift"] = dict(zip(vectors.streams, values["drift"], strict=True))
    return found


def _roles(given: StateIn) -> dict[str, Floats]:
    shares: list[float] = []
    counts: list[int] = []
    for agent, load in given.agents.items():
        if load.roles:
            if abs(sum(load.roles.values()) - 1.0) > 1e-6:
                raise InvalidInputError.for_field(
                    f"unified_state.agents.{agent}.roles", "the probabilities must sum to 1."
                )
            shares += load.roles.values()
            counts += [len(load.roles)] * len(load.roles)
    return {"roles": _vector(shares), "role_count": _vector(counts)}


def _traffic(drift: Mapping[str, float], traffic: Mapping[str, float]) -> Floats:
    missing = [stream for stream in drift if stream not in traffic]
    if missing:
        raise InvalidInputError.for_field(
            "unified_state.traffic", f"it must name every stream of drift, and lacks {missing[0]!r}."
        )
    return _vector([traffic[stream] for stream in drift])


def _vector(values: Sequence[float]) -> Floats:
    return np.array(values, dtype=np.float64)
