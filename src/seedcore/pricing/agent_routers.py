"""Routers: assign the tasks of a batch to agents, each assignment counted before the next is made. Pure.

`energy` takes the smallest ΔE plus penalties. The others are common alternatives, so that users can compare:
`join_shortest_queue` the fewest tasks in hand, `power_of_two` the fewer tasks of two agents drawn at random,
`least_expected_delay` the earliest expected end, `round_robin` one after the other, `random` any.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from seedcore.pricing.potential import Floats, delta


class Placement(NamedTuple):
    """Where one task goes: the agent's row, and the energy that it adds there (seconds²)."""

    agent: int
    delta_energy: float


@dataclass(frozen=True, slots=True)
class Load:
    """The backlog of each of n agents: expected seconds and tasks, both of shape (n,). Routers update them in place."""

    queued_s: Floats
    tasks: Floats


@dataclass(frozen=True, slots=True)
class Prices:
    """What k task types cost at n agents.

    Attributes:
        service_s: shape (n, k), expected seconds of each type at each agent.
        cost: shape (n, k), cost that is not time, such as expected failure.
        v: seconds² that one unit of cost weighs.
    """

    service_s: Floats
    cost: Floats
    v: float


Router = Callable[[Load, Prices, Sequence[int]], list[Placement]]
"""Places tasks one after the other, given each one's column of `Prices`; the load is updated in place."""


DELAY = 1.0
"""Weight of a second of expected delay for `by_energy` while every agent is idle, in seconds: this share of the type's
mean service time; less in proportion as fewer agents are idle.

The drift alone protects capacity, and so lets tasks wait for fast agents while slower ones are idle. Near capacity,
where hardly any agent is idle, the penalty would cost some of it (decision 0010).
"""


def route(
    queued_s: Floats, service_s: Floats, cost: Floats, columns: Sequence[int], *, v: float, delay: float = 0.0
) -> list[Placement]:
    """Place tasks one after the other on the agent that adds the least energy; `queued_s` is updated in place.

    Args:
        queued_s: shape (n,), seconds of work queued at each agent.
        service_s: shape (n, k), expected seconds of each of k task types at each agent.
        cost: shape (n, k), cost that is not time, such as expected failure.
        columns: for each task its type's column.
        v: weight of the cost.
        delay: penalty besides the energy, for each second until the task's expected end: this share of the type's mean
            service time over the agents. The placement's energy is without it.
    """
    if len(columns) == 1:
        # For one task a scan of all agents costs less than a heap.
        k = columns[0]
        seconds = service_s[:, k]
        added = delta(queued_s, seconds, cost[:, k], v=v)
        weighed = added + delay * seconds.mean() * (queued_s + seconds) if delay else added
        agent = int(weighed.argmin())
        queued_s[agent] += seconds[agent]
        return [Placement(agent, float(added[agent]))]
    waits = queued_s.tolist()
    queues: dict[int, _TypeQueue] = {}
    for k in set(columns):
        seconds, price = service_s[:, k], v * cost[:, k]
        weight = delay * float(seconds.mean())
        # Without a delay the same terms, in the same order, as `delta` has: the sums are equal to the last bit.
        slope, own = (seconds + weight, 0.5 * seconds**2 + weight * seconds) if delay else (seconds, 0.5 * seconds**2)
        queues[k] = _TypeQueue(queued_s * slope + own + price, slope, own, price, seconds, len(columns))
    agents, waited = [], []
    for k in columns:
        agent, before = queues[k].place(waits)
        agents.append(agent)
        waited.append(before)
    queued_s[:] = waits
    seconds = service_s[agents, columns]
    added = delta(np.array(waited), seconds, cost[agents, columns], v=v)
    return list(map(Placement, agents, added.tolist()))


def by_energy(load: Load, prices: Prices, columns: Sequence[int]) -> list[Placement]:
    """The smallest ΔE plus a delay penalty of DELAY times the share of idle agents; see `route`."""
    delay = DELAY * float((load.tasks < 0.5).mean())
    placements = route(load.queued_s, prices.service_s, prices.cost, columns, v=prices.v, delay=delay)
    load.tasks[:] += np.bincount([placement.agent for placement in placements], minlength=len(load.tasks))
    return placements


def least_expected_delay(load: Load, prices: Prices, columns: Sequence[int]) -> list[Placement]:
    """The agent where the backlog and the task together take the least time."""
    waits = load.queued_s.tolist()
    one, none = np.ones(len(waits)), np.zeros(len(waits))
    queues: dict[int, _TypeQueue] = {}
    for k in set(columns):
        seconds = prices.service_s[:, k]
        queues[k] = _TypeQueue(load.queued_s + seconds, one, seconds, none, seconds, len(columns))
    return _priced(load, prices, columns, [queues[k].place(waits)[0] for k in columns])


