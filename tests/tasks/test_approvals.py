"""Tasks that wait for a person: who decided is kept, and what becomes of them when nobody does."""

from typing import Any
from uuid import UUID

import asyncpg
import pytest

from seedcore.errors import ConflictError
from seedcore.settings import Settings
from seedcore.tasks import commands, leases, queries, reaping
from seedcore.tasks.model import TaskSpec
from tests.tasks.engine_support import claim, done, submitted, task

pytestmark = pytest.mark.integration


async def held(connection: asyncpg.Connection, session: UUID, new: TaskSpec, **options: Any) -> UUID:
    (task_id,) = await submitted(connection, new)
    (lease,) = await claim(connection, session)
    assert await leases.hold(connection, [(lease.id, lease.token, '{"route": "hold"}')], **options) == {task_id}
    return task_id


async def approvals(connection: asyncpg.Connection, task_id: UUID) -> list[dict[str, Any]]:
    return [e.data for e in await queries.events_of(connection, task_id) if e.event == "approval"]


async def test_who_released_a_task_stands_in_its_events(connection: asyncpg.Connection, session: UUID):
    task_id = await held(connection, session, task())
    await commands.approve(connection, task_id, "ann")
    assert (await approvals(connection, task_id))[-1] == {"released": True, "by": "ann", "how": "request"}
    (lease,) = await claim(connection, session)
    assert (lease.id, lease.approved, lease.attempt) == (task_id, True, 1)


async def test_who_refused_a_task_stands_in_its_error_and_the_refusal_is_its_end(
    connection: asyncpg.Connection, session: UUID
):
    task_id = await held(connection, session, task())
    record = await commands.reject(connection, task_id, "too dear", "ann")
    assert record.error == {"code": "approval_rejected", "message": "ann: too dear"}
    events = [e.event for e in await queries.events_of(connection, task_id)]
    assert events[-2:] == ["approval", "failed"]
    with pytest.raises(ConflictError):
        await commands.approve(connection, task_id, "ben")


async def expire(connection: asyncpg.Connection, settings: Settings) -> reaping.Reaped:
    await connection.execute(
        "update seedcore.held set expires_at = now() - interval '1 s' where expires_at is not null"
    )
    return await reaping.reap(connection, settings)


async def test_nobody_decides_and_the_task_is_refused(
    connection: asyncpg.Connection, session: UUID, pg_settings: Settings
):
    task_id = await held(connection, session, task(), expires_s=60.0)
    (said,) = await approvals(connection, task_id)
    assert said["on_expiry"] == "reject"
    assert (await reaping.reap(connection, pg_settings)).approvals == 0
    assert (await expire(connection, pg_settings)).approvals == 1
    record = await queries.get(connection, task_id)
    assert record.error == {"code": "approval_expired", "message": "it was not approved in time"}


async def test_nobody_decides_and_the_task_is_released(
    connection: asyncpg.Connection, session: UUID, pg_settings: Settings
):
    task_id = await held(connection, session, task(), expires_s=60.0, on_expiry="release")
    await expire(connection, pg_settings)
    assert (await approvals(connection, task_id))[-1] == {"released": True, "how": "expiry"}
    (lease,) = await claim(connection, session)
    assert await leases.finish(connection, [done(lease)]) == {task_id}


async def test_one_that_waits_for_ever_is_left_alone(
    connection: asyncpg.Connection, session: UUID, pg_settings: Settings
):
    task_id = await held(connection, session, task())
    assert (await expire(connection, pg_settings)).approvals == 0
    assert (await queries.get(connection, task_id)).status == "approval"


async def test_the_reaper_knows_when_the_next_one_expires(connection: asyncpg.Connection, session: UUID):
    await held(connection, session, task(), expires_s=60.0)
    outlook = await reaping.lead(connection, session, 5.0)
    assert outlook.due_s is not None
    assert 50 < outlook.due_s <= 60
