"""Agents of one host: activated on first use, put to sleep when idle; what they do now and what they have learned."""

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

from seedcore.fleet import agent_roles
from seedcore.fleet.agent_lifecycle import Stage, Standing, next_stage
from seedcore.pricing.rates import DEFAULT_SECONDS, RateEstimate

SWEEP = 1000
"""Agents that are looked at in one go when idle ones are put to sleep: the lock is let go in between."""


@dataclass(slots=True)
class Learned:
    """What an agent has learned: this outlives its host.

    Attributes:
        completed: attempts that ended well, since ever.
        failed: the others.
        rates: speed and success for each task type.
        stage: its place in the life cycle.
        standing: what the stage was derived from; None before the first outcome.
        roles: faded successes by role.
        memory: scope of its private memory; None when it never stored anything.
    """

    completed: int = 0
    failed: int = 0
    rates: dict[str, RateEstimate] = field(default_factory=dict)
    stage: Stage = Stage.SCOUT
    standing: Standing | None = None
    roles: dict[str, float] | None = None
    memory: str | None = None

    def put_before(self, earlier: "Learned", *, record: bool = True) -> None:
        """Take in `earlier`, as what was learned before all of this; `record=False`: its stage does not count."""
        self.completed += earlier.completed
        self.failed += earlier.failed
        self.memory = self.memory or earlier.memory
        for task_type, rate in earlier.rates.items():
            self.rates.setdefault(task_type, RateEstimate()).merge_earlier(rate)
        if earlier.roles:
            self.roles = self.roles or {}
            agent_roles.put_before(self.roles, earlier.roles)
        if record:
            self.stage = earlier.stage
            if earlier.standing is not None:
                self.standing = self.standing or Standing()
                self.standing.put_before(earlier.standing)


@dataclass(slots=True)
class Agent(Learned):
    """An active agent: what it has learned, and its tasks in hand by type."""

    id: str = ""
    in_hand: dict[str, int] = field(default_factory=dict)
    used: float = 0.0
    pardoned: bool = False

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
    """An agent as it was at one moment, ready to be written; JSON types."""

    id: str
    organ: str
    running: int
    queued_s: float
    completed: int
    failed: int
    rates: dict[str, dict[str, float]]
    lifecycle: str
    standing: dict[str, float] | None
    roles: dict[str, float] | None
    role_counts: dict[str, float] | None
    memory: str | None