class JoinShortestQueue:
    """The agent with the fewest tasks in hand; ties are broken at random."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = np.random.default_rng(draw.getrandbits(64))

    def __call__(self, load: Load, prices: Prices, columns: Sequence[int]) -> list[Placement]:
        """Place tasks; see `Router`."""
        one, none = np.ones(len(load.tasks)), np.zeros(len(load.tasks))
        # Less than a task: it orders only agents with equal counts.
        tie = self._draw.random(len(one)) / 2
        queue = _TypeQueue(load.tasks + tie, one, tie, none, one, len(columns))
        waits = load.tasks.tolist()
        return _priced(load, prices, columns, [queue.place(waits)[0] for _ in columns])


class PowerOfTwo:
    """The agent with fewer tasks in hand, of two drawn at random (Mitzenmacher, 2001)."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw

    def __call__(self, load: Load, prices: Prices, columns: Sequence[int]) -> list[Placement]:
        """Place tasks; see `Router`."""
        tasks = load.tasks.tolist()
        agents, n = [], len(tasks)
        for _ in columns:
            one = int(self._draw.random() * n)
            other = (one + 1 + int(self._draw.random() * (n - 1))) % n
            chosen = one if tasks[one] <= tasks[other] else other
            tasks[chosen] += 1
            agents.append(chosen)
        return _priced(load, prices, columns, agents)


class RoundRobin:
    """One agent after the other, over batches."""

    def __init__(self, draw: random.Random) -> None:
        self._next = draw.getrandbits(16)

    def __call__(self, load: Load, prices: Prices, columns: Sequence[int]) -> list[Placement]:
        """Place tasks; see `Router`."""
        first, self._next = self._next, self._next + len(columns)
        return _priced(load, prices, columns, [(first + n) % len(load.tasks) for n in range(len(columns))])


class AtRandom:
    """Any agent."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw

    def __call__(self, load: Load, prices: Prices, columns: Sequence[int]) -> list[Placement]:
        """Place tasks; see `Router`."""
        n = len(load.tasks)
        return _priced(load, prices, columns, [int(self._draw.random() * n) for _ in columns])


_MAKE: dict[str, Callable[[random.Random], Router]] = {
    "energy": lambda _: by_energy,
    "join_shortest_queue": JoinShortestQueue,
    "power_of_two": PowerOfTwo,
    "least_expected_delay": lambda _: least_expected_delay,
    "round_robin": RoundRobin,
    "random": AtRandom,
}
ROUTERS = tuple(_MAKE)


def make_router(name: str, seed: int | None = None) -> Router:
    """The router of that name (see `ROUTERS`), for one pool of agents; `seed` fixes its random numbers."""
    return _MAKE[name](random.Random(seed))  # noqa: S311 - not for security


def _priced(load: Load, prices: Prices, columns: Sequence[int], agents: Sequence[int]) -> list[Placement]:
    """Placements by another criterion than energy, with the energy that they add; `load` is updated in place."""
    queued, tasks = load.queued_s.tolist(), load.tasks.tolist()
    seconds = {k: prices.service_s[:, k].tolist() for k in set(columns)}
    price = {k: (prices.v * prices.cost[:, k]).tolist() for k in set(columns)}
    placements = []
    for k, agent in zip(columns, agents, strict=True):
        e = seconds[k][agent]
        placements.append(Placement(agent, queued[agent] * e + 0.5 * e * e + price[k][agent]))
        queued[agent] += e
        tasks[agent] += 1
    load.queued_s[:], load.tasks[:] = queued, tasks
    return placements


class _TypeQueue:
    """A heap of agents by what one task of a type adds there: `waits · slope + own + other`.

    That only grows as tasks are placed. So an entry of the heap is never too high, and the first entry that is still
    correct is the least of all: a few comparisons for a task instead of n.
    """

    __slots__ = ("_heap", "_other", "_own", "_slope", "_step")

    def __init__(self, added: Floats, slope: Floats, own: Floats, other: Floats, step: Floats, tasks: int) -> None:
        self._slope: list[float] = slope.tolist()
        self._own: list[float] = own.tolist()
        self._other: list[float] = other.tolist()
        self._step: list[float] = self._slope if step is slope else step.tolist()
        least = _least_indexes(added, tasks)
        self._heap = list(zip(added[least].tolist(), least.tolist(), strict=True))
        heapify(self._heap)

    def place(self, waits: list[float]) -> tuple[int, float]:
        """The agent where a task adds the least (the first of equal ones), and its backlog before; updates `waits`."""
        heap, slope, own, other = self._heap, self._slope, self._own, self._other
        while True:
            added, agent = heap[0]
            waited = waits[agent]
            now = waited * slope[agent] + own[agent] + other[agent]
            if now <= added:
                waits[agent] = waited + self._step[agent]
                return agent, waited
            heapreplace(heap, (now, agent))


def _least_indexes(added: Floats, count: int) -> npt.NDArray[np.int64]:
    """Indexes of the `count` least values, the first of equal ones.

    Placing `count` tasks raises fewer agents than these before the last is placed, so the least of all is among them.
    """
    if count >= len(added):
        return np.arange(len(added))
    limit = np.partition(added, count - 1)[count - 1]
    below = np.flatnonzero(added < limit)
    return np.concatenate([below, np.flatnonzero(added == limit)[: count - len(below)]])
