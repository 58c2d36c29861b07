"""A worker: one Ray actor that claims tasks, decides where each goes and runs those of the agents that live in it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import ray

from seedcore import __version__
from seedcore.decision.routing_table import RoutingTable
from seedcore.graph.graph_sync import GraphSync
from seedcore.service_clients.skill_clients import SkillServiceClients
from seedcore.settings import Settings, get_settings
from seedcore.skills.host_protocol import Call, Columns, Completion, calls_of, to_columns
from seedcore.skills.registry import SkillRegistry
from seedcore.stores.postgres import ENGINE_SESSION, Database
from seedcore.tasks.model import DEFAULT_QUEUE, GRAPH_QUEUE
from seedcore.telemetry.metrics import gauge
from seedcore.telemetry.traces import tracing
from seedcore.telemetry.traces.trace_setup import configure_traces
from seedcore.utils import gc_tuning
from seedcore.utils.background_loop import BackgroundLoop
from seedcore.utils.metrics.ray_metrics import ray_sinks
from seedcore.utils.ray_utils import refuse_embedded_on_many_nodes
from seedcore.utils.warming import Warming
from seedcore.worker.actors.loop_pulse import LoopPulse
from seedcore.worker.actors.ray_actors import configure_worker_logs
from seedcore.worker.actors.ray_adapters import CognitivePlans, CoordinatorPlane, RayCluster, RayHosts
from seedcore.worker.decisions.coordinator_link import CoordinatorLink
from seedcore.worker.decisions.foreign_work import ForeignWork
from seedcore.worker.decisions.local_decider import LocalDecider
from seedcore.worker.decisions.report_collector import ReportCollector
from seedcore.worker.decisions.snapshot_state import SnapshotState
from seedcore.worker.dispatcher import Dispatcher
from seedcore.worker.execution.last_life import last_session
from seedcore.worker.execution.progress_buffer import ProgressBuffer
from seedcore.worker.hosting.last_process import take_over
from seedcore.worker.hosting.organ_terms import OrganTerms
from seedcore.worker.hosting.skill_host import SkillHost
from seedcore.worker.lease_store import PostgresLeaseStore
from seedcore.worker.ports import WorkerPorts
from seedcore.worker.reaper import Reaper

CLAIMS_SILENT_S = 10.0
"""A worker whose claim loop is silent for longer answers no ping: the Organism replaces it."""

AGE_STEP_S = 5.0
"""The age of the snapshot is shown in steps of this; over the first one a snapshot is old."""

END_GRACE_S = 2.0
"""A worker that ends itself waits so long for tasks that are about to end."""


class WorkerActor:
    """A worker in a process of its own; Ray restarts it without limit, and every start opens a new session.

    Threads: Ray's loop answers calls of other workers and status; the worker's loop claims, decides and writes; skills
    run in a loop of their own, so that none of them holds up a claim or a heartbeat; a fourth one reports.

    Args:
        name: the actor's name.
        queue: the queue that it claims from.
    """

    def __init__(self, name: str, queue: str) -> None:
        settings = get_settings()
        configure_worker_logs(settings)
        configure_traces(settings, name)
        refuse_embedded_on_many_nodes(settings)
        self.name, self.queue = name, queue
        context = ray.get_runtime_context()
        self._node = context.get_node_id()
        self._background = BackgroundLoop(name)
        database = Database(settings, size=3, session=ENGINE_SESSION, name=name)
        self._reports = ReportCollector()
        self._state = SnapshotState(name, settings.energy_v, on_routing=self._adopt_terms)
        self._remote = RayHosts(settings)
        self._foreign = ForeignWork()
        self._decider = decider = LocalDecider(
            settings, self._state, self._reports, lambda: self._remote.hop_s, self._foreign
        )
        self._before, self._progress = take_over(settings, name), ProgressBuffer()
        registry = SkillRegistry.load(settings)
        self._plane, self._plans = CoordinatorPlane(settings, database), CognitivePlans(settings)
        self._host = SkillHost(
            name,
            settings,
            registry,
            SkillServiceClients(settings),
            lambda skill: self._state.fleet.organ_of(skill) or "",
            organ_of_agent=lambda agent: self._state.fleet.organ_of_agent(agent) or "",
            on_end=self._on_end,
            journal=self._before.journal,
            progress=self._progress,
            died=self._before.begun,
            sinks=ray_sinks(),
            samplers=[self._sample_age],
        )
        self._host.start()
        ports = WorkerPorts(
            PostgresLeaseStore(database),
            decider,
            self._plans,
            self._remote,
            self._host,
            RayCluster(context.gcs_address, self._node),
            self._reports,
            self._before.journal,
            self._peers,
        )
        reaper, last = Reaper(settings, database, name), last_session(self._before.life, registry, settings)
        self._dispatcher = Dispatcher(settings, name, queue, ports, reaper, context.get_actor_id(), last)
        log = self._dispatcher.log
        self._link = CoordinatorLink(self._plane, self._state, self._reports, decider, log)
        gc_tuning.settle()
        self._claims = LoopPulse(self._background.loop)
        self._linking = self._background.start(self._link.run())
        self._run = self._background.start(self._dispatcher.run())
        self._warming = Warming({"cognitive": self._plans.cognitive.reach})
        self._background.start(self._warming.run())
        self._graph = _GraphKeeper(settings, name) if queue == GRAPH_QUEUE else None

    async def run(self, calls: Columns) -> AsyncIterator[Columns]:
        """Run another worker's calls side by side; yields completions as they happen."""
        left = {call.task_id: call for call in calls_of(calls)}
        self._foreign.begin(left.values())
        try:
            async for chunk in self._host.run(list(left.values())):
                self._foreign.end([left.pop(done.task_id) for done in chunk if done.task_id in left])
                yield to_columns(chunk)
        finally:
            self._foreign.end(left.values())

    async def execute(self, call: Call) -> Completion:
        """Run one call of another worker."""
        self._foreign.begin([call])
        try:
            return await self._host.execute(call)
        finally:
            self._foreign.end([call])

    async def cancel(self, task_ids: list[str]) -> int:
        """Cancel running calls; returns how many were running."""
        return await self._host.cancel(task_ids)

    async def employ(self, agent_ids: list[str]) -> None:
        """Re-employ agents: each is a scout with a clean record, whatever it did before."""
        self._host.employ(agent_ids)

    async def save(self) -> int:
        """Write what agents have learned now; returns how many were written."""
        return await self._host.save()

    async def status(self) -> dict[str, object]:
        """Progress (not a ping): what it holds, when it last claimed, what it has done, and how old its snapshot is.

        `cold`: not reached yet. `hop_s`: what a call to another process takes beyond the skill, measured on `hops`.
        """
        state, age = self._state, self._state.age_s
        if (silent_s := self._claims.silent_s()) > CLAIMS_SILENT_S:
            raise RuntimeError(f"the claim loop has given no answer for {silent_s:.0f} s")
        host, held = self._host.status(), self._dispatcher.status()
        facts: dict[str, object] = {
            **host,
            **held,
            "host": self.name,
            "organ": "",
            "node": self._node,
            "version": __version__,
            "running": self._host.running + self._dispatcher.holding_elsewhere,
            "snapshot": {"generation": state.generation, "version": state.version, "source": state.source},
            "snapshot_age_s": None if age is None else round(age, 3),
            "snapshot_updates": dict(state.counts),
            "reports": dict(self._reports.counts),
            "hop_s": round(self._remote.hop_s, 6),
            "hops": self._remote.hops,
            "data_places_over_limit": self._decider.places_over_limit,
            **self._before.status(),
            **self._progress.status(),
            "http_fallbacks": {
                "coordinator": self._plane.coordinator.counts.fallbacks,
                "cognitive": self._plans.cognitive.counts.fallbacks,
            },
        }
        if self._graph is not None:
            facts["graph"] = self._graph.sync.status()
        cold = dict(self._warming.cold)
        if isinstance(skills := host.get("cold"), Mapping):
            cold |= skills
        if state.source is None:
            cold["coordinator"] = self._link.failing or "no answer yet"
        facts.pop("cold", None)
        if cold:
            facts["cold"] = cold
        if self._link.failing is not None:
            facts["coordinator_failing"] = self._link.failing
        running = not self._run.done() and not self._linking.done()
        if not running:
            ended = self._run if self._run.done() else self._linking
            facts["reason"] = repr(None if ended.cancelled() else ended.exception())
        return facts | {"works": running}

    async def begin_drain(self) -> None:
        """Claim no more; what runs goes on, and calls of other workers are still taken."""
        self._background.loop.call_soon_threadsafe(self._dispatcher.begin_drain)

    async def drain(self, grace_s: float) -> dict[str, object]:
        """Claim no more, finish within `grace_s` seconds or release, take no more calls, and save."""
        await self.stop(grace_s)
        returned = await self._host.drain(grace_s)
        return {"handed_back": returned, **await self.status()}

    async def stop(self, grace_s: float) -> None:
        """Claim no more; finish within `grace_s` seconds or release. It still answers for its status."""
        stopped = asyncio.wrap_future(self._background.start(self._dispatcher.stop(grace_s)))
        await asyncio.wait_for(stopped, grace_s + 15)
        if self._graph is not None:
            await self._graph.stop()
        await self._host.export_metrics()
        await asyncio.to_thread(tracing.flush, tracing.FLUSH_S)
        if self._before.journal is not None:
            self._before.journal.close()

    async def _on_end(self, _why: Mapping[str, str]) -> None:
        """The process is about to end by itself: write how calls ended, and release what has not begun."""
        await asyncio.wrap_future(self._background.start(self._dispatcher.stop(END_GRACE_S)))

    def _sample_age(self) -> None:
        if (age_s := self._state.age_s) is not None:
            # In whole steps below which nothing is old: else an idle worker would write it every second.
            gauge("seedcore_snapshot_age_seconds").set(AGE_STEP_S * (age_s // AGE_STEP_S), worker=self.name)

    def _peers(self) -> Sequence[str]:
        return self._state.fleet.workers if self.queue == DEFAULT_QUEUE else ()

    def _adopt_terms(self, table: RoutingTable) -> None:
        """The routing table has changed: adopt the limits and roles of the organs whose agents live in workers."""
        living_here = {
            organ: OrganTerms.of(columns["limits"], columns.get("roles"))
            for organ, columns in table["organs"].items()
            if "limits" in columns
        }
        self._host.set_organs(living_here)


class _GraphKeeper:
    """Keeps the graph up to date, in a thread of its own: a claim must not wait for it."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.sync = GraphSync(settings, Database(settings, size=2, name=f"{name}-graph"))
        self._background = BackgroundLoop(f"{name}-graph")
        self._background.loop.call_soon_threadsafe(self.sync.start)

    async def stop(self) -> None:
        """Let another worker keep it."""
        await asyncio.wrap_future(self._background.start(self.sync.stop()))
