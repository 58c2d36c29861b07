import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest

from seedcore.errors import SeedCoreError
from seedcore.schemas.coordinator import DecideColumns
from seedcore.settings import Settings, load_settings
from seedcore.skills.host_protocol import Call, Completion
from seedcore.stores.postgres import ENGINE_SESSION, Database
from seedcore.tasks import queries
from seedcore.tasks.model import Lease, TaskSpec
from seedcore.tasks.queries import TaskRecord
from seedcore.tasks.submission.submit import submit
from seedcore.web.service_base import parse
from seedcore.worker.actors.ray_adapters import ServiceBrain
from seedcore.worker.dispatcher import Dispatcher
from seedcore.worker.ports import Cluster, Decision, Feedback, PlanAsk

FAST = Decision("fast", "known_skill", "test", agent="a-1", host="h-1", delta_energy=0.5)


@dataclass
class ScriptedBrain:
    """Decides as the test says."""

    decision: Decision | Callable[[Lease], Decision] = FAST
    error: Exception | None = None
    a_plan: dict[str, Any] = field(default_factory=dict)
    feedback: list[Feedback] = field(default_factory=list)

    async def decide(self, tasks: Sequence[Lease], feedback: Feedback) -> list[Decision]:
        if self.error is not None:
            raise self.error
        self.feedback.append(feedback)
        return [self.decision(task) if callable(self.decision) else self.decision for task in tasks]

    async def plan(self, ask: PlanAsk) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        return self.a_plan


@dataclass
class ScriptedHosts:
    """Runs calls as the test says: `behave` gives a completion, raises, or waits."""

    behave: Callable[[Call], Any]
    calls: list[Call] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    async def run(self, host: str, calls: Sequence[Call]) -> AsyncIterator[list[Completion]]:
        self.calls += calls
        for finished in asyncio.as_completed([self._one(call) for call in calls]):
            yield [await finished]

    async def _one(self, call: Call) -> Completion:
        answer = self.behave(call)
        return await answer if asyncio.iscoroutine(answer) else answer

    async def cancel(self, host: str, task_ids: Sequence[str]) -> None:
        self.cancelled += task_ids


def good(call: Call) -> Completion:
    return Completion(call.task_id, call.token, call.agent, call.skill, True, 0.01, result=call.params)


def bad(call: Call, *, retryable: bool = True) -> Completion:
    return Completion(
        call.task_id,
        call.token,
        call.agent,
        call.skill,
        False,
        0.01,
        error_code="boom",
        error_message="it broke",
        retryable=retryable,
    )


VERDICT = {"route": "fast", "rule": "known_skill", "reason": "test", "agent": "a-1", "host": "h-1"}


class ReadingCoordinator:
    """Reads questions with the Coordinator's own models, and sends everything to one agent; `broken` may raise or give
    an error for a question that can be read."""

    def __init__(self, broken: Callable[[DecideColumns], Exception | None] = lambda _: None) -> None:
        self.read: list[DecideColumns] = []
        self.refusals = 0
        self.broken = broken

    async def decide_columns(
        self, asker: str, columns: Mapping[str, Sequence[Any]], report: Mapping[str, Any]
    ) -> dict[str, Any]:
        try:
            question = parse(DecideColumns, {"asker": asker, "tasks": columns, **report})
            if (error := self.broken(question)) is not None:
                raise error
        except SeedCoreError:
            self.refusals += 1
            raise
        self.read.append(question)
        count = len(question.tasks.type)
        return {"verdicts": [VERDICT], "verdict": [0] * count, "delta_energy": [None] * count}


def reading_brain(settings: Settings, broken: Callable[[DecideColumns], Exception | None] = lambda _: None) -> Any:
    """A dispatcher's own side of the questions, and such a Coordinator as its `coordinator`."""
    brain = ServiceBrain(settings, "test")
    brain.coordinator = ReadingCoordinator(broken)  # type: ignore[assignment]
    return brain


class World:
    """A database, and dispatchers that run while the test goes on."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings, name="test")

    async def submit(self, *values: object, **options: Any) -> list[UUID]:
        tasks = [TaskSpec("echo", json.dumps({"value": value}), **options) for value in values]
        async with self.database.connection() as connection:
            return [item.id for item in await submit(connection, tasks)]

    async def task(self, task_id: UUID) -> TaskRecord:
        async with self.database.connection() as connection:
            return await queries.get(connection, task_id)

    async def until(self, task_id: UUID, *statuses: str, timeout_s: float = 30) -> TaskRecord:
        async with asyncio.timeout(timeout_s):
            while (record := await self.task(task_id)).status not in statuses:
                await asyncio.sleep(0.02)
        return record

    async def events(self, task_id: UUID) -> list[str]:
        async with self.database.connection() as connection:
            return [event.event for event in await queries.events_of(connection, task_id)]

    @asynccontextmanager
    async def dispatcher(
        self, brain: ScriptedBrain, hosts: ScriptedHosts, cluster: Cluster | None = None, **changed: Any
    ) -> AsyncIterator[Dispatcher]:
        settings = self.settings.model_copy(update=changed)
        database = Database(settings, session=ENGINE_SESSION, name="dispatcher")
        dispatcher = Dispatcher(settings, "test", "default", database, brain, hosts, cluster=cluster)
        running = asyncio.create_task(dispatcher.run())
        try:
            yield dispatcher
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await database.aclose()


@pytest.fixture
async def world(pg_dsn: str, tmp_path: Any) -> AsyncIterator[World]:
    settings = load_settings(
        data_dir=tmp_path / "data", pg_dsn=pg_dsn, retry_base_s=0.05, poll_s=0.1, lease_s=4.0, max_attempts=3
    )
    world = World(settings)
    yield world
    await world.database.aclose()
