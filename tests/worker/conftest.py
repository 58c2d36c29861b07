import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from seedcore.settings import Settings, load_settings
from seedcore.stores.postgres import Database
from seedcore.tasks.model import TaskSpec
from seedcore.tasks.queries import TaskRecord
from seedcore.worker.decisions.report_collector import ReportCollector
from seedcore.worker.dispatcher import Dispatcher
from seedcore.worker.ports import Cluster, Decider, HostPool, LocalHost, PlanService, WorkerPorts
from tests.worker.task_engines import MemoryEngine, PostgresEngine, TaskEngine
from tests.worker.twins.decider import ScriptedPlanService

QUICK = {"retry_base_s": 0.05, "poll_s": 0.1, "lease_s": 4.0, "max_attempts": 3}

POSTGRES = pytest.param("postgres", marks=pytest.mark.integration)


@pytest.fixture(autouse=True)
def _no_sockets(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only tests that are marked as integration reach a server. Pairs of sockets stay: event loops need them."""
    if request.node.get_closest_marker("integration") is not None:
        return

    def refuse(_socket: socket.socket, address: object) -> None:
        raise AssertionError(f"a unit test opens a socket to {address!r}: use a twin, or mark it as integration")

    for name in ("connect", "connect_ex", "bind"):
        monkeypatch.setattr(socket.socket, name, refuse)


class World:
    """A task engine, and dispatchers that run while the test goes on."""

    def __init__(self, settings: Settings, engine: TaskEngine) -> None:
        self.settings, self.engine = settings, engine
        self.reports = ReportCollector()
        """Of the dispatcher that was started last."""

    @property
    def database(self) -> Database:
        assert isinstance(self.engine, PostgresEngine), "this test needs the fixture pg_world"
        return self.engine.database

    async def submit(self, *values: object, **options: Any) -> list[UUID]:
        return await self.engine.submit([TaskSpec("echo", json.dumps({"value": value}), **options) for value in values])

    async def task(self, task_id: UUID) -> TaskRecord:
        return await self.engine.task(task_id)

    async def until(self, task_id: UUID, *statuses: str, timeout_s: float = 30) -> TaskRecord:
        async with asyncio.timeout(timeout_s):
            while (record := await self.task(task_id)).status not in statuses:
                await asyncio.sleep(0.02)
        return record

    async def events(self, task_id: UUID) -> list[str]:
        return await self.engine.events(task_id)

    @asynccontextmanager
    async def dispatcher(
        self,
        decider: Decider,
        hosts: HostPool,
        plans: PlanService | None = None,
        cluster: Cluster | None = None,
        local: LocalHost | None = None,
        reports: ReportCollector | None = None,
        **changed: Any,
    ) -> AsyncIterator[Dispatcher]:
        settings = self.settings.model_copy(update=changed)
        async with self.engine.lease_store(settings) as (leases, reaper):
            self.reports = reports or ReportCollector()
            plans = plans or ScriptedPlanService()
            ports = WorkerPorts(leases, decider, plans, hosts, local, cluster, self.reports)
            dispatcher = Dispatcher(settings, "test", "default", ports, reaper)
            running = asyncio.create_task(dispatcher.run())
            try:
                yield dispatcher
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
def worker_settings(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path / "data", **QUICK)


@pytest.fixture
async def pg_world(pg_dsn: str, tmp_path: Path) -> AsyncIterator[World]:
    """On PostgreSQL."""
    settings = load_settings(data_dir=tmp_path / "data", pg_dsn=pg_dsn, **QUICK)
    engine = PostgresEngine(settings)
    yield World(settings, engine)
    await engine.database.aclose()


@pytest.fixture
def memory_world(worker_settings: Settings) -> World:
    """On the in-memory twin."""
    return World(worker_settings, MemoryEngine(worker_settings))


@pytest.fixture(params=["memory", POSTGRES])
def world(request: pytest.FixtureRequest) -> World:
    """On both, one after the other."""
    world: World = request.getfixturevalue("memory_world" if request.param == "memory" else "pg_world")
    return world
