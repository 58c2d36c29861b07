"""An agent host: one Ray actor, and so one process, that runs the skills of many agents."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial

import ray

from seedcore import __version__
from seedcore.fleet.agent_memory import AgentMemory
from seedcore.fleet.agent_registry import AgentRegistry
from seedcore.fleet.agent_repository import REPORT_INTERVAL_S, AgentRepository, pause_after
from seedcore.fleet.host_limits import HostLimits
from seedcore.fleet.host_repository import HostRepository
from seedcore.service_clients.skill_clients import SkillServiceClients
from seedcore.settings import get_settings
from seedcore.skills.context import SkillClients
from seedcore.skills.host_protocol import Call, Columns, Completion, calls_of, to_columns
from seedcore.skills.registry import SkillRegistry
from seedcore.stores.postgres import Database
from seedcore.telemetry.logs import configure_logs, get_logger
from seedcore.utils import gc_tuning
from seedcore.utils.background_loop import BackgroundLoop
from seedcore.utils.ray_utils import refuse_embedded_on_many_nodes
from seedcore.utils.warming import Warming
from seedcore.worker.execution.executor import SkillExecutor
from seedcore.worker.execution.loop_bridge import LoopBridge
from seedcore.worker.execution.watchdog import BlockedLoop, Watchdog

STATUS_EVERY_S = 5.0
"""The host's row is written at least this often, and whenever its content changes."""

SHUTDOWN_S = 5.0
"""Longest time that a host which ends itself takes to save what its agents learned, and to return its calls."""

EXIT_REPLACED = 70


