"""A discrete-event simulation of agents that serve one task after the other, with the routers that the product runs.

Every router sees the same arrivals, types and luck (a task's service time is its own exponential draw times the agent's
mean). What a router knows of the fleet comes from `pricing.rates` and from outcomes alone, but for the oracle.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np

from benchmarks.routing.instance import Instance
from seedcore.pricing.agent_routers import DELAY, Load, Placement, Prices, Router, make_router
from seedcore.pricing.potential import delta
from seedcore.pricing.rates import DEFAULT_SECONDS, RateTable

WARM = 0.6
"""Share of the first tasks that only warm up: estimates are learned, queues fill."""

FAIL_TIME = 0.1
"""A failing attempt takes this part of a service time."""


TOLD_BY = 16
"""Outcomes are told so many at a time, as dispatchers tell them with every batch."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is simulated.

    Attributes:
        router: a name of `routing.ROUTERS`, or one of `VARIANTS`.
        load: arrivals as a share of the capacity.
        known: the router knows the true mean service times and failures.
        stale_s: what agents have in hand, and outcomes, are told so often; 0: at once.
        coordinators: so many route, each for its part of the arrivals, with a view of its own.
        slow: at this share of the arrivals something becomes slower; None: nothing ever does.
    slow_skill: it is type 0, three times, at every agent; else the fastest agent of type 0, ten times, at all types.
        v: seconds² that one expected failure weighs.
    """

    router: str
    load: float
    known: bool = False
    stale_s: float = 0.0
    coordinators: int = 1
    slow: float | None = None
    slow_skill: bool = False
    v: float = 1.0
    tasks: int = 10_000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it: response times (seconds) after the warm-up, tasks in the system, and who got them."""

    mean_s: float
    p99_s: float
    growth: float
    """Tasks that the system gained in the second half, as a share of those that came in it."""
    responses: np.ndarray
    all_responses: np.ndarray
    """The same with those of the warm-up."""
    arrivals: np.ndarray
    agents: np.ndarray


Price = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def no_load(load: Load, prices: Prices, columns: Sequence[int]) -> list[Placement]:
    """Energy without the load's product, whatever waits."""
    return _argmin(load, prices, columns, lambda w, e, c: 0.5 * e**2 + prices.v * c, DELAY)


def no_own(load: Load, prices: Prices, columns: Sequence[int]) -> list[Placement]:
    """Energy without the task's own ½e²."""
    return _argmin(load, prices, columns, lambda w, e, c: w * e + prices.v * c, DELAY)


def no_cost(load: Load, prices: Prices, columns: Sequence[int]) -> list[Placement]:
    """Energy without V·cost."""
    return _argmin(load, prices, columns, lambda w, e, c: delta(w, e, c, v=0.0), DELAY)


def no_delay(load: Load, prices: Prices, columns: Sequence[int]) -> list[Placement]:
    """ΔE alone, without the penalty for delay."""
    return _argmin(load, prices, columns, lambda w, e, c: delta(w, e, c, v=prices.v), 0.0)


BLIND = ("join_shortest_queue", "power_of_two", "round_robin", "random")
"""Routers that look at no rate."""

VARIANTS: dict[str, Router] = {"no_load": no_load, "no_own": no_own, "no_cost": no_cost, "no_delay": no_delay}


def _argmin(load: Load, prices: Prices, columns: Sequence[int], price: Price, delay: float) -> list[Placement]:
    placements = []
    delay *= float((load.tasks < 0.5).mean())
    for k in columns:
        e, c = prices.service_s[:, k], prices.cost[:, k]
        added = price(load.queued_s, e, c) + delay * e.mean() * (load.queued_s + e)
        best = int(added.argmin())
        placements.append(Placement(best, float(added[best])))
        load.queued_s[best] += e[best]
        load.tasks[best] += 1
    return placements


