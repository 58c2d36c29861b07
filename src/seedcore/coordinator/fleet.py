"""The Coordinator's view of the fleet: who can do what, how much waits there, how fast it goes."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from seedcore.energy.potential import Floats
from seedcore.energy.rates import PRIOR_WEIGHT, RateEstimate, RateTable

REPORT_TTL_S = 10.0
"""A dispatcher that has not asked for this long does not wait for anything any more."""

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Team:
    """The living agents of one organ by column, in a fixed order.

    Attributes:
        organ: the organ.
        ids: their ids.
        hosts: names of the organ's hosts.
        host: for each agent the place of its host in `hosts`.
        employed: places of the agents that have proved themselves, or whose lifecycle nobody told.
        scouts: places of those that must prove themselves yet.
        archived: places of those that failed too often.
    """

    organ: str
    ids: Sequence[str]
    hosts: Sequence[str]
    host: Sequence[int]
    employed: Places
    scouts: Places
    archived: Places
    place: Mapping[str, int]

    @classmethod
    def of(cls, organ: str, columns: Mapping[str, Any]) -> "Team":
        """The team that an organ's part of the table tells."""
        ids = list(columns["agents"])
        scouts = np.array(columns["scouts"], dtype=np.int64)
        archived = np.array(columns["archived"], dtype=np.int64)
        employed = np.ones(len(ids), dtype=bool)
        employed[scouts] = employed[archived] = False
        place = {agent: n for n, agent in enumerate(ids)}
        return cls(organ, ids, columns["hosts"], columns["host"], np.flatnonzero(employed), scouts, archived, place)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(slots=True)
class _Report:
    at: float
    outstanding: dict[tuple[str, str], int]


@dataclass(slots=True)
class _Learned:
    """What a team's agents learned about one task type, by column."""

    weight: Floats
    seconds: Floats
    successes: Floats


@dataclass(slots=True)
class Fleet:
    """Routing table, learned rates, and the work queued at each agent as the dispatchers last told it.

    Dispatchers tell the whole of what they wait for, not changes of it: a lost report heals with the next.
    """

    epoch: int = 0
    rates: RateTable = field(default_factory=RateTable)
    new_agents: set[str] = field(default_factory=set)
    """Agents in the table whose earlier outcomes nobody has told yet; see `remember`."""
    explored: dict[str, float] = field(default_factory=dict)
    """For each organ the share of a task that its scouts are still owed."""
    _known: set[str] = field(default_factory=set)
    _organ_of_skill: dict[str, str] = field(default_factory=dict)
    _timeouts: dict[str, float] = field(default_factory=dict)
    _teams: dict[str, Team] = field(default_factory=dict)
    _reports: dict[str, _Report] = field(default_factory=dict)
    _learned: dict[tuple[str, str], _Learned] = field(default_factory=dict)

    def update(self, table: Mapping[str, Any]) -> None:
        """Take over a routing table (see `OrganismClient.fleet`); one that says `unchanged` changes nothing."""
        if table.get("unchanged"):
            return
        self.epoch = int(table["epoch"])
        self._organ_of_skill = dict(table["skills"])
        self._timeouts = dict(table["timeouts"])
        self._teams = {organ: Team.of(organ, columns) for organ, columns in table["organs"].items()}
        self._learned = {}
        now = {agent for team in self._teams.values() for agent in team.ids}
        self.new_agents = (self.new_agents & now) | (now - self._known)
        self._known = now
        self.explored = {organ: owed for organ, owed in self.explored.items() if organ in self._teams}

    def learn(self, agent: str, task_type: str, count: int, seconds: float, successes: int) -> None:
        """Take in outcomes of one agent and type."""
        self.rates.add(agent, task_type, count, seconds, successes)
        for organ, team in self._teams.items():
            if (columns := self._learned.get((organ, task_type))) is not None and agent in team.place:
                self._write(columns, team.place[agent], agent, task_type)

    def remember(self, agents: Iterable[str], learned: Mapping[str, Mapping[str, RateEstimate]]) -> None:
        """Take in what new agents had learned before: as they last told their hosts, by agent and type.

        Those that have none are known not to have any. Each agent's past counts once.
        """
        for agent in self.new_agents.intersection(agents):
            for task_type, earlier in learned.get(agent, {}).items():
                self.rates.remember(agent, task_type, earlier)
        self.new_agents.difference_update(agents)
        self._learned = {}

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

    def team(self, organ: str) -> Team | None:
        """Living agents of an organ; None when it has none."""
        team = self._teams.get(organ)
        return team if team is not None and len(team) else None

    def queued_s(self, team: Team) -> Floats:
        """Expected seconds of work queued at each of the team's n agents, shape (n,)."""
        fresh = time.monotonic() - REPORT_TTL_S
        self._reports = {asker: report for asker, report in self._reports.items() if report.at >= fresh}
        seconds = np.zeros(len(team), dtype=np.float64)
        for report in self._reports.values():
            for (agent, task_type), count in report.outstanding.items():
                place = team.place.get(agent)
                if place is not None:
                    seconds[place] += count * self.rates.seconds(agent, task_type)
        return seconds

    def service_s(self, team: Team, types: Sequence[str]) -> Floats:
        """Expected seconds of each of k types at each of n agents, shape (n, k)."""
        columns = []
        for name in types:
            known = self._columns(team, name)
            prior = self.rates.type_seconds(name)
            columns.append((known.seconds + PRIOR_WEIGHT * prior) / (known.weight + PRIOR_WEIGHT))
        return np.stack(columns, axis=1)

    def expected_failure(self, team: Team, types: Sequence[str]) -> Floats:
        """Expected share of failures of each of k types at each of n agents, shape (n, k)."""
        columns = []
        for name in types:
            known = self._columns(team, name)
            prior = self.rates.type_success(name)
            columns.append(1.0 - (known.successes + PRIOR_WEIGHT * prior) / (known.weight + PRIOR_WEIGHT))
        return np.stack(columns, axis=1)

    def _columns(self, team: Team, task_type: str) -> _Learned:
        """What the team learned about a type; written on by `learn`, so that a batch need not look at every agent."""
        known = self._learned.get((team.organ, task_type))
        if known is None:
            n = len(team)
            known = self._learned[team.organ, task_type] = _Learned(np.zeros(n), np.zeros(n), np.zeros(n))
            for agent in self.rates.agents_with(task_type):
                if agent in team.place:
                    self._write(known, team.place[agent], agent, task_type)
        return known

    def _write(self, columns: _Learned, place: int, agent: str, task_type: str) -> None:
        estimate = self.rates.estimate(agent, task_type)
        if estimate is not None:
            columns.weight[place] = estimate.weight
            columns.seconds[place] = estimate.seconds
            columns.successes[place] = estimate.successes