class AgentBook:
    """The active agents of one host, and which of them changed since somebody last asked.

    Any agent of the organ that a call names is activated: it works at once, and what it had learned earlier comes
    later (`unrestored`, `restore`) and is put before what it learned since. Skills run in one thread and the book is
    written from another: a lock keeps the two apart.

    Args:
        organ: the organ that the agents belong to.
        agent_ids: agents that are active from the start.
        role_weights: weights of the roles that the organ declares.
        most: agents to keep in memory; over it idle ones are put to sleep at once.
        idle_s: seconds without work after which an agent is put to sleep.
    """

    def __init__(
        self,
        organ: str,
        agent_ids: Iterable[str] = (),
        *,
        role_weights: Mapping[str, float] | None = None,
        most: int = 20_000,
        idle_s: float = 300.0,
    ) -> None:
        self.organ = organ
        # In order of use: those at the front were idle for longest.
        self.agents: OrderedDict[str, Agent] = OrderedDict()
        self.slept = 0
        self._prior = agent_roles.normalised(role_weights or {})
        self._most, self._idle_s = most, idle_s
        self._types: dict[str, RateEstimate] = {}
        self._changed: set[str] = set()
        self._unrestored: set[str] = set()
        self._lock = threading.Lock()
        self.activate(agent_ids)
        self._changed.update(self.agents)

    # -- activation and sleep ------------------------------------------------------------------------------

    def activate(self, agent_ids: Iterable[str]) -> None:
        """Make agents active that are not."""
        now = time.monotonic()
        with self._lock:
            for agent_id in agent_ids:
                self._touch(agent_id, now)

    def unrestored(self, most: int | None = None) -> list[str]:
        """Agents, `most` at most, that do not have back yet what they had learned."""
        with self._lock:
            return sorted(self._unrestored)[:most]

    def restore(self, agent_id: str, earlier: Learned) -> None:
        """Give an agent back what it had learned; what it has learned since then comes on top."""
        with self._lock:
            agent = self._get(agent_id)
            agent.put_before(earlier, record=not agent.pardoned)

    def mark_restored(self, agent_ids: Iterable[str]) -> None:
        """These agents have their memory back, or never had one: they may be written from now on."""
        with self._lock:
            self._unrestored.difference_update(agent_ids)

    def sleep(self, now: float | None = None) -> int:
        """Put agents to sleep that are idle for too long or too many; returns how many.

        None of them has work in hand or anything that is not written yet: nothing is lost.
        """
        now = time.monotonic() if now is None else now
        slept = 0
        while True:
            with self._lock:
                found, more = self._sleepers(now)
                for agent_id in found:
                    del self.agents[agent_id]
                slept += len(found)
                self.slept += len(found)
            if not more:
                return slept

    def _sleepers(self, now: float) -> tuple[list[str], bool]:
        """Some that may sleep, and whether to look again. The busy ones go to the back of the order."""
        found: list[str] = []
        busy: list[str] = []
        looked = 0
        excess = len(self.agents) - self._most
        for agent_id, agent in self.agents.items():
            if looked >= SWEEP or (agent.used + self._idle_s > now and len(found) >= excess):
                break
            looked += 1
            if agent.in_hand or agent_id in self._changed or agent_id in self._unrestored:
                busy.append(agent_id)
            else:
                found.append(agent_id)
        for agent_id in busy:
            # It is in use, or not written yet: the next rounds look at others first.
            self.agents[agent_id].used = now
            self.agents.move_to_end(agent_id)
        return found, looked >= SWEEP and len(found) > 0

    def pardon(self, agent_ids: Iterable[str]) -> None:
        """Re-employ agents: each is a scout with a clean record, whatever it had done."""
        now = time.monotonic()
        with self._lock:
            for agent_id in agent_ids:
                agent = self._touch(agent_id, now)
                agent.stage, agent.standing, agent.pardoned = Stage.SCOUT, None, True
                self._changed.add(agent_id)

    def has_memory(self, agent_id: str, scope: str) -> None:
        """An agent has stored something under `scope`."""
        with self._lock:
            agent = self._get(agent_id)
            if agent.memory != scope:
                agent.memory = scope
                self._changed.add(agent_id)

    # -- work ----------------------------------------------------------------------------------------------

    def accept(self, tasks: Iterable[tuple[str, str]]) -> None:
        """Agents were given a batch of tasks: (agent, task type) of each."""
        counts = Counter(tasks)
        now = time.monotonic()
        with self._lock:
            for (agent_id, task_type), count in counts.items():
                agent = self._touch(agent_id, now)
                agent.in_hand[task_type] = agent.in_hand.get(task_type, 0) + count
                self._changed.add(agent_id)

    def accepted(self, agent_id: str, task_type: str) -> None:
        """An agent was given a task."""
        self.accept([(agent_id, task_type)])

    def left(self, agent_id: str, task_type: str) -> None:
        """An agent has a task in hand no more, whatever became of it."""
        with self._lock:
            self._drop(self._get(agent_id), task_type)

    def learned(self, agent_id: str, task_type: str, seconds: float, *, ok: bool, role: str | None = None) -> None:
        """An attempt has ended after `seconds`; `role` is the skill's."""
        with self._lock:
            self._learn(self._get(agent_id), task_type, seconds, ok, role)

    def ended(self, agent_id: str, task_type: str, seconds: float, *, ok: bool, role: str | None = None) -> None:
        """`left` and `learned` in one."""
        with self._lock:
            agent = self._get(agent_id)
            self._drop(agent, task_type)
            self._learn(agent, task_type, seconds, ok, role)

    def _drop(self, agent: Agent, task_type: str) -> None:
        left = agent.in_hand[task_type] - 1
        if left:
            agent.in_hand[task_type] = left
        else:
            del agent.in_hand[task_type]
        self._changed.add(agent.id)

    def _learn(self, agent: Agent, task_type: str, seconds: float, ok: bool, role: str | None) -> None:
        agent.completed += ok
        agent.failed += not ok
        rate = agent.rates.get(task_type)
        if rate is None:
            rate = agent.rates[task_type] = RateEstimate()
        rate.add(1, seconds, int(ok))
        peers = self._types.get(task_type)
        if peers is None:
            peers = self._types[task_type] = RateEstimate()
        if agent.standing is None:
            agent.standing = Standing()
        agent.standing.add(ok=ok, peers=peers.success())
        peers.add(1, seconds, int(ok))
        if ok and role is not None and role in self._prior:
            if agent.roles is None:
                agent.roles = {}
            agent_roles.count(agent.roles, role)
        self._changed.add(agent.id)

    # -- writing -------------------------------------------------------------------------------------------

    def take_changed(self, most: int | None = None) -> list[AgentRow]:
        """Agents, `most` at most, that changed since the last call; those without their memory wait for it."""
        with self._lock:
            taken = sorted(self._changed - self._unrestored)[:most]
            self._changed.difference_update(taken)
            return [self._row(self.agents[agent_id]) for agent_id in taken]

    def mark_changed(self, agent_ids: Iterable[str]) -> None:
        """Put agents back whose change could not be stored."""
        with self._lock:
            self._changed.update(agent_id for agent_id in agent_ids if agent_id in self.agents)

    def _row(self, agent: Agent) -> AgentRow:
        # Once a report, not once an outcome: it is dearer than a small skill.
        if agent.standing is not None:
            agent.stage = next_stage(agent.stage, agent.standing)
        return AgentRow(
            agent.id,
            self.organ,
            agent.running,
            agent.queued_s,
            agent.completed,
            agent.failed,
            {task_type: _sums(rate) for task_type, rate in agent.rates.items()},
            agent.stage.value,
            None if agent.standing is None else asdict(agent.standing),
            agent_roles.probabilities(self._prior, agent.roles or {}) if self._prior else None,
            dict(agent.roles) if agent.roles else None,
            agent.memory,
        )

    def _touch(self, agent_id: str, now: float) -> Agent:
        agent = self._get(agent_id)
        agent.used = now
        self.agents.move_to_end(agent_id)
        return agent

    def _get(self, agent_id: str) -> Agent:
        agent = self.agents.get(agent_id)
        if agent is None:
            agent = self.agents[agent_id] = Agent(id=agent_id)
            self._unrestored.add(agent_id)
        return agent


def _sums(rate: RateEstimate) -> dict[str, float]:
    # As `dataclasses.asdict`, without its price: a report holds thousands of these.
    return {"weight": rate.weight, "seconds": rate.seconds, "successes": rate.successes}
