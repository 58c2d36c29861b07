"""The Coordinator's view of the fleet: who can do what, how much waits there, how fast it goes."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seedcore.energy.potential import Floats
from seedcore.energy.rates import RateTable

REPORT_TTL_S = 10.0
"""A dispatcher that has not asked for this long does not wait for anything any more."""


@dataclass(frozen=True, slots=True)
class FleetAgent:
    """Where one agent lives."""

    id: str
    organ: str
    host: str


@dataclass(slots=True)
class _Report:
    at: float
    outstanding: dict[tuple[str, str], int]


class Fleet:
    """Routing table, learned rates, and the work queued at each agent as the dispatchers last told it.

    Dispatchers tell the whole of what they wait for, not changes of it: a lost report heals with the next.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self.rates = RateTable()
        self._organ_of_skill: dict[str, str] = {}
        self._timeouts: dict[str, float] = {}
        self._by_organ: dict[str, list[FleetAgent]] = {}
        self._reports: dict[str, _Report] = {}

    def update(self, table: Mapping[str, Any]) -> None:
        """Take over a routing table (see `OrganismClient.fleet`)."""
        self.epoch = int(table["epoch"])
        self._organ_of_skill = dict(table["skills"])
        self._timeouts = dict(table["timeouts"])
        self._by_organ = {}
        for row in table["agents"]:
            agent = FleetAgent(row["id"], row["organ"], row["host"])
            self._by_organ.setdefault(agent.organ, []).append(agent)

    def report(self, asker: str, outstanding: Iterable[tuple[str, str, int]]) -> None:
        """What `asker` waits for now: (agent, type, count)."""
        self._reports[asker] = _Report(time.monotonic(), {(a, t): n for a, t, n in outstanding})

    def organ_of(self, skill: str) -> str | None:
        """The organ whose agents have `skill`."""
        return self._organ_of_skill.get(skill)

    def timeout_of(self, skill: str) -> float | None:
        """Seconds that `skill` declares for itself."""
        return self._timeouts.get(skill)

    @property
    def skills(self) -> Sequence[str]:
        """Every known skill."""
        return sorted(self._organ_of_skill)

    def agents_of(self, organ: str) -> Sequence[FleetAgent]:
        """Living agents of an organ, in a fixed order."""
        return self._by_organ.get(organ, ())

    def queued_s(self, agents: Sequence[FleetAgent]) -> Floats:
        """Expected seconds of work queued at each of `agents`, shape (n,)."""
        fresh = time.monotonic() - REPORT_TTL_S
        self._reports = {asker: report for asker, report in self._reports.items() if report.at >= fresh}
        seconds: dict[str, float] = {}
        for report in self._reports.values():
            for (agent, task_type), count in report.outstanding.items():
                seconds[agent] = seconds.get(agent, 0.0) + count * self.rates.seconds(agent, task_type)
        return np.array([seconds.get(agent.id, 0.0) for agent in agents], dtype=np.float64)

    def service_s(self, agents: Sequence[FleetAgent], types: Sequence[str]) -> Floats:
        """Expected seconds of each type at each agent, shape (n, k)."""
        return np.array([[self.rates.seconds(a.id, t) for t in types] for a in agents], dtype=np.float64)

    def expected_failure(self, agents: Sequence[FleetAgent], types: Sequence[str]) -> Floats:
        """Expected share of failures of each type at each agent, shape (n, k)."""
        return np.array([[1.0 - self.rates.success(a.id, t) for t in types] for a in agents], dtype=np.float64)
