"""Dispatchers and the reaper as detached Ray actors. Each starts its loop when it is constructed."""

import asyncio
import sys
import time
from dataclasses import asdict
from typing import Any

import asyncpg
import ray

from seedcore import __version__
from seedcore.dispatch.dispatcher import Dispatcher
from seedcore.dispatch.ray_ports import RayHosts, ServiceBrain
from seedcore.settings import Settings, get_settings
from seedcore.stores.postgres import DATABASE_ERRORS, ENGINE_SESSION, Database
from seedcore.tasks import reap
from seedcore.utils.background import BackgroundLoop
from seedcore.utils.logs import configure_logs, get_logger
from seedcore.utils.ray_utils import refuse_embedded_on_many_nodes

REAPER = "seedcore-reaper"
EXPIRE_EVERY_S = 60.0


def dispatcher_name(queue: str, number: int) -> str:
    """The actor's name: `seedcore-dispatcher-0`, `seedcore-graph-dispatcher-0`."""
    return f"seedcore-dispatcher-{number}" if queue == "default" else f"seedcore-{queue}-dispatcher-{number}"


def _logs(settings: Settings) -> None:
    configure_logs(settings, stream=sys.stdout if settings.dispatcher_log_to_stdout else sys.stderr)


class DispatcherActor:
    """A dispatcher in a process of its own; Ray restarts it for ever, and every start claims afresh."""

    def __init__(self, name: str, queue: str) -> None:
        settings = get_settings()
        _logs(settings)
        refuse_embedded_on_many_nodes(settings)
        self._settings = settings
        self._background = BackgroundLoop(name)
        database = Database(settings, size=3, session=ENGINE_SESSION, name=name)
        self._brain = ServiceBrain(settings, name)
        actor = ray.get_runtime_context().get_actor_id()
        self._dispatcher = Dispatcher(settings, name, queue, database, self._brain, RayHosts(settings), actor)
        self._run = self._background.start(self._dispatcher.run())

    def status(self) -> dict[str, Any]:
        """Progress (not a ping): what it holds, when it last claimed, what it has done."""
        facts = {"version": __version__, "http_fallbacks": self._brain.fallbacks()}
        if self._run.done():
            error = None if self._run.cancelled() else self._run.exception()
            return {**self._dispatcher.status(), **facts, "running": False, "reason": repr(error)}
        return {**self._dispatcher.status(), **facts, "running": True}

    def stop(self, grace_s: float) -> None:
        """Claim no more; finish within `grace_s` seconds or hand back."""
        self._background.call(self._dispatcher.stop(grace_s), grace_s + 15)


class ReaperActor:
    """Returns what dead dispatchers held, promotes what is due, forgets what retention allows."""

    def __init__(self) -> None:
        settings = get_settings()
        _logs(settings)
        refuse_embedded_on_many_nodes(settings)
        self._settings = settings
        self._log = get_logger("seedcore.dispatch.reaper")
        self._database = Database(settings, size=1, session=ENGINE_SESSION, name=REAPER)
        self._totals: dict[str, int] = {"rounds": 0, "failures": 0}
        self._last_round: float | None = None
        self._background = BackgroundLoop(REAPER)
        self._run = self._background.start(self._loop())

    def status(self) -> dict[str, Any]:
        """Progress: when the last round ended and what all rounds did."""
        last = None if self._last_round is None else round(time.monotonic() - self._last_round, 3)
        return {"name": REAPER, "version": __version__, "last_round_s": last, **self._totals}

    async def _loop(self) -> None:
        expired_at = float("-inf")
        while True:
            try:
                async with self._database.connection() as connection:
                    await self._round(connection)
                    if time.monotonic() - expired_at > EXPIRE_EVERY_S:
                        expired_at = time.monotonic()
                        self._add("expired", await reap.expire(connection, self._settings))
            except DATABASE_ERRORS as error:
                self._add("failures", 1)
                self._log.warning("round failed", reason=f"{type(error).__name__}: {error}")
            await asyncio.sleep(self._settings.reap_s)

    async def _round(self, connection: asyncpg.Connection) -> None:
        done = asdict(await reap.reap(connection, self._settings))
        self._add("rounds", 1)
        for name, count in done.items():
            self._add(name, count)
        self._last_round = time.monotonic()
        if any(done.values()):
            self._log.info("reaped", **{name: count for name, count in done.items() if count})

    def _add(self, name: str, count: int) -> None:
        self._totals[name] = self._totals.get(name, 0) + count
