"""The gateway on a database of its own, and somebody who plays the dispatcher."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from seedcore.api.app import build_app
from seedcore.settings import Settings
from seedcore.stores.postgres import ENGINE_SESSION, Database
from seedcore.tasks import leases, sessions
from seedcore.tasks.model import Lease, Outcome, Retry, Status, StepSpec, new_id
from seedcore.tasks.plans import repository as plan_repository
from seedcore.telemetry.logs import configure_logs

TASKS = "/api/v1/tasks"
TASK_FIELDS = {
    "id",
    "type",
    "params",
    "status",
    "domain",
    "priority",
    "queue",
    "idempotency_key",
    "attempts",
    "max_attempts",
    "run_after",
    "created_at",
    "started_at",
    "finished_at",
    "result",
    "error",
    "decision",
    "parent_id",
}


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document of an answer, after holding it against the fixed shape."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document.keys() >= {"type", "title", "status", "detail", "code"}
    assert (document["status"], document["code"]) == (status, code)
    return document


def fields_of(document: dict[str, Any]) -> list[str]:
    return [error["field"] for error in document["errors"]]


async def submit(http: httpx.AsyncClient, value: Any = 1, **fields: Any) -> dict[str, Any]:
    answer = await http.post(TASKS, json={"type": "echo", "params": {"value": value}, **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


class Dispatcher:
    """Leases tasks and ends them as a test wants it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.session = uuid4()

    async def lease(self) -> Lease:
        async with self.database.connection() as connection:
            for slow in (False, True):
                if found := await leases.claim(connection, "default", self.session, 1, slow=slow):
                    return found[0]
        raise AssertionError("there is nothing to lease")

    async def complete(self, lease: Lease, result: Any = None) -> bool:
        return await self._finish(lease, Status.COMPLETED, result=json.dumps(result))

    async def fail(self, lease: Lease, code: str = "skill_failed") -> bool:
        return await self._finish(lease, Status.FAILED, error_code=code, error_message="it broke")

    async def put_off(self, lease: Lease, delay_s: float) -> None:
        async with self.database.connection() as connection:
            await leases.retry(connection, [Retry(lease.id, lease.token, delay_s, "skill_timeout", "too slow")])

    async def hold(self, lease: Lease, **decision: Any) -> None:
        async with self.database.connection() as connection:
            await leases.hold(connection, [(lease.id, lease.token, json.dumps({"route": "hold", **decision}))])

    async def plan(self, lease: Lease) -> list[UUID]:
        """Two steps, the second after the first."""
        first, second = new_id(), new_id()
        steps = [
            StepSpec(first, "one", "echo", '{"value": 1}', None, ()),
            StepSpec(second, "two", "echo", '{"value": 2}', None, (first,)),
        ]
        plan = {"steps": [], "output": {"value": {"$from": "two", "field": "value"}}}
        async with self.database.connection() as connection:
            await plan_repository.store_plan(connection, lease, '{"route": "plan"}', json.dumps(plan), steps)
        return [first, second]

    async def _finish(self, lease: Lease, status: Status, **ending: Any) -> bool:
        outcome = Outcome(
            lease.id,
            lease.token,
            status,
            decision=json.dumps({"route": "fast", "rule": "known_skill", "agent": "a-1", "delta_energy": 0.5}),
            follow_up=lease.follow_up,
            **ending,
        )
        async with self.database.connection() as connection:
            return lease.id in await leases.finish(connection, [outcome])


@pytest.fixture
async def app(pg_settings: Settings) -> AsyncIterator[FastAPI]:
    configure_logs(pg_settings)
    app = build_app(pg_settings)
    yield app
    await app.state.gateway.aclose()


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


@pytest.fixture
async def dispatcher(pg_settings: Settings) -> AsyncIterator[Dispatcher]:
    database = Database(pg_settings, session=ENGINE_SESSION)
    player = Dispatcher(database)
    async with database.connection() as connection:
        await sessions.open_session(connection, player.session, "player", "default", 600)
    yield player
    await database.aclose()
