"""The tables: every router at every load, and what stale views, failures, a slowdown and missing terms do to it."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any, TypeVar

import numpy as np

from benchmarks.routing.instance import Instance, failing, heterogeneous, identical
from benchmarks.routing.simulate import Case, simulate

LOADS = (0.3, 0.6, 0.8, 0.9, 0.95)
SIMPLE = ("least_expected_delay", "join_shortest_queue", "power_of_two", "round_robin", "random")
MAKE = {"heterogeneous": heterogeneous, "identical": identical, "failing": failing}
ORACLE = "oracle"
SLOW_AT = 0.6
LEARNING, LONGER = (0.0, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0), 4
"""Parts of a run that is so many times longer, to see how learning goes on."""

Given, Made = TypeVar("Given"), TypeVar("Made")


@dataclass(slots=True)
class Table:
    """Median over the instances of a figure, by row (a router) and column."""

    name: str
    columns: list[str]
    rows: dict[str, list[float]] = field(default_factory=dict)
    unit: str = "s"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Job:
    """One simulation."""

    fleet: str
    instance: int
    case: Case


def _run(job: Job) -> dict[str, Any]:
    fleet: Instance = MAKE[job.fleet](job.instance)
    found = simulate(fleet, job.case)
    begins = found.arrivals[-len(found.responses) :]
    slowed = int((0.0 if job.case.slow is None else job.case.slow) * job.case.tasks)
    victim = int(fleet.mean_s[:, 0].argmin())
    hits = found.agents == victim
    window = max(1, job.case.tasks // 40)
    return {
        "mean": found.mean_s,
        "p99": found.p99_s,
        "growth": found.growth,
        "after": float(found.responses[begins >= found.arrivals[slowed]].mean()),
        "share": [float(hits[n : n + window].mean()) for n in range(0, job.case.tasks, window)],
        "window_s": float((found.arrivals[-1] - found.arrivals[0]) / 40),
        "while_learning": [
            float(found.all_responses[int(a * job.case.tasks) : int(b * job.case.tasks)].mean())
            for a, b in pairwise(LEARNING)
        ],
    }


class Bench:
    """Runs simulations on the processors that there are."""

    def __init__(self, instances: int, tasks: int) -> None:
        self.instances, self.tasks = instances, tasks
        self._pool = ProcessPoolExecutor(os.cpu_count() or 1)

    def close(self) -> None:
        self._pool.shutdown()

    def map(self, work: Callable[[Given], Made], jobs: Iterable[Given]) -> Iterable[Made]:
        """What `work` makes of each job, in order."""
        return self._pool.map(work, jobs)

    def run(self, fleet: str, cases: Iterable[Case], longer: int = 1) -> list[list[dict[str, Any]]]:
        """For each case what each instance gave."""
        cases = list(cases)
        jobs = [Job(fleet, n, _with(case, n, longer * self.tasks)) for case in cases for n in range(self.instances)]
        found = list(self._pool.map(_run, jobs))
        return [found[n * self.instances : (n + 1) * self.instances] for n in range(len(cases))]

    def table(self, name: str, fleet: str, rows: dict[str, list[Case]], columns: Sequence[str]) -> list[Table]:
        """Tables of the mean and of the 99th percentile."""
        mean, p99 = Table(f"{name}, mean", list(columns)), Table(f"{name}, p99", list(columns))
        found = self.run(fleet, [case for cases in rows.values() for case in cases])
        for n, row in enumerate(rows):
            own = found[n * len(columns) : (n + 1) * len(columns)]
            mean.rows[row] = [median(one["mean"] for one in cell) for cell in own]
            p99.rows[row] = [median(one["p99"] for one in cell) for cell in own]
        return [mean, p99]


def _with(case: Case, seed: int, tasks: int) -> Case:
    return Case(**{**asdict(case), "seed": seed, "tasks": tasks})


def loads(bench: Bench) -> list[Table]:
    """Heterogeneous agents, fresh views: every router, and energy that knows the rates."""
    rows = {router: [Case(router, load) for load in LOADS] for router in ("energy", *SIMPLE)}
    rows[ORACLE] = [Case("energy", load, known=True) for load in LOADS]
    return bench.table("heterogeneous agents", "heterogeneous", rows, [f"{load:g}" for load in LOADS])


def same(bench: Bench) -> list[Table]:
    """Identical agents."""
    routers = ("energy", "least_expected_delay", "join_shortest_queue", "power_of_two", "round_robin")
    rows = {router: [Case(router, load) for load in LOADS] for router in routers}
    return bench.table("identical agents", "identical", rows, [f"{load:g}" for load in LOADS])


def stale(bench: Bench) -> list[Table]:
    """Views that are told every so often, by one Coordinator and by four that know nothing of each other."""
    ages = (0.0, 0.1, 0.5, 1.0, 5.0)
    tables = []
    for coordinators in (1, 2, 4):
        rows = {
            router: [Case(router, 0.8, stale_s=age, coordinators=coordinators) for age in ages]
            for router in ("energy", "least_expected_delay", "join_shortest_queue", "power_of_two")
        }
        rows[ORACLE] = [Case("energy", 0.8, stale_s=age, coordinators=coordinators, known=True) for age in ages]
        name = f"load 0.8, views so many seconds old, {coordinators} Coordinator{'s' * (coordinators > 1)}"
        tables += bench.table(name, "heterogeneous", rows, [f"{age:g}" for age in ages])
    return tables


def failures(bench: Bench) -> list[Table]:
    """Three agents that fail most of what they get, fast; without the cost term nobody would see why they are idle."""
    rows = {
        router: [Case(router, load) for load in (0.6, 0.8)]
        for router in ("energy", "no_cost", "least_expected_delay", "join_shortest_queue", "power_of_two")
    }
    return bench.table("three of 16 agents fail", "failing", rows, ["0.6", "0.8"])


def ablation(bench: Bench) -> list[Table]:
    """Energy without one of its parts."""
    rows = {router: [Case(router, load) for load in LOADS] for router in ("energy", "no_load", "no_own", "no_delay")}
    return bench.table("energy without a part", "heterogeneous", rows, [f"{load:g}" for load in LOADS])


def slowdown(bench: Bench) -> list[Table]:
    """The agent that is fastest at a type becomes ten times slower: what tasks take from then on, and who gets them."""
    routers = ("energy", "least_expected_delay", "join_shortest_queue", "power_of_two")
    found = bench.run("heterogeneous", [Case(router, 0.6, slow=SLOW_AT) for router in routers])
    after = Table("one agent ten times slower, load 0.6, mean after it", ["s"])
    share = Table("its share of tasks", ["before", "next 2.5 % of tasks", "after that"], unit="")
    for router, cell in zip(routers, found, strict=True):
        after.rows[router] = [median(one["after"] for one in cell)]
        at = int(SLOW_AT * 40)
        shares = np.median([one["share"] for one in cell], axis=0)
        share.rows[router] = [float(shares[10:at].mean()), float(shares[at]), float(shares[at + 1 :].mean())]
    return [after, share]


def slow_skill(bench: Bench) -> list[Table]:
    """A type becomes three times slower at every agent: what tasks of all types take from then on."""
    routers = ("energy", "least_expected_delay", "join_shortest_queue", "power_of_two")
    found = bench.run("heterogeneous", [Case(router, 0.6, slow=SLOW_AT, slow_skill=True) for router in routers])
    made = Table("one skill three times slower, load 0.6, mean after it", ["s"])
    for router, cell in zip(routers, found, strict=True):
        made.rows[router] = [median(one["after"] for one in cell)]
    return [made]


def learning(bench: Bench) -> list[Table]:
    """Load 0.95, nothing left out: how the mean, and its ratio to that of known rates, fall while rates are learned."""
    found = bench.run("heterogeneous", [Case("energy", 0.95), Case("energy", 0.95, known=True)], LONGER)
    ends = [f"{LONGER * bench.tasks * end:.0f}" for end in LEARNING]
    made = Table("load 0.95, mean of tasks", [f"{a} to {b}" for a, b in pairwise(ends)])
    learned, known = (np.array([one["while_learning"] for one in cell]) for cell in found)
    made.rows["energy"], made.rows[ORACLE] = np.median(learned, axis=0).tolist(), np.median(known, axis=0).tolist()
    made.rows["ratio"] = np.median(learned / known, axis=0).tolist()
    return [made]


def stable(bench: Bench) -> list[Table]:
    """The largest load, in steps of 0.05, at which the number of tasks in the system does not grow; 0: none of them."""
    grid = [round(0.3 + 0.05 * n, 2) for n in range(15)]
    made = Table("largest stable load", ["share of capacity"], unit="")
    for router in ("energy", *SIMPLE):
        found = bench.run("heterogeneous", [Case(router, load) for load in grid])
        fits = [median(one["growth"] for one in cell) < 0.01 for cell in found]
        made.rows[router] = [([0.0, *grid])[[*fits, False].index(False)]]
    return [made]


PARTS = {
    "loads": loads,
    "same": same,
    "stale": stale,
    "failures": failures,
    "ablation": ablation,
    "slowdown": slowdown,
    "slow_skill": slow_skill,
    "learning": learning,
    "stable": stable,
}
