"""Proposes what would lower the energy of a state: moves within organs, and the value of one more agent in each."""

import numpy as np

from seedcore.energy.rebalancing import moves, one_more
from seedcore.schemas.energy import AgentLoad, MoveOut, OrganBalance, StateIn


def proposals(state: StateIn, organ: str | None, limit: int) -> tuple[list[MoveOut], dict[str, OrganBalance]]:
    """At most `limit` moves, those that lower the energy most, and the balance of each organ (or only of `organ`)."""
    by_organ: dict[str, dict[str, AgentLoad]] = {}
    for agent, load in state.agents.items():
        if organ is None or load.organ == organ:
            by_organ.setdefault(load.organ, {})[agent] = load
    found: list[MoveOut] = []
    for name, loads in by_organ.items():
        found += _moves(name, loads, limit)
    # The moves of an organ are in the order of their gain: cutting the list never drops a move that a later one needs.
    found = sorted(found, key=lambda move: move.delta_energy)[:limit]
    balances = {}
    for name, loads in by_organ.items():
        queued = np.array([load.queued_s for load in loads.values()])
        energy = 0.5 * float(queued @ queued)
        after = energy + sum(move.delta_energy for move in found if move.organ == name)
        balances[name] = OrganBalance(agents=len(loads), energy=energy, balanced=after, one_more_agent=one_more(queued))
    return found, balances


def _moves(organ: str, loads: dict[str, AgentLoad], limit: int) -> list[MoveOut]:
    ids = list(loads)
    queued = np.array([load.queued_s for load in loads.values()])
    tasks = np.array([float(load.running or 0) for load in loads.values()])
    if not tasks.sum():
        return []
    # The speed of an idle agent is unknown: the organ's mean is used.
    mean = float(queued.sum() / tasks.sum())
    task_s = np.where(tasks > 0, queued / np.maximum(tasks, 1), mean)
    return [
        MoveOut(
            organ=organ,
            source=ids[move.source],
            target=ids[move.target],
            seconds=move.seconds,
            delta_energy=move.delta_energy,
        )
        for move in moves(queued, tasks, task_s, limit)
    ]
