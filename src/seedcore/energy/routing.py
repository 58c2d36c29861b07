"""Routing by the smallest ΔE, a batch at a time, each assignment counted before the next is made."""

from collections.abc import Sequence
from heapq import heapify, heapreplace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from seedcore.energy.potential import Floats, delta


class Placement(NamedTuple):
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
    waits = queued_s.tolist()
    types = {column: _Type(queued_s, service_s[:, column], cost[:, column], v, len(columns)) for column in set(columns)}
    placements = []
    for column in columns:
        agent, added = types[column].least(waits)
        waits[agent] += types[column].seconds[agent]
        placements.append(Placement(agent, added))
    queued_s[:] = waits
    return placements


class _Type:
    """Agents by what one task of a type adds there.

    What it adds only grows as tasks are placed. So an entry of the heap is never too high, and the first one that
    is still true is the least of all: a few comparisons a task, where looking at every agent takes n.
    """

    __slots__ = ("_heap", "_other", "_own", "seconds")

    def __init__(self, queued_s: Floats, service_s: Floats, cost: Floats, v: float, tasks: int) -> None:
        self.seconds: list[float] = service_s.tolist()
        # The same terms, in the same order, as `delta` has: the sums are equal to the last bit.
        self._own: list[float] = (0.5 * service_s**2).tolist()
        self._other: list[float] = (v * cost).tolist()
        added = delta(queued_s, service_s, cost, v=v)
        least = _least(added, tasks)
        self._heap = list(zip(added[least].tolist(), least.tolist(), strict=True))
        heapify(self._heap)

    def least(self, waits: Sequence[float]) -> tuple[int, float]:
        """The agent where it adds the least, the first of equal ones, and how much (seconds²)."""
        heap = self._heap
        while True:
            added, agent = heap[0]
            now = waits[agent] * self.seconds[agent] + self._own[agent] + self._other[agent]
            if now <= added:
                return agent, added
            heapreplace(heap, (now, agent))


def _least(added: Floats, count: int) -> npt.NDArray[np.int64]:
    """Places of the `count` least values, the first of equal ones.

    Placing so many tasks raises fewer agents than these before the last is placed: the least of all is always here.
    """
    if count >= len(added):
        return np.arange(len(added))
    limit = np.partition(added, count - 1)[count - 1]
    below = np.flatnonzero(added < limit)
    return np.concatenate([below, np.flatnonzero(added == limit)[: count - len(below)]])
