"""The backlog at the agents: what each worker last reported, and what was assigned since.

A report has all that a worker waits for, not changes: the next one repairs a lost one. A worker reports its own before
each decision. The Coordinator also decides for dispatchers of the previous release: such a decision counts until the
dispatcher's next report, which includes it, except for the questions that this report lists as undecided, whose answers
had not arrived yet. So a batch does not see an idle agent where the previous batch has just been sent.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from seedcore.decision.batch import Assignments
from seedcore.decision.routing_table import OrganColumns
from seedcore.pricing.agent_routers import Load
from seedcore.pricing.potential import Floats, Places

REPORT_TTL_S = 10.0
"""A worker that has not been heard of for this long no longer waits for anything."""


@dataclass(frozen=True, slots=True)
class Team:
    """The living agents of one organ by column, in a fixed order.

    Attributes:
        organ: the organ.
        ids: their ids.
        hosts: names of the organ's hosts.
        host: for each agent the index of its host in `hosts`.
        nodes: for each host the node that it runs on; None: unknown.
        employed: rows of the agents that have proved themselves, or whose lifecycle is unknown.
        scouts: rows of those that have yet to prove themselves.
        archived: rows of those that failed too often.
        place: the row of each id.
    """

    organ: str
    ids: Sequence[str]
    hosts: Sequence[str]
    host: Sequence[int]
    nodes: Sequence[str | None]
    employed: Places
    scouts: Places
    archived: Places
    place: dict[str, int]
    _elsewhere: dict[str, Floats] = field(default_factory=dict)

    @classmethod
    def of(cls, organ: str, columns: OrganColumns) -> "Team":
        """The team in an organ's part of the routing table."""
        ids = list(columns["agents"])
        scouts = np.array(columns["scouts"], dtype=np.int64)
        archived = np.array(columns["archived"], dtype=np.int64)
        employed = np.ones(len(ids), dtype=bool)
        employed[scouts] = employed[archived] = False
        place = {agent: n for n, agent in enumerate(ids)}
        # An Organism of the previous release sends no nodes.
        nodes = columns.get("nodes") or [None] * len(columns["hosts"])
        return cls(
            organ, ids, columns["hosts"], columns["host"], nodes, np.flatnonzero(employed), scouts, archived, place
        )

    def __len__(self) -> int:
        return len(self.ids)

    def elsewhere(self, host: str) -> Floats:
        """1 for each agent that lives on another host than `host`, else 0; shape (n,)."""
        known = self._elsewhere.get(host)
        if known is None:
            names = np.array([other != host for other in self.hosts], dtype=np.float64)
            known = self._elsewhere[host] = names[np.array(self.host, dtype=np.int64)]
        return known

    def away(self, place: str) -> Places:
        """1 for each agent that is not at `place` (an agent, a host or a node), 0 for those that are; shape (n,)."""
        here = np.array([place in (host, node) for host, node in zip(self.hosts, self.nodes, strict=True)])
        found: Places = 1 - here[np.array(self.host)].astype(np.int64)
        if (row := self.place.get(place)) is not None:
            found[row] = 0
        return found


@dataclass(slots=True)
class _Report:
    """A worker's report; `rows` caches rows and counts by type, for each organ and the team that they belong to."""

    at: float
    outstanding: Sequence[tuple[str, str, int]]
    rows: dict[str, tuple[Team, dict[str, tuple[Places, Floats]]]] = field(default_factory=dict)

    def of(self, team: Team) -> dict[str, tuple[Places, Floats]]:
        """Rows and counts by type, only of the team's agents."""
        known = self.rows.get(team.organ)
        if known is not None and known[0] is team:
            return known[1]
        lists: dict[str, tuple[list[int], list[int]]] = {}
        for agent, task_type, count in self.outstanding:
            row = team.place.get(agent)
            if row is not None:
                rows, counts = lists.setdefault(task_type, ([], []))
                rows.append(row)
                counts.append(count)
        found = {t: (np.array(r), np.array(c, dtype=np.float64)) for t, (r, c) in lists.items()}
        self.rows[team.organ] = (team, found)
        return found


SecondsOf = Callable[[Team, str], Floats]
"""Expected seconds of a type at each of a team's n agents, shape (n,)."""


class Backlog:
    """Reports by worker, and assignments by dispatcher of the previous release."""

    def __init__(self) -> None:
        self._reports: dict[str, _Report] = {}
        self._assigned: dict[str, dict[int, Assignments]] = {}

    def report(
        self, dispatcher: str, outstanding: Iterable[tuple[str, str, int]], undecided: Iterable[int], now: float
    ) -> None:
        """Record what a worker waits for now: (agent, type, count), without the questions in `undecided`."""
        self._reports[dispatcher] = _Report(now, list(outstanding))
        known = self._assigned.get(dispatcher)
        if known:
            self._assigned[dispatcher] = {question: known[question] for question in undecided if question in known}

    def renew(self, now: float) -> None:
        """What was reported still holds: only changes are published."""
        for report in self._reports.values():
            report.at = max(report.at, now)

    def assign(self, dispatcher: str, question: int, assignments: Assignments) -> None:
        """Record what the answer to this question assigns to agents."""
        self._assigned.setdefault(dispatcher, {})[question] = assignments

    def load(self, team: Team, seconds_of: SecondsOf, now: float) -> Load:
        """The backlog of each of a team's n agents."""
        for expired in [name for name, report in self._reports.items() if report.at < now - REPORT_TTL_S]:
            del self._reports[expired]
            self._assigned.pop(expired, None)
        n, by_type = len(team), dict[str, Floats]()
        for report in self._reports.values():
            for task_type, (rows, counts) in report.of(team).items():
                counted = np.bincount(rows, counts, n).astype(np.float64)
                by_type[task_type] = by_type[task_type] + counted if task_type in by_type else counted
        load = Load(np.zeros(n), np.zeros(n))
        for task_type, counted in by_type.items():
            load.tasks[:] += counted
            load.queued_s[:] += counted * seconds_of(team, task_type)
        self._add_assigned(team, load)
        return load

    def _add_assigned(self, team: Team, load: Load) -> None:
        place = team.place
        for questions in self._assigned.values():
            for assigned in questions.values():
                for agent, tasks, seconds in zip(assigned.agents, assigned.tasks, assigned.seconds, strict=True):
                    if (row := place.get(agent)) is not None:
                        load.tasks[row] += tasks
                        load.queued_s[row] += seconds
