"""How long routing and pricing take: 500 tasks over 1,000 agents, and the energy of 10,000 agents."""

import time
from collections.abc import Callable
from statistics import median

import numpy as np

from benchmarks.routing.parts import Table
from seedcore.decision.agent_selection import RoutingState
from seedcore.decision.batch import TaskBatch
from seedcore.decision.decide import decide
from seedcore.decision.fleet_table import Fleet
from seedcore.decision.policy import parse_policy
from seedcore.decision.rulings import PolicyContext
from seedcore.decision.stream_status import StreamKey, StreamStatus
from seedcore.pricing.agent_routers import Load, Prices, by_energy
from seedcore.pricing.potential import FleetState, Weights, gradient, potential

AGENTS, TYPES, TASKS, MANY = 1000, 4, 500, 10_000
TARGET_MS = 5.0


def measure(rounds: int = 200) -> Table:
    """Medians and the fastest of `rounds`, in milliseconds."""
    draw = np.random.default_rng(0)
    service, cost = draw.lognormal(-3, 0.6, (AGENTS, TYPES)), draw.random((AGENTS, TYPES)) / 10
    queued = draw.exponential(0.1, AGENTS)
    columns = draw.integers(TYPES, size=TASKS).tolist()
    prices = Prices(service, cost, 1.0)
    roles = np.full(3 * MANY, 1 / 3)
    state = FleetState(
        draw.exponential(1.0, MANY),
        draw.random(MANY),
        draw.random(MANY),
        draw.random(MANY),
        roles,
        np.full(len(roles), 3.0),
        draw.random(8),
        draw.random(100),
    )
    weights = Weights()
    fleet, types = _fleet(draw), TaskBatch.of_types([f"t{k}" for k in columns])
    routing = RoutingState(1.0)
    valve, salience = (_ruled(when) for when in ("valve.evidence > 0.9", "salience > 0.9"))
    table = Table("speed", ["median", "fastest", "target"], unit="ms")
    for name, work in {
        "route 500 tasks over 1,000 agents": lambda: by_energy(Load(queued.copy(), np.zeros(AGENTS)), prices, columns),
        "energy and gradient of 10,000 agents": lambda: (potential(state, weights), gradient(state, weights)),
        "decide a batch of 500 over 1,000 agents, all of it": lambda: decide(types, fleet, routing),
        "the same with one rule, on the valve": lambda: decide(types, fleet, routing, valve),
        "the same with one rule, on the salience": lambda: decide(types, fleet, routing, salience),
    }.items():
        times = [_time(work) for _ in range(rounds)]
        table.rows[name] = [median(times), min(times), TARGET_MS]
    return table


class _Closed:
    """Monitors whose valves are all closed."""

    def status(self, key: StreamKey) -> StreamStatus:
        return StreamStatus("closed", 0.1, 0.1, 0.0)


def _ruled(when: str) -> PolicyContext:
    """One rule, and a salience for each type."""
    policy = parse_policy(f"rules: [{{name: r, when: {when!r}, route: hold}}]".encode(), "speed")
    return PolicyContext(policy, _Closed(), salience={f"t{k}": 0.2 for k in range(TYPES)})


def _fleet(draw: np.random.Generator) -> Fleet:
    """A fleet that has learned four types, and has work in hand."""
    fleet, ids = Fleet(), [f"a-{n}" for n in range(AGENTS)]
    organ = {"agents": ids, "hosts": [f"h-{n}" for n in range(10)], "host": [n % 10 for n in range(AGENTS)]}
    skills = {f"t{k}": "o" for k in range(TYPES)}
    fleet.update(
        {"epoch": 1, "skills": skills, "timeouts": {}, "organs": {"o": {**organ, "scouts": [], "archived": []}}}
    )
    for agent in ids:
        for kind in skills:
            fleet.learn(agent, kind, 20, 20 * float(draw.lognormal(-3, 0.6)), 20)
    for asker in ("one", "two"):
        fleet.report(asker, [(ids[int(draw.integers(AGENTS))], f"t{n % TYPES}", 1) for n in range(700)])
    return fleet


def _time(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000
