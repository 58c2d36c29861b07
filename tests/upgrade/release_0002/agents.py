"""Agents of one host: what they do now and what they have learned."""

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from seedcore.pricing.rates import DEFAULT_SECONDS, RateEstimate


@dataclass(slots=True)
class Agent:
    """A logical worker: tasks in hand by type, counters, and a learned rate for each task type."""

    id: str
    organ: str
    in_hand: dict[str, int] = field(default_factory=dict)
    completed: int = 0
    failed: int = 0
    rates: dict[str, RateEstimate] = field(default_factory=dict)

    @property
    def running(self) -> int:
        """Tasks in hand: running, or waiting for a slot on the host."""
        return sum(self.in_hand.values())

    @property
    def queued_s(self) -> float:
        """Expected seconds of work in hand."""
        known = self.rates
        return sum(n * (known[t].mean_seconds() if t in known else DEFAULT_SECONDS) for t, n in self.in_hand.items())


@dataclass(frozen=True, slots=True)
class AgentRow:
    """An agent as it was at one moment, ready to be written."""

    id: str
    organ: str
    running: int
    queued_s: float
    completed: int
    failed: int
    rates: dict[str, dict[str, float]]


class AgentBook:
    """The agents of one host, and which of them changed since somebody last asked.

    Skills run in one thread and the book is written from another: a lock keeps the two apart.
    """

    def __init__(self, organ: str, agent_ids: Iterable[str]) -> None:
        self.organ = organ
        self.agents = {agent_id: Agent(agent_id, organ) for agent_id in agent_ids}
        self._changed = set(self.agents)
        self._unrestored = set(self.agents)
        self._lock = threading.Lock()

    def unrestored(self) -> list[str]:
        """Agents that do not have back yet what they had learned on an earlier host."""
        with self._lock:
            return sorted(self._unrestored)

    def restore(self, agent_id: str, completed: int, failed: int, rates: dict[str, RateEstimate]) -> None:
        """Give an agent back what it had learned; what it has learned since then comes on top."""
        with self._lock:
            agent = self._get(agent_id)
            agent.completed += completed
            agent.failed += failed
            for task_type, earlier in rates.items():
                agent.rates.setdefault(task_type, RateEstimate()).merge_earlier(earlier)

    def mark_restored(self, agent_ids: Iterable[str]) -> None:
        """These agents have their memory back, or never had one: they may be written from now on."""
        with self._lock:
            self._unrestored.difference_update(agent_ids)

    def accepted(self, agent_id: str, task_type: str) -> None:
        """An agent was given a task."""
        with self._lock:
            agent = self._get(agent_id)
            agent.in_hand[task_type] = agent.in_hand.get(task_type, 0) + 1
            self._changed.add(agent_id)

    def accept(self, tasks: Iterable[tuple[str, str]]) -> None:
        """Agents were given a batch of tasks: (agent, task type) of each."""
        counts = Counter(tasks)
        with self._lock:
            for (agent_id, task_type), count in counts.items():
                agent = self._get(agent_id)
                agent.in_hand[task_type] = agent.in_hand.get(task_type, 0) + count
                self._changed.add(agent_id)

    def left(self, agent_id: str, task_type: str) -> None:
        """An agent has a task in hand no more, whatever became of it."""
        with self._lock:
            self._drop(self._get(agent_id), task_type)

    def learned(self, agent_id: str, task_type: str, seconds: float, *, ok: bool) -> None:
        """An attempt has ended after `seconds`."""
        with self._lock:
            self._learn(self._get(agent_id), task_type, seconds, ok)

    def ended(self, agent_id: str, task_type: str, seconds: float, *, ok: bool) -> None:
        """`left` and `learned` in one."""
        with self._lock:
            agent = self._get(agent_id)
            self._drop(agent, task_type)
            self._learn(agent, task_type, seconds, ok)

    def _drop(self, agent: Agent, task_type: str) -> None:
        left = agent.in_hand[task_type] - 1
        if left:
            agent.in_hand[task_type] = left
        else:
            del agent.in_hand[task_type]
        self._changed.add(agent.id)

    def _learn(self, agent: Agent, task_type: str, seconds: float, ok: bool) -> None:
        agent.completed += ok
        agent.failed += not ok
        rate = agent.rates.get(task_type)
        if rate is None:
            rate = agent.rates[task_type] = RateEstimate()
        rate.add(1, seconds, int(ok))
        self._changed.add(agent.id)

    def take_changed(self) -> list[AgentRow]:
        """The agents that changed since the last call; those without their memory wait until they have it."""
        with self._lock:
            taken = self._changed - self._unrestored
            self._changed -= taken
            return [_row(self.agents[agent_id]) for agent_id in sorted(taken)]

    def mark_changed(self, agent_ids: Iterable[str]) -> None:
        """Put agents back whose change could not be stored."""
        with self._lock:
            self._changed.update(agent_ids)

    def _get(self, agent_id: str) -> Agent:
        # A dispatcher with an older table may name an agent that lives elsewhere now: it is activated here.
        agent = self.agents.get(agent_id)
        if agent is None:
            agent = self.agents[agent_id] = Agent(agent_id, self.organ)
            self._unrestored.add(agent_id)
        return agent


def _row(agent: Agent) -> AgentRow:
    rates = {task_type: asdict(rate) for task_type, rate in agent.rates.items()}
    return AgentRow(agent.id, agent.organ, agent.running, agent.queued_s, agent.completed, agent.failed, rates)
