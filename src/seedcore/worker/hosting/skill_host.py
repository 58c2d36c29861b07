"""A process as a host: it runs the skills of many agents, and reports what they do."""

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Protocol

from seedcore import __version__
from seedcore.errors import NotFoundError
from seedcore.fleet.agent_memory import AgentMemory
from seedcore.fleet.agent_registry import AgentRegistry
from seedcore.fleet.agent_repository import REPORT_INTERVAL_S, pause_after
from seedcore.settings import Settings
from seedcore.skills.context import SkillClients
from seedcore.skills.host_protocol import Call, Completion
from seedcore.skills.registry import SkillRegistry
from seedcore.stores.metric_series import MetricSeriesWriter
from seedcore.stores.postgres import Database
from seedcore.telemetry.logs import get_logger
from seedcore.telemetry.metrics.metric_export import MetricExport, MetricSink
from seedcore.utils.background_loop import BackgroundLoop
from seedcore.worker.execution.last_life import BegunCall
from seedcore.worker.execution.loop_bridge import LoopBridge, TakeCompletions
from seedcore.worker.execution.watchdog import Watchdog
from seedcore.worker.hosting.host_reports import HostReports, ProgressReports
from seedcore.worker.hosting.organ_executors import OrganExecutors
from seedcore.worker.hosting.organ_terms import OrganTerms
from seedcore.worker.hosting.self_end import SHUTDOWN_S, CallJournal, OnEnd, SelfEnd
from seedcore.worker.hosting.warm_ups import OrganWarmUps


class HostClients(SkillClients, Protocol):
    """What skills may call, as the host sees it."""

    def status(self) -> Mapping[str, object]:
        """What the objects that skills keep do, by name."""

    async def aclose(self) -> None:
        """Close all of it, in the skills' loop."""


def organ_by_prefix(agent_id: str) -> str:
    """The organ that an agent was made for: `utility` of `utility-0001`; "" when its name does not say."""
    return agent_id.rpartition("-")[0]


