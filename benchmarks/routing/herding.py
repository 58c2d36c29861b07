"""Do workers herd? Each decides with a view of its own: eight of them against one that sees everything.

A worker knows what it assigned itself and what came of it at once. Every so often it tells that, and hears what the
others told last: their backlog and outcomes are up to two intervals old when it decides, as with reports to a
Coordinator that hands them on with its next answer. Agents live in the workers; a task for an agent of another worker
arrives there a hop later, and the decision counts the hop. The one decider knows
all at once, of the same claims by the same workers, so that only the age of views differs. Choices are the product's:
`select_agents`, with what `pricing.rates` learns.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from statistics import median

import numpy as np

from benchmarks.routing.instance import Instance, heterogeneous
from benchmarks.routing.parts import Bench, Table
from benchmarks.routing.simulate import WARM
from seedcore.decision.agent_selection import RoutingState, select_agents
from seedcore.decision.backlog import Team
from seedcore.decision.task_costs import TaskCosts
from seedcore.pricing.agent_routers import Load
from seedcore.pricing.rates import DEFAULT_SECONDS, RateTable

LOADS = (0.3, 0.6, 0.9)
SCALES = (1.0, 0.1, 0.01)
"""Median service times, in seconds: the shorter tasks are, the more of them an interval hides."""

HOP_S = 0.003
"""From the decision to the start at an idle agent of another worker."""


@dataclass(frozen=True, slots=True)
class Herd:
    """What is simulated.

    Attributes:
        load: arrivals as a share of the capacity.
        workers: so many claim, each its random part of the arrivals, and house the agents in turn.
        every_s: interval of reports; 0: everything is known at once.
        scale_s: median service time.
        known: the true mean service times are known; else they are learned.
        sees_home: a worker also knows at once what waits at the agents that live in it, whoever sent it.
        hop_s: cost of a task for an agent of another worker.
    """

    load: float
    workers: int = 8
    every_s: float = 0.0
    scale_s: float = 1.0
    known: bool = False
    sees_home: bool = False
    hop_s: float = HOP_S
    tasks: int = 20_000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Flock:
    """What came of it, after the warm-up.

    Attributes:
        mean_s: mean response time.
        uneven: mean over the arrivals of the largest backlog of an agent, by that of the mean backlog.
        crossed: share of tasks that went to an agent of another worker.
    """

    mean_s: float
    uneven: float
    crossed: float


Outcome = tuple[int, int, float]
"""Agent, kind, seconds."""


class View:
    """What one that decides knows: its own at once, that of others as it was last told."""

    def __init__(self, fleet: Instance, herd: Herd) -> None:
        n, k = fleet.mean_s.shape
        self.own, self.others = np.zeros((n, k)), np.zeros((n, k))
        self.told = np.zeros((n, k))
        self.heard = 0
        self.untold: list[Outcome] = []
        self._learns = not herd.known
        self._service_s = fleet.mean_s.copy() if herd.known else np.full((n, k), DEFAULT_SECONDS)
        self._rates = RateTable()
        agents = {str(agent): agent for agent in range(n)}
        self._columns = [self._rates.columns(agents, str(kind)) for kind in range(k)]
        self._dirty: set[int] = set()
        self._state = RoutingState(1.0)
        self._nothing = np.zeros((n, 1))

    def learn(self, outcome: Outcome) -> None:
        """An outcome, its own or another's."""
        if self._learns:
            agent, kind, seconds = outcome
            self._rates.add(str(agent), str(kind), 1, seconds, 1)
            self._columns[kind].write(agent, str(agent))
            self._dirty.add(kind)

    def choose(self, team: Team, kind: int, hops: np.ndarray, seen: np.ndarray | None = None) -> int:
        """The agent for one task; `hops`: seconds to each agent, `seen`: what waits in truth at those without a hop."""
        for stale in self._dirty:
            self._service_s[:, stale], _ = self._columns[stale].means()
        self._dirty.clear()
        counts = self.own + self.others
        if seen is not None:
            counts[hops == 0] = seen[hops == 0]
        load = Load(np.einsum("ij,ij->i", counts, self._service_s), counts.sum(axis=1))
        service = (self._service_s[:, kind] + hops)[:, None]
        costs = TaskCosts(
            columns=[0],
            types=[str(kind)],
            service=service,
            failure=self._nothing,
            cost=self._nothing,
            places_over_limit=0,
        )
        (placement,) = select_agents(team, load, costs, self._state, "known_skill").placements
        return int(placement.agent)


