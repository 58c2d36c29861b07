"""From a state on the wire to what the potential looks at, and the gradient back to names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seedcore.errors import InvalidInputError
from seedcore.pricing.potential import FleetState, Floats
from seedcore.schemas.energy import StateIn

_UNTOLD = {
    "cost": "no agent tells what it has in hand (`running`)",
    "collaboration": "nobody tells which agents share steps of plans",
    "roles": "no agent tells roles: no organ declares any",
    "memory": "no memory tells how full it is: without Redis each process has its own",
    "drift": "no valve tells evidence",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """A state as vectors, whose they are, and the terms that nobody knows with the reason."""

    state: FleetState
    agents: list[str]
    roles: list[tuple[str, str]]
    streams: list[str]
    absent: dict[str, str] = field(default_factory=dict)


def facts_of(told: StateIn, why: Mapping[str, str] | None = None) -> Facts:
    """Vectors of a state.

    Args:
        told: the state.
        why: reasons, by term, why facts are not known, where somebody can tell more than that nobody told them.

    Raises:
        InvalidInputError: an agent's roles do not sum to 1, or `traffic` does not name a stream of `drift`.
    """
    loads = list(told.agents.values())
    known: dict[str, Floats] = {}
    if any(load.running is not None for load in loads):
        # Expected failures among what is in hand: the agent's own share so far, none known before its first outcome.
        known["expected_failure"] = _vector(
            [(load.running or 0) * load.failed / max(1, load.completed + load.failed) for load in loads]
        )
    if told.collaboration is not None:
        known["shared"] = _vector([pair.steps for pair in told.collaboration])
        known["together"] = _vector([pair.success for pair in told.collaboration])
    roles = [(agent, role) for agent, load in told.agents.items() for role in load.roles or ()]
    if roles:
        known |= _roles(told)
    if told.memory is not None and (working := told.memory.working) is not None:
        known["memory"] = _vector([min(1.0, working.bytes / working.max_bytes)])
    if told.drift is not None:
        known["drift"] = _vector(list(told.drift.values()))
        if told.traffic is not None:
            known["traffic"] = _traffic(told.drift, told.traffic)
    names = {"cost": "expected_failure", "collaboration": "shared"}
    reasons = _UNTOLD | dict(why or {})
    absent = {term: reason for term, reason in reasons.items() if names.get(term, term) not in known}
    state = FleetState(_vector([load.queued_s for load in loads]), **known)
    return Facts(state, list(told.agents), roles, list(told.drift or ()), absent)


def named(facts: Facts, slopes: dict[str, Floats]) -> dict[str, Any]:
    """Slopes by the names of what they are slopes for; see `schemas.GradientOut`."""
    found: dict[str, Any] = {name: values.tolist() for name, values in slopes.items()}
    for name in ("queued_s", "expected_failure"):
        if name in found:
            found[name] = dict(zip(facts.agents, found[name], strict=True))
    if "roles" in found:
        by_agent: dict[str, dict[str, float]] = {}
        for (agent, role), slope in zip(facts.roles, found["roles"], strict=True):
            by_agent.setdefault(agent, {})[role] = slope
        found["roles"] = by_agent
    if "memory" in found:
        found["memory"] = {"working": found["memory"][0]}
    if "drift" in found:
        found["drift"] = dict(zip(facts.streams, found["drift"], strict=True))
    return found


def _roles(told: StateIn) -> dict[str, Floats]:
    shares: list[float] = []
    counts: list[int] = []
    for agent, load in told.agents.items():
        if load.roles:
            if abs(sum(load.roles.values()) - 1.0) > 1e-6:
                raise InvalidInputError(f"unified_state.agents.{agent}.roles: the probabilities must sum to 1.")
            shares += load.roles.values()
            counts += [len(load.roles)] * len(load.roles)
    return {"roles": _vector(shares), "role_count": _vector(counts)}


def _traffic(drift: Mapping[str, float], traffic: Mapping[str, float]) -> Floats:
    missing = [stream for stream in drift if stream not in traffic]
    if missing:
        raise InvalidInputError(f"unified_state.traffic: it must name every stream of drift, and lacks {missing[0]!r}.")
    return _vector([traffic[stream] for stream in drift])


def _vector(values: Any) -> Floats:
    return np.array(values, dtype=np.float64)
