"""What would lower the energy of a state: moves within organs, and what one more agent is worth in each."""

import numpy as np

from seedcore.energy.rebalancing import moves, one_more
from seedcore.schemas.energy import AgentLoad, MoveOut, OrganBalance, StateIn


def proposals(told: StateIn, organ: str | None, most: int) -> tuple[list[MoveOut], dict[str, OrganBalance]]:
    """At most `most` moves, those that lower the energy most, and the balance of each organ (or of `organ` alone)."""
    by_organ: dict[str, dict[str, AgentLoad]] = {}
    for agent, load in told.agents.items():
        if organ is None or load.organ == organ:
            by_organ.setdefault(load.organ, {})[agent] = load
    found: list[MoveOut] = []
    for name, loads in by_organ.items():
        found += _moves(name, loads, most)
    # Each organ's own come in the order of what they lower: cutting the list leaves none without those before it.
    found = sorted(found, key=lambda move: move.delta_energy)[:most]
    balances = {}
    for name, loads in by_organ.items():
        queued = np.array([load.queued_s for load in loads.values()])
        energy = 0.5 * float(queued @ queued)
        after = energy + sum(move.delta_energy for move in found if move.organ == name)
        balances[name] = OrganBalance(agents=len(loads), energy=energy, balanced=after, one_more_agent=one_more(queued))
    return found, balances


def _moves(organ: str, loads: dict[str, AgentLoad], most: int) -> list[MoveOut]:
    ids = list(loads)
    queued = np.array([load.queued_s for load in loads.values()])
    tasks = np.array([float(load.running or 0) for load in loads.values()])
    if not tasks.sum():
        return []
    # An idle agent says nothing about its speed: the organ's mean stands for it.
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
        for move in moves(queued, tasks, task_s, most)
    ]