class AgentHost:
    """Runs skills for the agents of an organ, and reports what they do to PostgreSQL in batches.

    It has three event loops, each in a thread: Ray's, which receives calls and which no skill can block; the skills'
    own; and one for reports, which also watches the skills' loop. A host whose skills can run no more ends itself,
    after it has saved what its agents learned and has returned its calls, and Ray starts it again.

    Args:
        name: the actor's name.
        organ: the organ that its agents belong to.
        limits: the organ's own `HostLimits`; None: the settings hold.
        roles: weight of each role that the organ declares; None: it declares none.
    """

    def __init__(
        self,
        name: str,
        organ: str,
        limits: Mapping[str, object] | None = None,
        roles: Mapping[str, float] | None = None,
    ) -> None:
        settings = HostLimits.model_validate(limits or {}).override(get_settings())
        configure_logs(settings)
        refuse_embedded_on_many_nodes(settings)
        self._log = get_logger("seedcore.worker.host", host=name, organ=organ)
        self.name = name
        self._agents = AgentRegistry(
            organ, role_weights=roles, capacity=settings.host_agents, idle_s=settings.agent_idle_s
        )
        registry = SkillRegistry.load(settings)
        # A pool belongs to one loop: this one serves skills that use their agent's memory.
        self._memories = Database(settings, size=1, name="seedcore-memory")
        clients = SkillServiceClients(settings)
        self._bridge = LoopBridge(lambda: SkillExecutor(registry, settings, self._agents, clients, self._memory))
        self._warming = Warming(warm_ups(registry, organ, clients))
        database = Database(settings, size=1, name="seedcore-host")
        self._store = AgentRepository(database)
        self._hosts = HostRepository(database, name, organ)
        self._reader: asyncio.AbstractEventLoop | None = None
        self._background = BackgroundLoop("report")
        skills = self._bridge.background
        self._watchdog = Watchdog(
            skills.loop, skills.thread, settings.host_blocked_s, self._bridge.executor.jobs, self._blocked
        )
        self._background.start(self._watchdog.watch())
        self._background.start(self._report())
        skills.start(self._warming.run())
        gc_tuning.settle()

    async def run(self, calls: Columns) -> AsyncIterator[Columns]:
        """Run calls side by side; yields completions as they happen."""
        self._reader = asyncio.get_running_loop()
        async for chunk in self._bridge.run(calls_of(calls)):
            yield to_columns(chunk)

    async def execute(self, call: Call) -> Completion:
        """Run one call."""
        self._reader = asyncio.get_running_loop()
        (completion,) = [done async for chunk in self._bridge.run([call]) for done in chunk]
        return completion

    async def cancel(self, task_ids: list[str]) -> int:
        """Cancel running calls; returns how many were running."""
        return await self._bridge.cancel(task_ids)

    async def employ(self, agent_ids: list[str]) -> None:
        """Re-employ agents: each is a scout with a clean record, whatever it did before."""
        self._agents.re_employ(agent_ids)

    async def save(self) -> int:
        """Write what agents have learned now; returns how many were written."""
        return await asyncio.wrap_future(self._background.start(self._store.save(self.name, self._agents)))

    async def status(self) -> dict[str, object]:
        """Which host this is, and what it does.

        Returns:
            `{host, organ, node, version, agents, slept, running, lost_slots, lost_threads, processes, blocked_s?,
            closed?, last_end?, cold?}`: `node` is Ray's, `agents` are active, `slept` were put to sleep, `blocked_s` is
            for how long the skills' loop has given no answer, `closed` why no calls are taken, `last_end` why the
            process before this one ended itself (`{reason, task_id?, agent?, skill?, stack?, at}`), `cold` the skills
            whose `warm_up` has not worked yet, with the reason.
        """
        node = ray.get_runtime_context().get_node_id()
        return {"host": self.name, "organ": self._agents.organ, "node": node, "version": __version__, **self._status()}

    async def drain(self, grace_s: float) -> dict[str, object]:
        """Take no more calls, wait `grace_s` seconds for those that run, return the others, and save.

        Nothing of it counts as an attempt. The host does not end by itself.
        """
        reason = f"host {self.name} is being drained"
        self._bridge.stop_taking(reason)
        deadline = time.monotonic() + grace_s
        while self._bridge.open_streams and time.monotonic() < deadline:  # noqa: ASYNC110 - a moment more does not matter
            await asyncio.sleep(0.05)
        left = self._bridge.executor.running
        self._bridge.close(reason)
        # What is cancelled ends in another thread.
        while self._bridge.executor.running and time.monotonic() < deadline + SHUTDOWN_S:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        await self.save()
        return {"handed_back": left, **await self.status()}

    def _status(self) -> dict[str, object]:
        status: dict[str, object] = {"agents": len(self._agents.agents), "slept": self._agents.slept}
        status |= self._bridge.executor.status()
        if self._watchdog.silent_s:
            status["blocked_s"] = self._watchdog.silent_s
        if self._bridge.closed is not None:
            status["closed"] = self._bridge.closed
        if self._hosts.last_end is not None:
            status["last_end"] = self._hosts.last_end
        if self._warming.cold:
            status["cold"] = dict(self._warming.cold)
        return status

    def _memory(self, agent_id: str) -> AgentMemory:
        return AgentMemory(self._memories, self._agents, agent_id)

    async def _report(self) -> None:
        begun, written, at = False, None, 0.0
        while True:
            pause_s, began = REPORT_INTERVAL_S, time.monotonic()
            try:
                if not begun:
                    await self._hosts.begin()
                    begun = True
                await self._store.save(self.name, self._agents)
                self._agents.sleep()
                status = self._status()
                if status != written or began - at > STATUS_EVERY_S:
                    await self._hosts.save_status(status)
                    written, at = status, began
                pause_s = pause_after(time.monotonic() - began)
            except Exception as error:  # noqa: BLE001 - reports must go on whatever the database says; it is logged
                self._log.warning("host report failed, trying again", reason=f"{type(error).__name__}: {error}")
            reason = self._bridge.executor.exhausted
            if reason is not None and self._bridge.closed is None:
                await self._end({"reason": reason}, [], "")
            await asyncio.sleep(pause_s)

    async def _blocked(self, seen: BlockedLoop) -> None:
        """A skill blocks the loop: record which one, save, return the other calls and end."""
        begun = [job for job in self._bridge.executor.jobs() if job.began]
        # Which job holds the loop may be unknown. Then any that has begun may: else it would be retried without end.
        culprits = [seen.job] if seen.job is not None else begun
        why: dict[str, str] = {
            "reason": f"a skill has blocked the event loop for {seen.seconds:g} s",
            "stack": seen.stack,
        }
        if seen.job is not None:
            call = seen.job.call
            why |= {"task_id": call.task_id, "agent": call.agent, "skill": call.skill}
        self._log.error("host is blocked, replacing it", **why)
        message = (
            f"the skill has blocked its host's event loop for {seen.seconds:g} s: "
            "write it as a plain `def` (a thread) or with process=True"
        )
        for job in culprits:
            self._agents.record_outcome(job.call.agent, job.call.skill, seen.seconds, ok=False)
        await self._end(why, [job.call.task_id for job in culprits], message)

    async def _end(self, why: dict[str, str], culprits: list[str], message: str) -> None:
        for job in self._bridge.executor.jobs():
            self._agents.release(job.call.agent, job.call.skill)
        if self._reader is not None:
            self._reader.call_soon_threadsafe(self._bridge.close, why["reason"], culprits, message)
        deadline = time.monotonic() + SHUTDOWN_S
        try:
            async with asyncio.timeout(SHUTDOWN_S):
                await self._store.save(self.name, self._agents)
                await self._hosts.record_end(why)
        except Exception as error:  # noqa: BLE001 - the host ends all the same; only the last outcomes are lost
            self._log.error("host cannot save its last outcomes", reason=f"{type(error).__name__}: {error}")
        while self._bridge.open_streams and time.monotonic() < deadline:  # noqa: ASYNC110 - they end in another loop
            await asyncio.sleep(0.02)
        # The last chunks are still on their way through Ray's own threads.
        await asyncio.sleep(REPORT_INTERVAL_S)
        os._exit(EXIT_REPLACED)


def warm_ups(registry: SkillRegistry, organ: str, clients: SkillClients) -> dict[str, Callable[[], Awaitable[None]]]:
    """The warm-ups of an organ's skills, by skill; a function that several skills share runs once."""
    functions = {
        spec.warm_up: spec.name for spec in registry.values() if spec.organ == organ and spec.warm_up is not None
    }
    return {name: partial(warm_up, clients) for warm_up, name in functions.items()}
