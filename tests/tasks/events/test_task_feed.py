"""The feed is called while little happens, and looks by itself while much does; either way it passes over nothing."""

import asyncio

import asyncpg
import pytest

from seedcore.stores.postgres import Database
from seedcore.tasks import leases
from seedcore.tasks.events.event_log import START
from seedcore.tasks.events.task_feed import EventFeed
from tests.tasks.engine_support import claim, done, submitted, task

pytestmark = pytest.mark.integration

CALLED = "select seedcore.someone(24302, hashtext('events'))"


async def until(connection: asyncpg.Connection, called: bool) -> None:
    async with asyncio.timeout(10):
        while await connection.fetchval(CALLED) != called:
            await asyncio.sleep(0.005)


async def test_in_a_flow_writers_need_not_call_and_everything_is_delivered(database: Database, connection):
    feed = EventFeed(database, poll_s=60)
    seen: set[str] = set()

    async def follow() -> None:
        async for entry in feed.follow_all(START):
            seen.update(str(task_id) for task_id in entry.task_ids)

    following = asyncio.create_task(follow())
    try:
        await until(connection, True)
        flowing, ids = False, set()
        async with asyncio.timeout(30):
            while not flowing:
                for _ in range(20):
                    ids |= {str(task_id) for task_id in await submitted(connection, task())}
                flowing = not await connection.fetchval(CALLED)
        ids |= {str(task_id) for task_id in await submitted(connection, task())}
        await until(connection, True)
        ids |= {str(task_id) for task_id in await submitted(connection, task())}
        async with asyncio.timeout(10):
            while not ids <= seen:
                await asyncio.sleep(0.01)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await feed.aclose()


async def test_an_end_that_was_written_before_a_late_event_still_comes_after_it(
    database: Database, connection, session
):
    """Two writers, the one who ends the task and the one who tells of its start, may commit in either order."""
    (task_id,) = await submitted(connection, task())
    (lease,) = await claim(connection, session)
    await leases.finish(connection, [done(lease)])
    late = "insert into seedcore.events (event, task_id) values ('started', $1) returning tick"
    seen = await connection.fetchval(late, task_id) * 4 + 2
    feed = EventFeed(database, poll_s=0.05)
    try:
        async with asyncio.timeout(10):
            assert [event.event async for event in feed.follow(task_id, after=seen)] == ["completed"]
    finally:
        await feed.aclose()