class Coordinator:
    """One that routes: its view of the agents, what it assigned since, and what it learned."""

    def __init__(self, instance: Instance, case: Case, seed: int) -> None:
        self._instance, self._case = instance, case
        n, k = instance.mean_s.shape
        self._route = VARIANTS.get(case.router) or make_router(case.router, seed)
        self._learns = not case.known and case.router not in BLIND
        self.rates = RateTable()
        agents = {str(agent): agent for agent in range(n)}
        self._columns = [self.rates.columns(agents, str(kind)) for kind in range(k)]
        self.service_s = instance.mean_s.copy()
        self._cost = np.repeat(instance.fails[:, None], k, axis=1)
        if self._learns:
            self.service_s[:], self._cost[:] = DEFAULT_SECONDS, 0.0
        self._ones = np.ones(k)
        self._heard: list[tuple[int, int, float, bool]] = []
        self._shown = np.zeros((n, k))
        self._own = np.zeros((n, k))
        self._due = 0.0 if case.stale_s == 0 else case.stale_s * (seed % 97) / 97

    def hear(self, agent: int, kind: int, seconds: float, ok: bool) -> None:
        """An outcome, told with the next view."""
        if self._learns:
            self._heard.append((agent, kind, seconds, ok))

    def choose(self, kind: int, now: float, outstanding: np.ndarray) -> int:
        """The agent for one task of a kind, now."""
        if now >= self._due and (self._case.stale_s or len(self._heard) >= TOLD_BY):
            self._look(now, outstanding)
        counts = outstanding if self._case.stale_s == 0 else self._shown + self._own
        load = Load(np.einsum("ij,ij->i", counts, self.service_s), counts @ self._ones)
        ((agent, _),) = self._route(load, Prices(self.service_s, self._cost, self._case.v), (kind,))
        self._own[agent, kind] += 1
        return agent

    def _look(self, now: float, outstanding: np.ndarray) -> None:
        dirty = set()
        for agent, kind, seconds, ok in self._heard:
            self.rates.add(str(agent), str(kind), 1, seconds, int(ok))
            self._columns[kind].write(agent, str(agent))
            dirty.add(kind)
        self._heard.clear()
        for kind in dirty:
            seconds, success = self._columns[kind].means()
            self.service_s[:, kind], self._cost[:, kind] = seconds, 1.0 - success
        if self._case.stale_s:
            self._shown, self._own = outstanding.copy(), np.zeros_like(outstanding)
            while self._due <= now:
                self._due += self._case.stale_s


def simulate(instance: Instance, case: Case) -> Result:
    """Run a case to the end of its last task."""
    draw = np.random.default_rng(case.seed)
    n, k = instance.mean_s.shape
    arrivals = np.cumsum(draw.exponential(1 / (case.load * instance.capacity), case.tasks))
    kinds = draw.choice(k, case.tasks, p=instance.mix).tolist()
    luck = draw.exponential(1.0, (case.tasks, 4)).tolist()
    fates = draw.random((case.tasks, 4)).tolist()
    whose = draw.integers(case.coordinators, size=(case.tasks, 5)).tolist()
    mean_s = instance.mean_s.tolist()
    fails = instance.fails.tolist()
    slow_from = None if case.slow is None else int(case.slow * case.tasks)
    victim = int(instance.mean_s[:, 0].argmin())
    coordinators = [Coordinator(instance, case, case.seed * 131 + 31 * c) for c in range(case.coordinators)]
    outstanding = np.zeros((n, k))
    free_at = [0.0] * n
    # (time, task, attempt, agent, seconds, ok): an end; attempt -1 is no end but an arrival.
    ends: list[tuple[float, int, int, int, float, bool]] = []
    ended = np.zeros(case.tasks)
    chosen = np.zeros(case.tasks, dtype=np.int64)

    def begin(task: int, attempt: int, now: float) -> None:
        kind = kinds[task]
        agent = coordinators[whose[task][0]].choose(kind, now, outstanding)
        outstanding[agent, kind] += 1
        # The fourth attempt always succeeds: an attempt has no end otherwise.
        ok = attempt == 3 or fates[task][attempt] >= fails[agent]
        seconds = luck[task][attempt] * mean_s[agent][kind] * (1.0 if ok else FAIL_TIME)
        free_at[agent] = max(free_at[agent], now) + seconds
        chosen[task] = agent
        heappush(ends, (free_at[agent], task, attempt, agent, seconds, ok))

    def end_until(now: float) -> None:
        while ends and ends[0][0] <= now:
            at, task, attempt, agent, seconds, ok = heappop(ends)
            kind = kinds[task]
            outstanding[agent, kind] -= 1
            coordinators[whose[task][attempt + 1]].hear(agent, kind, seconds, ok)
            if ok:
                ended[task] = at
            else:
                begin(task, attempt + 1, at)

    for task, now in enumerate(arrivals.tolist()):
        if task == slow_from:
            _slow(mean_s, None if case.slow_skill else victim)
        end_until(now)
        begin(task, 0, now)
    end_until(float("inf"))
    return _result(arrivals, ended, chosen)


def _slow(mean_s: list[list[float]], agent: int | None) -> None:
    if agent is None:
        for own in mean_s:
            own[0] *= 3
    else:
        mean_s[agent] = [10 * seconds for seconds in mean_s[agent]]


def _result(arrivals: np.ndarray, ended: np.ndarray, chosen: np.ndarray) -> Result:
    tasks = len(arrivals)
    whole = ended - arrivals
    responses = whole[int(WARM * tasks) :]
    half = tasks // 2
    before = half - int((ended <= arrivals[half - 1]).sum())
    after = tasks - int((ended <= arrivals[-1]).sum())
    growth = (after - before) / (tasks - half)
    return Result(
        float(responses.mean()), float(np.quantile(responses, 0.99)), growth, responses, whole, arrivals, chosen
    )
