"""Finds queued tasks that would lower the energy elsewhere in their organ, and the value of one more agent. Pure."""

from dataclasses import dataclass

import numpy as np

from seedcore.pricing.potential import Floats


@dataclass(frozen=True, slots=True)
class Move:
    """One task of `seconds` from one agent's queue to another's (their rows), and what that changes (seconds²)."""

    source: int
    target: int
    seconds: float
    delta_energy: float


def moves(queued_s: Floats, tasks: Floats, task_s: Floats, limit: int) -> list[Move]:
    """Moves of waiting tasks, each the one that lowers the energy most; every move lowers it, so they end.

    Moving a task of eᵢ seconds from i to j, where it takes eⱼ, changes the load's energy by
    -Wᵢeᵢ + ½eᵢ² + Wⱼeⱼ + ½eⱼ². The first task in hand at an agent is running, and stays.

    Args:
        queued_s: shape (n,), expected seconds queued at each agent.
        tasks: shape (n,), tasks in hand there.
        task_s: shape (n,), expected seconds of one task there.
        limit: number of moves to stop at.
    """
    queued, left = queued_s.copy(), np.maximum(0.0, tasks - 1)
    found: list[Move] = []
    while len(found) < limit:
        gain = np.where(left >= 1, queued * task_s - 0.5 * task_s**2, -np.inf)
        price = queued * task_s + 0.5 * task_s**2
        source, target = int(gain.argmax()), int(price.argmin())
        change = float(price[target] - gain[source])
        if source == target or not change < -1e-12:
            return found
        found.append(Move(source, target, float(task_s[source]), change))
        queued[source] = max(0.0, queued[source] - task_s[source])
        queued[target] += task_s[target]
        left[source] -= 1
        left[target] += 1
    return found


def one_more(queued_s: Floats) -> float:
    """The change of the load's energy by one more agent when the work is spread evenly: ½(ΣW)²(1/(n+1) - 1/n)."""
    n, total = len(queued_s), float(queued_s.sum())
    return 0.5 * total * total * (1 / (n + 1) - 1 / n)