class SkillHost:
    """Runs skills for the agents of the organs that live in this process, and reports what they do in batches.

    Skills have an event loop of their own, reports another, which also watches the skills' loop; each is in a thread.
    Calls come from the loops of whoever gives them, which no skill can block. A host whose skills can run no more ends
    the process, after it has saved what its agents learned and has returned its calls.

    Args:
        name: of the process, as the routing table names it.
        settings: limits, where an organ sets none of its own.
        registry: the skills.
        clients: what skills may call.
        organ_of: the organ that runs a skill, "" when the routing table does not know it; called in the skills' loop
            for each kind of skill in a batch, and must not raise.
        organs: the organs whose agents live here from the start, with their terms.
        organ: of the host's row and status; "" for a worker, whose agents are of many organs.
        organ_of_agent: the organ of an agent that has not worked here yet, "" when it is not known.
        on_end: called in the loop of reports when the host is about to end the process, before it returns its calls:
            claim no more, then hand back all leases. It has SHUTDOWN_S seconds.
        exit: ends the process.
        journal, progress: passed on to every `SkillExecutor` where they are given.
        sinks: where metrics go beside PostgreSQL.
        samplers: called before each export of metrics.
        died: what was running when an earlier process of this name ended; it is reported until that is written.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        registry: SkillRegistry,
        clients: HostClients,
        organ_of: Callable[[str], str],
        *,
        organs: Mapping[str, OrganTerms] | None = None,
        organ: str = "",
        organ_of_agent: Callable[[str], str] = organ_by_prefix,
        on_end: OnEnd | None = None,
        exit: Callable[[int], object] = os._exit,  # noqa: A002 - it is what ends the process
        journal: CallJournal | None = None,
        progress: ProgressReports | None = None,
        died: Sequence[BegunCall] = (),
        sinks: Sequence[MetricSink] = (),
        samplers: Sequence[Callable[[], None]] = (),
    ) -> None:
        self._log = get_logger("seedcore.worker.host", host=name, **({"organ": organ} if organ else {}))
        self.name, self.organ = name, organ
        self._organ_of_agent, self._progress, self._clients = organ_of_agent, progress, clients
        # A pool belongs to one loop: this one serves skills that use their agent's memory.
        self._memories = Database(settings, size=1, name="seedcore-memory")
        more = {"journal": journal, "progress": progress, "name": name}
        more = {key: value for key, value in more.items() if value is not None}
        self.bridge = LoopBridge(lambda: OrganExecutors(registry, settings, organ_of, clients, self._memory, more))
        self.executors = self.bridge.executor
        skills = self.bridge.background
        self._warm_ups = OrganWarmUps(registry, clients, skills.start)
        self._background = BackgroundLoop("report")
        database = Database(settings, size=1, name="seedcore-host")
        self._reports = HostReports(database, name, organ, lambda: self.executors.registries, settings, died)
        self._metrics = MetricExport(settings, [MetricSeriesWriter(database), *sinks], samplers)
        self._end = SelfEnd(self.bridge, self._reports, self._log, on_end, exit, journal)
        self._watchdog = Watchdog(
            skills.loop, skills.thread, settings.host_blocked_s, self.executors.jobs, self._end.blocked
        )
        self._loops: list[Future[None]] = []
        self.set_organs(organs or {})

    def start(self) -> None:
        """Begin to watch the skills' loop and to report."""
        loops = [self._watchdog.watch(), self._report(), self._metrics.run()]
        if self._progress is not None:
            loops.append(self._progress.run(self._reports.write_progress))
        self._loops = [self._background.start(loop) for loop in loops]

    async def close(self) -> None:
        """Watch and report no more, and end idle processes and connections; `drain` first."""
        for loop in self._loops:
            loop.cancel()
        skills = self.bridge.background
        skills.loop.call_soon_threadsafe(self.executors.close)
        await asyncio.wrap_future(self._background.start(self._reports.close()))
        await asyncio.wrap_future(skills.start(self._memories.aclose()))
        if self._clients is not None:
            await asyncio.wrap_future(skills.start(self._clients.aclose()))

    def set_organs(self, organs: Mapping[str, OrganTerms]) -> None:
        """These organs live here, under these terms; for calls that are given from now on. Callable from any thread.

        The skills of new ones are warmed up. Nothing is done about organs that have gone: their agents fall asleep.
        """
        for organ, terms in organs.items():
            self.executors.set_terms(organ, terms)
            self._warm_ups.warm(organ)

    def submit(self, calls: Sequence[Call], take: TakeCompletions) -> None:
        """Run calls side by side while the caller goes on; see `LoopBridge.submit`."""
        self.bridge.submit(calls, take)

    def run(self, calls: Sequence[Call]) -> AsyncIterator[list[Completion]]:
        """Run calls side by side; yields completions as they happen."""
        return self.bridge.run(calls)

    async def execute(self, call: Call) -> Completion:
        """Run one call."""
        return await self.bridge.execute(call)

    async def cancel(self, task_ids: Sequence[str]) -> int:
        """Cancel running calls; returns how many were running."""
        return await self.bridge.cancel(task_ids)

    def cancel_soon(self, task_ids: Sequence[str]) -> None:
        """Cancel running calls while the caller goes on."""
        self.bridge.cancel_soon(task_ids)

    def employ(self, agent_ids: Sequence[str]) -> None:
        """Re-employ agents: each is a scout with a clean record, whatever it did before.

        Raises:
            NotFoundError: the organ of one is not known; then none of them is re-employed.
        """
        by_organ: defaultdict[str, list[str]] = defaultdict(list)
        for agent_id in agent_ids:
            by_organ[self._organ_of(agent_id)].append(agent_id)
        if unknown := by_organ.get(""):
            raise NotFoundError(f"No organ is known to have the agents {', '.join(sorted(unknown)[:20])}.")
        for organ, own in by_organ.items():
            self.executors.agents_of(organ).re_employ(own)

    async def save(self) -> int:
        """Write what agents have learned now; returns how many were written."""
        return await asyncio.wrap_future(self._background.start(self._reports.save_agents()))

    async def export_metrics(self) -> None:
        """Export what was counted now: the process is about to end."""
        await asyncio.wrap_future(self._background.start(self._metrics.export(last=True)))

    @property
    def running(self) -> int:
        """Calls in hand."""
        return self.executors.running

    @property
    def closed(self) -> str | None:
        """Why no calls are taken; None while they are."""
        return self.bridge.closed

    def status(self) -> dict[str, object]:
        """Which host this is, and what it does.

        Returns:
            `{host, organ, version, agents, slept, running, lost_slots, lost_threads, processes, blocked_s?, closed?,
            last_end?, cold?, kept?}`: `agents` are active, `slept` were put to sleep, `blocked_s` is for how long the
            skills' loop has given no answer, `closed` why no calls are taken, `last_end` why the process before this
            one ended itself (`{reason, task_id?, agent?, skill?, stack?, at}`), `cold` the skills whose `warm_up` has
            not worked yet, with the reason, `kept` what skills of this process share, by name.
        """
        return {"host": self.name, "organ": self.organ, "version": __version__, **self._status()}

    def stop_taking(self, reason: str) -> None:
        """Take no more calls: they are returned at once; those that run go on."""
        self.bridge.stop_taking(reason)

    async def drain(self, grace_s: float) -> int:
        """Take no more calls, wait `grace_s` seconds for those that run, return the others, and save.

        Nothing of it counts as an attempt. The host does not end by itself.

        Returns:
            How many calls were returned.
        """
        reason = f"host {self.name} is being drained"
        self.bridge.stop_taking(reason)
        deadline = time.monotonic() + grace_s
        while self.bridge.open_streams and time.monotonic() < deadline:  # noqa: ASYNC110 - a moment more does not matter
            await asyncio.sleep(0.05)
        left = self.running
        self.bridge.close(reason)
        # What is cancelled ends in another thread.
        while self.running and time.monotonic() < deadline + SHUTDOWN_S:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        if self._clients is not None:
            # What skills keep may have something to write, such as recorded predictions.
            await asyncio.wrap_future(self.bridge.background.start(self._clients.aclose()))
        await self.save()
        await self.export_metrics()
        return left

    def _status(self) -> dict[str, object]:
        registries = self.executors.registries
        status: dict[str, object] = {
            "agents": sum(len(registry.agents) for registry in registries),
            "slept": sum(registry.slept for registry in registries),
            **self.executors.status(),
        }
        facts = {
            "blocked_s": self._watchdog.silent_s or None,
            "closed": self.bridge.closed,
            "last_end": self._reports.last_end,
            "cold": self._warm_ups.cold or None,
            "kept": (None if self._clients is None else self._clients.status()) or None,
        }
        return status | {name: fact for name, fact in facts.items() if fact is not None}

    def _organ_of(self, agent_id: str) -> str:
        active = (registry.organ for registry in self.executors.registries if agent_id in registry.agents)
        return next(active, None) or self._organ_of_agent(agent_id)

    def _memory(self, agents: AgentRegistry, agent_id: str) -> AgentMemory:
        return AgentMemory(self._memories, agents, agent_id)

    async def _report(self) -> None:
        while not self._end.begun:
            pause_s, began = REPORT_INTERVAL_S, time.monotonic()
            try:
                await self._reports.write(began, self._status)
                pause_s = pause_after(time.monotonic() - began)
            except Exception as error:  # noqa: BLE001 - reports must go on whatever the database says; it is logged
                self._log.warning("host report failed, trying again", reason=f"{type(error).__name__}: {error}")
            reason = self.executors.exhausted
            if reason is not None and self.bridge.closed is None:
                await self._end.run({"reason": reason})
            await asyncio.sleep(pause_s)
