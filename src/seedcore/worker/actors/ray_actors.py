"""The dispatcher and the reaper as detached Ray actors. Each starts its loop when it is constructed."""

import asyncio
import contextlib
import sys

import ray

from seedcore import __version__
from seedcore.settings import Settings, get_settings
from seedcore.stores.postgres import DATABASE_ERRORS, ENGINE_SESSION, Database
from seedcore.tasks.events.notifications import NotificationListener
from seedcore.telemetry.logs import configure_logs
from seedcore.utils import gc_tuning
from seedcore.utils.background_loop import BackgroundLoop
from seedcore.utils.ray_utils import refuse_embedded_on_many_nodes
from seedcore.utils.warming import Warming
from seedcore.worker.actors.ray_adapters import CognitivePlans, CoordinatorDecisions, RayCluster, RayHosts
from seedcore.worker.dispatcher import Dispatcher
from seedcore.worker.lease_store import PostgresLeaseStore
from seedcore.worker.ports import WorkerPorts
from seedcore.worker.reaper import LATER_CHANNEL, Reaper

REAPER = "seedcore-reaper"
RELISTEN_S = 0.5


def dispatcher_name(queue: str, number: int) -> str:
    """The actor's name: `seedcore-dispatcher-0`, `seedcore-graph-dispatcher-0`."""
    return f"seedcore-dispatcher-{number}" if queue == "default" else f"seedcore-{queue}-dispatcher-{number}"


def _logs(settings: Settings) -> None:
    configure_logs(settings, stream=sys.stdout if settings.dispatcher_log_to_stdout else sys.stderr)


class DispatcherActor:
    """A dispatcher in a process of its own; Ray restarts it without limit, and every start opens a new session."""

    def __init__(self, name: str, queue: str) -> None:
        settings = get_settings()
        _logs(settings)
        refuse_embedded_on_many_nodes(settings)
        self._settings = settings
        self._background = BackgroundLoop(name)
        database = Database(settings, size=3, session=ENGINE_SESSION, name=name)
        self._decisions, self._plans = CoordinatorDecisions(settings, name), CognitivePlans(settings)
        context = ray.get_runtime_context()
        cluster = RayCluster(context.gcs_address, context.get_node_id())
        leases, hosts = PostgresLeaseStore(database), RayHosts(settings)
        ports = WorkerPorts(leases, self._decisions, self._plans, hosts, cluster)
        reaper = Reaper(settings, database, name)
        self._dispatcher = Dispatcher(settings, name, queue, ports, reaper, context.get_actor_id())
        gc_tuning.settle()
        self._run = self._background.start(self._dispatcher.run())
        steps = {"coordinator": self._decisions.coordinator.reach, "cognitive": self._plans.cognitive.reach}
        self._warming = Warming(steps)
        self._background.start(self._warming.run())

    def status(self) -> dict[str, object]:
        """Progress (not a ping): what it holds, when it last claimed, what it has done; `cold`: not reached yet."""
        fallbacks = {
            "coordinator": self._decisions.coordinator.counts.fallbacks,
            "cognitive": self._plans.cognitive.counts.fallbacks,
        }
        facts: dict[str, object] = {"version": __version__, "http_fallbacks": fallbacks}
        if self._warming.cold:
            facts["cold"] = dict(self._warming.cold)
        if self._run.done():
            error = None if self._run.cancelled() else self._run.exception()
            return {**self._dispatcher.status(), **facts, "running": False, "reason": repr(error)}
        return {**self._dispatcher.status(), **facts, "running": True}

    def stop(self, grace_s: float) -> None:
        """Claim no more; finish within `grace_s` seconds or release."""
        self._background.call(self._dispatcher.stop(grace_s), grace_s + 15)


class ReaperActor:
    """The reaper in a process of its own; a dispatcher stands in for it while it is away."""

    def __init__(self) -> None:
        settings = get_settings()
        _logs(settings)
        refuse_embedded_on_many_nodes(settings)
        database = Database(settings, size=1, session=ENGINE_SESSION, name=REAPER)
        self._reaper = Reaper(settings, database, REAPER)
        self._listener = NotificationListener(database, {LATER_CHANNEL: self._reaper.on_later})
        self._background = BackgroundLoop(REAPER)
        self._run = self._background.start(self._reaper.run())
        self._listening = self._background.start(self._listen())

    def status(self) -> dict[str, object]:
        """Progress: whether it leads, when the last round ended and what all rounds did."""
        return {"name": REAPER, "version": __version__, **self._reaper.status()}

    async def _listen(self) -> None:
        while True:
            with contextlib.suppress(*DATABASE_ERRORS):
                await self._listener.listen(on_ready=self._on_listening)
            await asyncio.sleep(RELISTEN_S)

    async def _on_listening(self) -> None:
        """Notifications before that are lost: look again what is due."""
        self._reaper.wake()
