"""Routing by the smallest ΔE, a batch at a time, each assignment counted before the next is made."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seedcore.energy.potential import Floats, delta


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one task goes: the agent's row, and the energy that it adds there (seconds²)."""

    agent: int
    delta_energy: float


def route(queued_s: Floats, service_s: Floats, cost: Floats, columns: Sequence[int], *, v: float) -> list[Placement]:
    """Place tasks one after the other on the agent that adds the least energy; `queued_s` is updated in place.

    Args:
        queued_s: shape (n,), seconds of work queued at each agent.
        service_s: shape (n, k), expected seconds of each of k task types at each agent.
        cost: shape (n, k), cost that is not time, such as expected failure.
        columns: for each task its type's column.
        v: weight of the cost.
    """
    placements = []
    for column in columns:
        added = delta(queued_s, service_s[:, column], cost[:, column], v=v)
        best = int(np.argmin(added))
        queued_s[best] += service_s[best, column]
        placements.append(Placement(best, float(added[best])))
    return placements
