"""The Coordinator's view of the fleet: who can do what, how much waits there, how fast it goes."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from seedcore.decision.backlog import Decided, Team, Waiting
from seedcore.decision.routing_table import RoutingTableAnswer
from seedcore.pricing.money_rates import Spending
from seedcore.pricing.potential import Floats
from seedcore.pricing.rates import RateColumns, RateEstimate, RateTable
from seedcore.pricing.routers import Load


@dataclass(slots=True)
class Fleet:
    """Routing table, learned rates, and the work queued at each agent (see `waiting`)."""

    epoch: int = 0
    rates: RateTable = field(default_factory=RateTable)
    spending: Spending = field(default_factory=Spending)
    new_agents: set[str] = field(default_factory=set)
    """Agents in the table whose earlier outcomes nobody has told yet; see `remember`."""
    explored: dict[str, float] = field(default_factory=dict)
    """For each organ the share of a task that its scouts are still owed."""
    _known: set[str] = field(default_factory=set)
    _organ_of_skill: dict[str, str] = field(default_factory=dict)
    _timeouts: dict[str, float] = field(default_factory=dict)
    approvals: dict[str, float | None] = field(default_factory=dict)
    """Skills whose tasks a person must release, and how long these wait (seconds; None: as long as others)."""
    _teams: dict[str, Team] = field(default_factory=dict)
    _organ_of_agent: dict[str, str] = field(default_factory=dict)
    _waiting: Waiting = field(default_factory=Waiting)
    _columns: dict[tuple[str, str], RateColumns] = field(default_factory=dict)

    def update(self, table: RoutingTableAnswer) -> None:
        """Adopt a routing table (see `OrganismClient.fleet`); one that says `unchanged` changes nothing."""
        if "unchanged" in table:
            return
        self.epoch = table["epoch"]
        self._organ_of_skill = dict(table["skills"])
        self._timeouts = dict(table["timeouts"])
        self.approvals = dict(table.get("approvals", {}))
        self._teams = {organ: Team.of(organ, columns) for organ, columns in table["organs"].items()}
        self._columns = {}
        self._organ_of_agent = {agent: organ for organ, team in self._teams.items() for agent in team.ids}
        now = set(self._organ_of_agent)
        self.new_agents = (self.new_agents & now) | (now - self._known)
        self._known = now
        self.explored = {organ: owed for organ, owed in self.explored.items() if organ in self._teams}

    def learn(self, agent: str, task_type: str, count: int, seconds: float, successes: int) -> None:
        """Take in outcomes of one agent and type."""
        organ = self._organ_of_agent.get(agent, "")
        self.rates.add(agent, task_type, count, seconds, successes, organ)
        if (columns := self._columns.get((organ, task_type))) is not None:
            columns.write(self._teams[organ].place[agent], agent)

    def remember(self, agents: Iterable[str], learned: Mapping[str, Mapping[str, RateEstimate]]) -> None:
        """Take in what new agents had learned before: as they last told their hosts, by agent and type.

        Those that have none are known not to have any. Each agent's past counts once.
        """
        for agent in self.new_agents.intersection(agents):
            organ = self._organ_of_agent.get(agent, "")
            for task_type, earlier in learned.get(agent, {}).items():
                self.rates.remember(agent, task_type, earlier, organ)
        self.new_agents.difference_update(agents)
        self._columns = {}

    def report(self, asker: str, outstanding: Iterable[tuple[str, str, int]], undecided: Iterable[int] = ()) -> None:
        """What `asker` waits for now: (agent, type, count); without what its questions `undecided` will send."""
        self._waiting.report(asker, outstanding, undecided, time.monotonic())

    def decided(self, asker: str, question: int, sent: Decided) -> None:
        """What the answer to this question of `asker` sends to agents."""
        self._waiting.decided(asker, question, sent)

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

    def load(self, team: Team) -> Load:
        """Tasks, and expected seconds of work, queued at each of the team's agents."""
        return self._waiting.load(team, self._seconds, time.monotonic())

    def means(self, team: Team, types: Sequence[str]) -> tuple[Floats, Floats]:
        """Expected seconds, and expected share of failures, of each of k types at each of n agents; shapes (n, k)."""
        means = [self._rates(team, name).means() for name in types]
        return np.stack([seconds for seconds, _ in means], axis=1), np.stack([1.0 - good for _, good in means], axis=1)

    def money(self, team: Team, types: Sequence[str]) -> Floats | None:
        """Expected money for one task of each of k types at each of n agents, shape (n, k), 0 where nobody has reported
        any; None where nobody has for any of them."""
        spent = [self.spending.expected(team.place, name) for name in types]
        if all(column is None for column in spent):
            return None
        return np.stack([np.zeros(len(team)) if column is None else column for column in spent], axis=1)

    def _seconds(self, team: Team, task_type: str) -> Floats:
        seconds, _ = self._rates(team, task_type).means()
        return seconds

    def _rates(self, team: Team, task_type: str) -> RateColumns:
        """What the team learned about a type; written on by `learn`, so that a batch need not look at every agent."""
        known = self._columns.get((team.organ, task_type))
        if known is None:
            known = self._columns[team.organ, task_type] = self.rates.columns(team.place, task_type, team.organ)
        return known
