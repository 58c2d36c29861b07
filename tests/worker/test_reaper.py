"""The reaper's rounds: schedules fire on time, whoever leads."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from seedcore.settings import Settings
from seedcore.skills.registry import SkillRegistry
from seedcore.stores.postgres import ENGINE_SESSION, Database
from seedcore.tasks.events.notifications import NotificationListener
from seedcore.tasks.schedules import repository
from seedcore.tasks.schedules.schedule import ScheduleIn
from seedcore.tasks.submission.validate import Submission
from seedcore.worker.reaper import LATER_CHANNEL, Reaper
from tests.worker.conftest import World

pytestmark = pytest.mark.integration
ECHO = {"type": "echo", "params": {"value": 1}}


@asynccontextmanager
async def reaping(settings: Settings, name: str) -> AsyncIterator[Reaper]:
    """A reaper that works and listens, as its actor does it."""
    database = Database(settings, size=1, session=ENGINE_SESSION, name=name)
    reaper = Reaper(settings, database, name)
    bell = NotificationListener(database, {LATER_CHANNEL: reaper.on_later})
    running = [asyncio.create_task(reaper.run()), asyncio.create_task(bell.listen())]
    try:
        yield reaper
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await database.aclose()


async def make(world: World, name: str, **fields: object) -> None:
    submission = Submission(world.settings, SkillRegistry.load(world.settings))
    async with world.database.connection() as connection:
        await repository.create(connection, submission, ScheduleIn(id=name, **{"task": ECHO, **fields}))


async def ticks_and_starts(world: World) -> list[tuple[datetime, datetime]]:
    """Of every task: its schedule's tick, and when it was submitted."""
    async with world.database.connection() as connection:
        rows = await connection.fetch("select idempotency_key, created_at from seedcore.tasks order by 1")
    return [(datetime.fromisoformat(row[0].split(":", 2)[2]), row[1]) for row in rows]


async def until_fired(world: World, count: int) -> list[tuple[datetime, datetime]]:
    async with asyncio.timeout(20):
        while len(found := await ticks_and_starts(world)) < count:
            await asyncio.sleep(0.05)
    return found


async def test_a_schedule_made_while_the_reaper_sleeps_fires_on_its_tick(pg_world: World):
    settings = pg_world.settings.model_copy(update={"reap_s": 30.0})
    async with reaping(settings, "one") as reaper:
        async with asyncio.timeout(20):
            while reaper.status()["rounds"] == 0:
                await asyncio.sleep(0.01)
        await make(pg_world, "s", every_s=1)
        found = await until_fired(pg_world, 3)
        assert reaper.status()["fired"] >= 3
    assert {b - a for (a, _), (b, _) in pairwise(found)} == {timedelta(seconds=1)}
    # reap_s is 30 s: it was woken, and knew when.
    assert all(timedelta(0) <= start - tick < timedelta(seconds=1) for tick, start in found)


async def test_several_reapers_fire_every_tick_once_whoever_leads(pg_world: World):
    async with AsyncExitStack() as stack:
        reapers = [await stack.enter_async_context(reaping(pg_world.settings, f"r{n}")) for n in range(3)]
        for n in range(10):
            await make(pg_world, f"s{n}", every_s=1)
        await until_fired(pg_world, 20)
        (leader,) = [reaper for reaper in reapers if reaper.leads]
        await leader.resign()
        await until_fired(pg_world, 40)
        assert sum(reaper.status().get("fired", 0) > 0 for reaper in reapers) >= 1
    async with pg_world.database.connection() as connection:
        stored = await repository.find(connection, None, 20)
    found = await ticks_and_starts(pg_world)
    assert len(found) == sum(s.fired for s in stored)
    assert sum(s.skipped for s in stored) == 0
    assert {s.last_at - s.created_at for s in stored} == {timedelta(seconds=s.fired) for s in stored}


async def test_the_reaper_goes_on_when_a_schedule_cannot_be_fired(pg_world: World):
    await make(pg_world, "s", cron="* * * * *")
    await make(pg_world, "well", every_s=1)
    async with pg_world.database.connection() as connection:
        await connection.execute("update seedcore.schedules set timezone = 'No/Where', next_at = now() where id = 's'")
    async with reaping(pg_world.settings, "one") as reaper:
        await until_fired(pg_world, 2)
        assert reaper.status()["broken"] == 1
        assert reaper.status()["failures"] == 0
    async with pg_world.database.connection() as connection:
        assert (await repository.get(connection, "s")).paused


async def test_what_is_due_wakes_the_reaper_no_later_than_the_next_tick(pg_world: World):
    soon = datetime.now(UTC) + timedelta(seconds=20)
    await make(pg_world, "s", every_s=3600, starts_at=soon)
    settings = pg_world.settings.model_copy(update={"reap_s": 60.0})
    database = Database(settings, size=1, session=ENGINE_SESSION)
    try:
        pause = await Reaper(settings, database, "one").round()
    finally:
        await database.aclose()
    assert 10 < pause <= 20
