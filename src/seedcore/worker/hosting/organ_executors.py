"""One skill executor for each organ whose agents live in this process, used as if they were one."""

import asyncio
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from seedcore.errors import NotFoundError
from seedcore.fleet.agent_registry import AgentRegistry
from seedcore.fleet.host_limits import HostLimits
from seedcore.settings import Settings
from seedcore.skills.context import SkillClients, SkillMemory
from seedcore.skills.host_protocol import Call, Completion
from seedcore.skills.registry import SkillRegistry
from seedcore.worker.execution.executor import SkillExecutor, failed
from seedcore.worker.execution.task_pool import Job
from seedcore.worker.hosting.organ_terms import OrganTerms

LOOK_S = 1.0
"""Pause between two looks at whether the calls of a replaced executor have ended."""

NO_TERMS = OrganTerms()


class _OrganExecutor(SkillExecutor):
    """The executor of an organ's calls for as long as its limits do not change."""

    def __init__(self, registry: SkillRegistry, settings: Settings, agents: AgentRegistry, **more: Any) -> None:
        super().__init__(registry, settings, agents, **more)
        self.agents = agents

    def has(self, job: Job) -> bool:
        """Whether `job` is in hand here."""
        return job in self._running.get(job.call.task_id, ())


class OrganExecutors:
    """Runs calls for the agents of many organs, each organ within its own limits, in one event loop.

    The interface is that of one `SkillExecutor`. An organ's executor is made on its first call, in the skills' loop.

    Args:
        registry: the skills.
        settings: limits of time, size and number, where an organ sets none of its own.
        organ_of: the organ that runs a skill, "" when it is not known; then the organ that the skill itself names. It
            must not raise.
        clients: what skills may call.
        memory: makes the private memory of an agent of a registry.
        more: further arguments of every `SkillExecutor`.
    """

    def __init__(
        self,
        registry: SkillRegistry,
        settings: Settings,
        organ_of: Callable[[str], str],
        clients: SkillClients | None = None,
        memory: Callable[[AgentRegistry, str], SkillMemory] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self._registry, self._settings, self._organ_of = registry, settings, organ_of
        self._clients, self._memory, self._more = clients, memory, dict(more or {})
        self._terms: dict[str, OrganTerms] = {}
        self._executors: dict[str, tuple[HostLimits, _OrganExecutor]] = {}
        self._replaced: list[_OrganExecutor] = []
        self._agents: dict[str, AgentRegistry] = {}
        # Agents are asked for by the loops of skills, of reports and of whoever gives calls.
        self._lock = threading.Lock()

    def set_terms(self, organ: str, terms: OrganTerms) -> None:
        """Calls of `organ` have these terms from now on; callable from any thread.

        Those in hand go on under the terms that they came with. Agents, and what they have learned, stay.
        """
        if self._terms.get(organ) == terms:
            return
        self._terms[organ] = terms
        if (agents := self._agents.get(organ)) is not None:
            agents.set_role_weights(terms.roles)

    def agents_of(self, organ: str) -> AgentRegistry:
        """The agents of an organ; callable from any thread."""
        agents = self._agents.get(organ)
        if agents is not None:
            return agents
        with self._lock:
            if organ not in self._agents:
                roles, settings = self._terms.get(organ, NO_TERMS).roles, self._settings
                self._agents[organ] = AgentRegistry(
                    organ, role_weights=roles, capacity=settings.host_agents, idle_s=settings.agent_idle_s
                )
            return self._agents[organ]

    @property
    def registries(self) -> list[AgentRegistry]:
        """The agents of every organ that has had work; callable from any thread."""
        return list(self._agents.values())

    def submit(self, calls: Sequence[Call], done: Callable[[Completion], None]) -> list[Job]:
        """Run `calls` side by side; each ends with one call of `done`."""
        if len(calls) == 1:
            return self._submit(self._organ(calls[0].skill), calls, done)
        organs = {skill: self._organ(skill) for skill in {call.skill for call in calls}}
        if len(set(organs.values())) == 1:
            return self._submit(organs[calls[0].skill], calls, done)
        grouped: defaultdict[str, list[Call]] = defaultdict(list)
        for call in calls:
            grouped[organs[call.skill]].append(call)
        return [job for organ, own in grouped.items() for job in self._submit(organ, own, done)]

    def withdraw(self, jobs: Sequence[Job]) -> None:
        """Cancel those of `jobs` that have not ended: their results are not wanted any more."""
        left = [job for job in jobs if not job.ended]
        for executor in self._all() if left else ():
            executor.withdraw([job for job in left if executor.has(job)])

    def cancel(self, task_ids: Sequence[str]) -> int:
        """Cancel running calls; an async skill sees `asyncio.CancelledError`. Returns how many were running."""
        return sum(executor.cancel(task_ids) for executor in self._all())

    def close(self) -> None:
        """End the idle processes."""
        for executor in self._all():
            executor.close()

    @property
    def running(self) -> int:
        """Calls that have begun or wait for a slot."""
        return sum(executor.running for executor in self._all())

    def status(self) -> dict[str, int]:
        """What `SkillExecutor.status` counts, over all organs."""
        total = Counter(dict.fromkeys(("running", "lost_slots", "lost_threads", "processes"), 0))
        for executor in self._all():
            total.update(executor.status())
        return dict(total)

    @property
    def exhausted(self) -> str | None:
        """Why no skill of some kind of an organ can run any more; None while all can."""
        for executor in self._all():
            if (reason := executor.exhausted) is not None:
                return f"organ {executor.agents.organ}: {reason}"
        return None

    def jobs(self) -> list[Job]:
        """Calls in hand; callable from another thread."""
        return [job for executor in self._all() for job in executor.jobs()]

    def jobs_by_agents(self) -> list[tuple[AgentRegistry, Job]]:
        """Calls in hand, each with the agents that its own is one of; callable from another thread."""
        return [(executor.agents, job) for executor in self._all() for job in executor.jobs()]

    def _all(self) -> list[_OrganExecutor]:
        return [executor for _, executor in list(self._executors.values())] + self._replaced

    def _organ(self, skill: str) -> str:
        organ = self._organ_of(skill)
        if organ or (spec := self._registry.get(skill)) is None:
            return organ
        return spec.organ

    def _submit(self, organ: str, calls: Sequence[Call], done: Callable[[Completion], None]) -> list[Job]:
        if organ:
            return self._executor(organ).submit(calls, done)
        # No agent learns from it: whose skill it would be is unknown.
        for call in calls:
            done(self._unknown(call))
        return []

    def _unknown(self, call: Call) -> Completion:
        try:
            self._registry.find(call.skill)
        except NotFoundError as error:
            return failed(call, 0.0, error.code, str(error), retryable=error.transient)
        raise AssertionError("a skill that is registered names its organ")

    def _executor(self, organ: str) -> _OrganExecutor:
        limits = self._terms.get(organ, NO_TERMS).limits
        known, executor = self._executors.get(organ, (None, None))
        if executor is not None and known is limits:
            return executor
        if executor is not None and known != limits:
            self._replaced.append(executor)
            asyncio.get_running_loop().call_later(LOOK_S, self._drop_ended)
            executor = None
        if executor is None:
            agents = self.agents_of(organ)
            memory = None if self._memory is None else partial(self._memory, agents)
            more = {"clients": self._clients, "memory": memory, **self._more}
            executor = _OrganExecutor(self._registry, limits.override(self._settings), agents, **more)
        self._executors[organ] = limits, executor
        return executor

    def _drop_ended(self) -> None:
        """Close replaced executors whose calls have ended, and look again while there are others."""
        for executor in [executor for executor in self._replaced if not executor.running]:
            self._replaced.remove(executor)
            executor.close()
        if self._replaced:
            asyncio.get_running_loop().call_later(LOOK_S, self._drop_ended)