def simulate_herd(fleet: Instance, herd: Herd) -> Flock:
    """Run to the end of the last arrival's task."""
    fleet = replace(fleet, mean_s=fleet.mean_s * herd.scale_s, capacity=fleet.capacity / herd.scale_s)
    return _Run(fleet, herd).run()


class _Run:
    def __init__(self, fleet: Instance, herd: Herd) -> None:
        self._fleet, self._herd = fleet, herd
        n, k = fleet.mean_s.shape
        draw = np.random.default_rng(herd.seed)
        self._arrivals = np.cumsum(draw.exponential(1 / (herd.load * fleet.capacity), herd.tasks))
        self._kinds = draw.choice(k, herd.tasks, p=fleet.mix).tolist()
        self._luck = draw.exponential(1.0, herd.tasks).tolist()
        self._claims = draw.integers(herd.workers, size=herd.tasks).tolist()
        alone = herd.every_s == 0
        self._views = [View(fleet, herd) for _ in range(1 if alone else herd.workers)]
        self._phase = draw.random(len(self._views)) * herd.every_s
        self._log: list[tuple[int, Outcome]] = []
        home = np.arange(n) % herd.workers
        self._hops = [np.where(home == worker, 0.0, herd.hop_s) for worker in range(herd.workers)]
        ids, hosts = [f"a-{row}" for row in range(n)], [f"w-{worker}" for worker in range(herd.workers)]
        columns = {"agents": ids, "hosts": hosts, "host": home.tolist(), "scouts": [], "archived": []}
        self._team = Team.of("fleet", columns)  # type: ignore[arg-type]
        self._free_at = np.zeros(n)
        self._outstanding = np.zeros((n, k))
        self._ends: list[tuple[float, int, int, int, float]] = []
        self._counted = int(WARM * herd.tasks)

    def run(self) -> Flock:
        herd, responses, crossed = self._herd, np.zeros(self._herd.tasks), 0
        largest = mean = 0.0
        exchanges = self._exchanges()
        due, worker = next(exchanges)
        mean_s = self._fleet.mean_s.tolist()
        for task, now in enumerate(self._arrivals.tolist()):
            while due <= now:
                self._end_until(due)
                self._exchange(worker)
                due, worker = next(exchanges)
            self._end_until(now)
            if task >= self._counted:
                backlog = np.maximum(self._free_at - now, 0.0)
                largest, mean = largest + float(backlog.max()), mean + float(backlog.mean())
            kind, claimer = self._kinds[task], self._claims[task]
            whose = claimer if len(self._views) > 1 else 0
            hops = self._hops[claimer]
            seen = self._outstanding if herd.sees_home else None
            agent = self._views[whose].choose(self._team, kind, hops, seen)
            self._views[whose].own[agent, kind] += 1
            self._outstanding[agent, kind] += 1
            seconds = self._luck[task] * mean_s[agent][kind]
            end = max(self._free_at[agent], now + hops[agent]) + seconds
            self._free_at[agent] = end
            heappush(self._ends, (float(end), whose, agent, kind, seconds))
            responses[task] = end - now
            crossed += int(task >= self._counted and hops[agent] > 0)
        counted = herd.tasks - self._counted
        return Flock(float(responses[self._counted :].mean()), largest / max(mean, 1e-12), crossed / counted)

    def _exchanges(self) -> Iterator[tuple[float, int]]:
        """When which worker reports, in order."""
        if self._herd.every_s == 0:
            yield float("inf"), 0
        order = np.argsort(self._phase).tolist()
        round_ = 0
        while True:
            for worker in order:
                yield float(self._phase[worker]) + round_ * self._herd.every_s, worker
            round_ += 1

    def _exchange(self, worker: int) -> None:
        """Tell the own, and hear what the others told last."""
        view = self._views[worker]
        view.told = view.own.copy()
        view.others = np.sum([other.told for other in self._views if other is not view], axis=0)
        self._log += [(worker, outcome) for outcome in view.untold]
        view.untold.clear()
        for teller, outcome in self._log[view.heard :]:
            if teller != worker:
                view.learn(outcome)
        view.heard = len(self._log)

    def _end_until(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            _, whose, agent, kind, seconds = heappop(self._ends)
            view = self._views[whose]
            view.own[agent, kind] -= 1
            self._outstanding[agent, kind] -= 1
            view.learn((agent, kind, seconds))
            if len(self._views) > 1:
                view.untold.append((agent, kind, seconds))


ROWS: dict[str, Herd] = {
    "8 workers, views at most 0.5 s old": Herd(0, every_s=0.25),
    "8 workers, views at most 1 s old": Herd(0, every_s=0.5),
    "8 workers, at most 1 s, own agents' backlog known": Herd(0, every_s=0.5, sees_home=True),
    "8 workers, at most 1 s, rates known": Herd(0, every_s=0.5, known=True),
    "2 workers, views at most 1 s old": Herd(0, workers=2, every_s=0.5),
}
"""Views are at most two intervals old."""


def herding(bench: Bench) -> list[Table]:
    """Mean response to that of one that sees everything, and how uneven backlogs are: p50 and worst of the fleets."""
    tables = []
    for scale in SCALES:
        cases = [replace(row, load=load, scale_s=scale) for row in ROWS.values() for load in LOADS]
        alone = list(dict.fromkeys(_alone(case) for case in cases))
        found = dict(zip([*cases, *alone], _run_all(bench, [*cases, *alone]), strict=True))
        tables += _tables(f"herding, tasks of {scale:g} s", scale, found)
    return tables


def _alone(herd: Herd) -> Herd:
    """The same claims, decided by one that sees everything."""
    return replace(herd, every_s=0.0, sees_home=False)


def _tables(name: str, scale: float, found: dict[Herd, list[Flock]]) -> list[Table]:
    columns = [f"{load:g}, {which}" for load in LOADS for which in ("p50", "worst")]
    ratio = Table(f"{name}: mean response to one decider's", columns, unit="")
    uneven = Table(f"{name}: largest to mean backlog of agents", columns, unit="")
    crossed = Table(f"{name}: share for agents of another worker", [f"{load:g}" for load in LOADS], unit="")
    for row, herd in ROWS.items():
        cells = [replace(herd, load=load, scale_s=scale) for load in LOADS]
        pairs = [(found[cell], found[_alone(cell)]) for cell in cells]
        ratios = [[one.mean_s / best.mean_s for one, best in zip(*pair, strict=True)] for pair in pairs]
        ratio.rows[row] = [figure for values in ratios for figure in (median(values), max(values))]
        crossed.rows[row] = [median(one.crossed for one in flocks) for flocks, _ in pairs]
        for label, which in ((row, 0), (f"one decider for {herd.workers}{', rates known' * herd.known}", 1)):
            values = [[one.uneven for one in pair[which]] for pair in pairs]
            uneven.rows[label] = [figure for cell in values for figure in (median(cell), max(cell))]
    return [ratio, uneven, crossed]


def _run_all(bench: Bench, cases: list[Herd]) -> list[list[Flock]]:
    """For each case what each fleet gave."""
    jobs = [replace(case, seed=seed, tasks=bench.tasks) for case in cases for seed in range(bench.instances)]
    flocks = list(bench.map(_run_one, jobs))
    return [flocks[n * bench.instances : (n + 1) * bench.instances] for n in range(len(cases))]


def _run_one(herd: Herd) -> Flock:
    return simulate_herd(heterogeneous(herd.seed), herd)
