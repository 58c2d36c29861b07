"""The agents of one host: activated on first use, put to sleep when idle; what they do now and what they learn."""

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import asdict

from seedcore.fleet import agent_roles
from seedcore.fleet.agent_lifecycle import Stage, SuccessRecord, next_stage
from seedcore.fleet.agent_record import ActiveAgent, AgentRow, LearnedState
from seedcore.pricing.rates import RateEstimate

SLEEP_BATCH = 1000
"""Agents that are checked for idleness under one hold of the lock."""


class AgentRegistry:
    """The active agents of one host, and which of them changed since they were last written.

    Any agent of the organ that a call names is activated. It works at once; what it had learned earlier is loaded
    later (`unrestored`, `restore`) and merged as older than what it learned since. Skills run in one thread and
    reports in another: a lock keeps the two apart.

    Args:
        organ: the organ that the agents belong to.
        agent_ids: agents that are active from the start.
        role_weights: weights of the roles that the organ declares.
        capacity: agents to keep in memory; above it, idle ones are put to sleep at once.
        idle_s: seconds without work after which an agent is put to sleep.
    """

    def __init__(
        self,
        organ: str,
        agent_ids: Iterable[str] = (),
        *,
        role_weights: Mapping[str, float] | None = None,
        capacity: int = 20_000,
        idle_s: float = 300.0,
    ) -> None:
        self.organ = organ
        # In order of use: those at the front have been idle for longest.
        self.agents: OrderedDict[str, ActiveAgent] = OrderedDict()
        self.slept = 0
        self._role_prior = agent_roles.normalised(role_weights or {})
        self._capacity, self._idle_s = capacity, idle_s
        self._type_rates: dict[str, RateEstimate] = {}
        self._changed: set[str] = set()
        self._unrestored: set[str] = set()
        self._lock = threading.Lock()
        self.activate(agent_ids)
        self._changed.update(self.agents)

    def activate(self, agent_ids: Iterable[str]) -> None:
        """Activate agents that are not active yet."""
        now = time.monotonic()
        with self._lock:
            for agent_id in agent_ids:
                self._use(agent_id, now)

    def unrestored(self, limit: int | None = None) -> list[str]:
        """At most `limit` agents whose earlier learning has not been loaded yet."""
        with self._lock:
            return sorted(self._unrestored)[:limit]

    def restore(self, agent_id: str, earlier: LearnedState) -> None:
        """Merge what an agent had learned earlier; what it has learned since then comes on top."""
        with self._lock:
            agent = self._get(agent_id)
            agent.merge_earlier(earlier, keep_stage=agent.re_employed)

    def mark_restored(self, agent_ids: Iterable[str]) -> None:
        """These agents have been restored, or had nothing stored: they may be written from now on."""
        with self._lock:
            self._unrestored.difference_update(agent_ids)

    def set_role_weights(self, weights: Mapping[str, float]) -> None:
        """The organ declares these roles from now on; what agents have learned stays."""
        with self._lock:
            self._role_prior = agent_roles.normalised(weights)

    def sleep(self, now: float | None = None, *, capacity: int | None = None) -> int:
        """Put agents to sleep that are idle for too long or too many; returns how many.

        None of them has work in hand or anything unwritten: nothing is lost.

        Args:
            now: the time, on `time.monotonic()`.
            capacity: agents to keep in memory this time, in place of the usual number.
        """
        now = time.monotonic() if now is None else now
        capacity = self._capacity if capacity is None else capacity
        slept = 0
        while True:
            with self._lock:
                idle, more = self._next_idle(now, capacity)
                for agent_id in idle:
                    del self.agents[agent_id]
                slept += len(idle)
                self.slept += len(idle)
            if not more:
                return slept

    def _next_idle(self, now: float, capacity: int) -> tuple[list[str], bool]:
        """Some agents that may sleep, and whether to look again. The busy ones move to the back of the order."""
        idle: list[str] = []
        busy: list[str] = []
        checked = 0
        excess = len(self.agents) - capacity
        for agent_id, agent in self.agents.items():
            if checked >= SLEEP_BATCH or (agent.last_used + self._idle_s > now and len(idle) >= excess):
                break
            checked += 1
            if agent.in_hand or agent_id in self._changed or agent_id in self._unrestored:
                busy.append(agent_id)
            else:
                idle.append(agent_id)
        for agent_id in busy:
            # In use, or not written yet: the next calls look at others first.
            self.agents[agent_id].last_used = now
            self.agents.move_to_end(agent_id)
        return idle, checked >= SLEEP_BATCH and len(idle) > 0

    def re_employ(self, agent_ids: Iterable[str]) -> None:
        """Re-employ agents: each becomes a scout with a clean record, whatever it had done."""
        now = time.monotonic()
        with self._lock:
            for agent_id in agent_ids:
                agent = self._use(agent_id, now)
                agent.stage, agent.record, agent.re_employed = Stage.SCOUT, None, True
                self._changed.add(agent_id)

    def set_memory_scope(self, agent_id: str, scope: str) -> None:
        """Record that an agent has stored something under `scope`."""
        with self._lock:
            agent = self._get(agent_id)
            if agent.memory != scope:
                agent.memory = scope
                self._changed.add(agent_id)

    def accept(self, tasks: Iterable[tuple[str, str]]) -> None:
        """Count a batch of tasks as in hand: (agent, task type) of each."""
        counts = Counter(tasks)
        now = time.monotonic()
        with self._lock:
            for (agent_id, task_type), count in counts.items():
                agent = self._use(agent_id, now)
                agent.in_hand[task_type] = agent.in_hand.get(task_type, 0) + count
                self._changed.add(agent_id)

    def accept_one(self, agent_id: str, task_type: str) -> None:
        """Count one task as in hand."""
        self.accept([(agent_id, task_type)])

    def release(self, agent_id: str, task_type: str) -> None:
        """Count one task of an agent as no longer in hand, whatever its outcome."""
        with self._lock:
            self._release(self._get(agent_id), task_type)

    def record_outcome(
        self, agent_id: str, task_type: str, seconds: float, *, ok: bool, role: str | None = None
    ) -> None:
        """Learn from an attempt that took `seconds`; `role` is the skill's."""
        with self._lock:
            self._record_outcome(self._get(agent_id), task_type, seconds, ok, role)

    def finish(self, agent_id: str, task_type: str, seconds: float, *, ok: bool, role: str | None = None) -> None:
        """`release` and `record_outcome` in one."""
        with self._lock:
            agent = self._get(agent_id)
            self._release(agent, task_type)
            self._record_outcome(agent, task_type, seconds, ok, role)

    def _release(self, agent: ActiveAgent, task_type: str) -> None:
        # A host that ends itself releases everything; what ends in its last moments is released again.
        remaining = agent.in_hand.get(task_type, 0) - 1
        if remaining > 0:
            agent.in_hand[task_type] = remaining
        else:
            agent.in_hand.pop(task_type, None)
        self._changed.add(agent.id)

    def _record_outcome(self, agent: ActiveAgent, task_type: str, seconds: float, ok: bool, role: str | None) -> None:
        agent.completed += ok
        agent.failed += not ok
        rate = agent.rates.get(task_type)
        if rate is None:
            rate = agent.rates[task_type] = RateEstimate()
        rate.add(1, seconds, int(ok))
        peers = self._type_rates.get(task_type)
        if peers is None:
            peers = self._type_rates[task_type] = RateEstimate()
        if agent.record is None:
            agent.record = SuccessRecord()
        agent.record.add(ok=ok, peers=peers.success())
        peers.add(1, seconds, int(ok))
        if ok and role is not None and role in self._role_prior:
            if agent.roles is None:
                agent.roles = {}
            agent_roles.count(agent.roles, role)
        self._changed.add(agent.id)

    def take_changed(self, limit: int | None = None) -> list[AgentRow]:
        """At most `limit` agents that changed since the last call; agents that are not restored wait until they are."""
        with self._lock:
            taken = sorted(self._changed - self._unrestored)[:limit]
            self._changed.difference_update(taken)
            return [self._row(self.agents[agent_id]) for agent_id in taken]

    def mark_changed(self, agent_ids: Iterable[str]) -> None:
        """Put back agents whose change could not be written."""
        with self._lock:
            self._changed.update(agent_id for agent_id in agent_ids if agent_id in self.agents)

    def _row(self, agent: ActiveAgent) -> AgentRow:
        # Once a report, not once an outcome: it costs more than a small skill.
        if agent.record is not None:
            agent.stage = next_stage(agent.stage, agent.record)
        return AgentRow(
            agent.id,
            self.organ,
            agent.running,
            agent.queued_s,
            agent.completed,
            agent.failed,
            {task_type: _sums(rate) for task_type, rate in agent.rates.items()},
            agent.stage.value,
            None if agent.record is None else asdict(agent.record),
            agent_roles.probabilities(self._role_prior, agent.roles or {}) if self._role_prior else None,
            dict(agent.roles) if agent.roles else None,
            agent.memory,
        )

    def _use(self, agent_id: str, now: float) -> ActiveAgent:
        agent = self._get(agent_id)
        agent.last_used = now
        self.agents.move_to_end(agent_id)
        return agent

    def _get(self, agent_id: str) -> ActiveAgent:
        agent = self.agents.get(agent_id)
        if agent is None:
            agent = self.agents[agent_id] = ActiveAgent(id=agent_id)
            self._unrestored.add(agent_id)
        return agent


def _sums(rate: RateEstimate) -> dict[str, float]:
    # As `dataclasses.asdict`, without its cost: a report holds thousands of these.
    return {"weight": rate.weight, "seconds": rate.seconds, "successes": rate.successes}
