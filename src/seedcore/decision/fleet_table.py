"""The fleet as decisions see it: the routing table, the learned rates, and the backlog at each agent."""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from seedcore.decision.backlog import Backlog, Team
from seedcore.decision.batch import Assignments
from seedcore.decision.routing_table import RoutingTableAnswer
from seedcore.pricing.agent_routers import Load
from seedcore.pricing.learned_json import TypeMoneyJson, TypeRatesJson
from seedcore.pricing.money_rates import MoneyRates
from seedcore.pricing.potential import Floats
from seedcore.pricing.rates import RateColumns, RateEstimate, RateTable


@dataclass(slots=True)
class Fleet:
    """Routing table, learned rates, and the work queued at each agent."""

    epoch: int = 0
    rates: RateTable = field(default_factory=RateTable)
    money_rates: MoneyRates = field(default_factory=MoneyRates)
    new_agents: set[str] = field(default_factory=set)
    """Agents in the table whose earlier outcomes have not been merged yet; see `merge_earlier`."""
    _known: set[str] = field(default_factory=set)
    _organ_of_skill: dict[str, str] = field(default_factory=dict)
    _timeouts: dict[str, float] = field(default_factory=dict)
    approvals: dict[str, float | None] = field(default_factory=dict)
    """Skills whose tasks a person must release, and how long these wait (seconds; None: as long as others)."""
    workers: Sequence[str] = ()
    """Names of the living workers of the queue `default`."""
    _teams: dict[str, Team] = field(default_factory=dict)
    _organ_of_agent: dict[str, str] = field(default_factory=dict)
    _backlog: Backlog = field(default_factory=Backlog)
    _columns: dict[tuple[str, str], RateColumns] = field(default_factory=dict)

    def update(self, table: RoutingTableAnswer) -> None:
        """Adopt a routing table (see `OrganismClient.fleet`); one that says `unchanged` changes nothing."""
        if "unchanged" in table:
            return
        self.epoch = table["epoch"]
        self._organ_of_skill = dict(table["skills"])
        self._timeouts = dict(table["timeouts"])
        self.approvals = dict(table.get("approvals", {}))
        self.workers = tuple(table.get("workers", ()))
        self._teams = {organ: Team.of(organ, columns) for organ, columns in table["organs"].items()}
        self._columns = {}
        self._organ_of_agent = {agent: organ for organ, team in self._teams.items() for agent in team.ids}
        now = set(self._organ_of_agent)
        self.new_agents = (self.new_agents & now) | (now - self._known)
        self._known = now

    def learn(self, agent: str, task_type: str, count: int, seconds: float, successes: int) -> None:
        """Add outcomes of one agent and type."""
        organ = self._organ_of_agent.get(agent, "")
        self.rates.add(agent, task_type, count, seconds, successes, organ)
        if (columns := self._columns.get((organ, task_type))) is not None:
            columns.write(self._teams[organ].place[agent], agent)

    def replace_rates(
        self, rates: Mapping[str, TypeRatesJson], money: Mapping[str, TypeMoneyJson], *, whole: bool
    ) -> None:
        """Adopt learned rates by task type, in place of what was known of these types; `whole`: of all types."""
        if whole:
            self.rates, self.money_rates = RateTable(), MoneyRates()
        self.rates.replace(rates)
        self.money_rates.replace(money)
        self._columns = {}

    def merge_earlier(self, agents: Iterable[str], learned: Mapping[str, Mapping[str, RateEstimate]]) -> None:
        """Merge what new agents had learned earlier, by agent and type, as their hosts stored it.

        Agents without such rates have none. Each agent's past counts once.
        """
        for agent in self.new_agents.intersection(agents):
            organ = self._organ_of_agent.get(agent, "")
            for task_type, earlier in learned.get(agent, {}).items():
                self.rates.merge_earlier(agent, task_type, earlier, organ)
        self.new_agents.difference_update(agents)
        self._columns = {}

    def report(
        self, dispatcher: str, outstanding: Iterable[tuple[str, str, int]], undecided: Iterable[int] = ()
    ) -> None:
        """Record what a worker waits for now: (agent, type, count), without its questions in `undecided`."""
        self._backlog.report(dispatcher, outstanding, undecided, time.monotonic())

    def renew_reports(self) -> None:
        """What dispatchers reported last still holds."""
        self._backlog.renew(time.monotonic())

    def assign(self, dispatcher: str, question: int, assignments: Assignments) -> None:
        """Record what the answer to a question of a dispatcher of the previous release assigns to agents."""
        self._backlog.assign(dispatcher, question, assignments)

    @property
    def organs(self) -> Collection[str]:
        """Every organ of the routing table."""
        return self._teams.keys()

    def organ_of(self, skill: str) -> str | None:
        """The organ whose agents have `skill`."""
        return self._organ_of_skill.get(skill)

    def organ_of_agent(self, agent: str) -> str | None:
        """The organ of an agent; None for one that is not in the table."""
        return self._organ_of_agent.get(agent)

    def host_of(self, agent: str) -> str | None:
        """The host that an agent lives on; None for an agent that is not in the table."""
        team = self._teams.get(self._organ_of_agent.get(agent, ""))
        return None if team is None else team.hosts[team.host[team.place[agent]]]

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
        return self._backlog.load(team, self._seconds, time.monotonic())

    def means(self, team: Team, types: Sequence[str]) -> tuple[Floats, Floats]:
        """Expected seconds, and expected share of failures, of each of k types at each of n agents; shapes (n, k)."""
        means = [self._rates(team, name).means() for name in types]
        return np.stack([seconds for seconds, _ in means], axis=1), np.stack([1.0 - good for _, good in means], axis=1)

    def money(self, team: Team, types: Sequence[str]) -> Floats | None:
        """Expected money for one task of each of k types at each of n agents, shape (n, k).

        0 for types without a report of money; None where no type has one.
        """
        spent = [self.money_rates.expected(team.place, name) for name in types]
        if all(column is None for column in spent):
            return None
        return np.stack([np.zeros(len(team)) if column is None else column for column in spent], axis=1)

    def _seconds(self, team: Team, task_type: str) -> Floats:
        seconds, _ = self._rates(team, task_type).means()
        return seconds

    def _rates(self, team: Team, task_type: str) -> RateColumns:
        """The team's rates for a type; `learn` keeps them up to date, so that a batch need not look at every agent."""
        known = self._columns.get((team.organ, task_type))
        if known is None:
            known = self._columns[team.organ, task_type] = self.rates.columns(team.place, task_type, team.organ)
        return known
