"""Workers go on while no Coordinator answers: nothing is released, retried or repeated for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from seedcore.errors import UnavailableError
from seedcore.schemas.snapshot import SnapshotUpdate, StoredSnapshotJson, WorkerReportJson
from seedcore.telemetry.logs import get_logger
from seedcore.worker.decisions import coordinator_link
from seedcore.worker.decisions.coordinator_link import CoordinatorLink
from seedcore.worker.decisions.local_decider import LocalDecider
from seedcore.worker.decisions.report_collector import ReportCollector
from seedcore.worker.decisions.snapshot_state import SnapshotState
from seedcore.worker.dispatcher import Dispatcher
from tests.worker.conftest import World
from tests.worker.decisions.snapshots import stored, update
from tests.worker.twins.host_pool import InMemoryHostPool, good

AWAY_S = 120.0


class Coordinator:
    """One that can go away and come back; it counts every outcome that it hears, once a report."""

    def __init__(self) -> None:
        self.away = False
        self.heard: dict[int, int] = {}

    async def exchange(self, report: WorkerReportJson) -> SnapshotUpdate:
        await asyncio.sleep(0.01)
        if self.away:
            raise UnavailableError("nothing answers")
        self.heard[report["number"]] = sum(outcome["count"] for outcome in report["outcomes"])
        return update(heard=report["number"])

    async def stored(self) -> tuple[StoredSnapshotJson, float] | None:
        return stored(), AWAY_S


@asynccontextmanager
async def worker(
    world: World, coordinator: Coordinator, monkeypatch: Any
) -> AsyncIterator[tuple[Dispatcher, SnapshotState]]:
    monkeypatch.setattr(coordinator_link, "MIN_INTERVAL_S", 0.01)
    monkeypatch.setattr(coordinator_link, "LONGEST_PAUSE_S", 0.2)
    state, reports = SnapshotState("w-0", 1.0), ReportCollector()
    decider = LocalDecider(world.settings, state, reports, lambda: 0.0)
    link = CoordinatorLink(coordinator, state, reports, decider, get_logger("test"))
    async with world.dispatcher(decider, InMemoryHostPool(good), reports=reports) as dispatcher:
        linking = asyncio.create_task(link.run())
        try:
            yield dispatcher, state
        finally:
            linking.cancel()
            await asyncio.gather(linking, return_exceptions=True)


async def test_a_coordinator_that_is_away_for_two_minutes_under_load_stops_and_repeats_nothing(
    world: World, monkeypatch: Any
):
    coordinator = Coordinator()
    async with worker(world, coordinator, monkeypatch) as (dispatcher, state):
        before = await world.submit(*range(50))
        for task_id in before:
            await world.until(task_id, "completed")
        coordinator.away = True
        during = await world.submit(*range(100))
        assert state._confirmed_at is not None
        state._confirmed_at -= AWAY_S
        during += await world.submit(*range(100))
        records = [await world.until(task_id, "completed") for task_id in during]
        assert {record.attempts for record in records} == {1}
        assert {"released": 0, "retried": 0}.items() <= dispatcher.status().items()
        ages = [record.decision.get("snapshot_age_s", 0.0) for record in records]
        assert max(ages) >= AWAY_S
        coordinator.away = False
        async with asyncio.timeout(20):
            while sum(coordinator.heard.values()) < 250:
                await asyncio.sleep(0.02)
    assert sum(coordinator.heard.values()) == 250, "every outcome is heard once, those of the time without it, too"


async def test_a_worker_that_starts_without_a_coordinator_runs_tasks_with_the_stored_snapshot(
    world: World, monkeypatch: Any
):
    coordinator = Coordinator()
    coordinator.away = True
    async with worker(world, coordinator, monkeypatch) as (_, state):
        (task_id,) = await world.submit(1)
        record = await world.until(task_id, "completed")
        assert state.source == "database"
    assert record.decision["snapshot_age_s"] >= AWAY_S
