"""Skills that end their processes: who is quarantined, for how long, and who is not."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from seedcore.fleet import quarantine_repository as quarantine
from seedcore.fleet.quarantine_repository import QuarantinedSkill
from seedcore.settings import Settings
from seedcore.stores.postgres import Database

pytestmark = pytest.mark.integration

Seen = tuple[str, UUID, int]


@pytest.fixture
async def database(pg_settings: Settings) -> AsyncIterator[Database]:
    database = Database(pg_settings)
    yield database
    await database.aclose()


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[asyncpg.Connection]:
    async with database.connection() as connection:
        yield connection


def running(*skills: str) -> list[Seen]:
    return [(skill, uuid4(), n) for n, skill in enumerate(skills, 1)]


async def died(
    connection: asyncpg.Connection, *skills: str, host: str = "h-0", seen: list[Seen] | None = None, **given: Any
) -> list[QuarantinedSkill]:
    limits = {"poison_after": 3, "release_s": 3600.0, **given}
    return await quarantine.record_deaths(connection, host, seen or running(*skills), **limits)


async def test_a_skill_is_quarantined_when_it_has_ended_three_processes_within_a_minute(
    connection: asyncpg.Connection,
):
    assert await died(connection, "bad", "echo") == []
    assert await died(connection, "bad", host="h-1") == []
    assert await quarantine.active(connection) == []
    (caught,) = await died(connection, "bad", host="h-2")
    assert (caught.skill, caught.deaths) == ("bad", 3)
    assert caught.reason == "it was running each time when 3 processes of h-0, h-1, h-2 ended, within 60 s"
    assert (caught.until - caught.since).total_seconds() == 3600
    assert await quarantine.active(connection) == [caught]


async def test_many_calls_in_one_process_are_one_death(connection: asyncpg.Connection):
    assert await died(connection, *["echo"] * 50) == []
    assert await died(connection, *["echo"] * 50) == []
    assert len(await died(connection, "echo", "echo")) == 1


async def test_what_is_told_twice_counts_once(connection: asyncpg.Connection):
    seen = running("bad", "bad", "bad")
    for _ in range(5):
        assert await died(connection, seen=seen) == []
        assert await died(connection, seen=list(reversed(seen))) == []
    assert await died(connection) == []


async def test_deaths_that_lie_further_apart_do_not_count_together(connection: asyncpg.Connection):
    for _ in range(2):
        await died(connection, "bad")
        await connection.execute("update seedcore.skill_deaths set at = at - interval '61 seconds'")
    assert await died(connection, "bad") == []
    assert len(await died(connection, "bad", window_s=600)) == 1


async def test_old_deaths_are_deleted(connection: asyncpg.Connection):
    await died(connection, "old")
    await connection.execute("update seedcore.skill_deaths set at = at - interval '2 days'")
    await died(connection, "new")
    assert [row["skill"] for row in await connection.fetch("select skill from seedcore.skill_deaths")] == ["new"]


async def test_two_hosts_that_report_at_once_are_both_counted(database: Database):
    async def report(host: str) -> list[QuarantinedSkill]:
        async with database.connection() as connection:
            return await died(connection, "bad", host=host)

    caught = await asyncio.gather(*(report(f"h-{n}") for n in range(3)))
    assert sorted(map(len, caught)) == [0, 0, 1]


async def test_another_death_in_quarantine_makes_it_longer_and_is_not_new(connection: asyncpg.Connection):
    for _ in range(3):
        caught = await died(connection, "bad")
    await connection.execute("update seedcore.skill_deaths set at = at - interval '10 minutes'")
    assert await died(connection, "bad", release_s=7200.0) == []
    (still,) = await quarantine.active(connection)
    assert (still.since, still.deaths, still.reason) == (caught[0].since, 4, caught[0].reason)
    assert (still.until - still.since).total_seconds() > 7199


async def test_quarantine_ends_by_time_and_may_begin_again(connection: asyncpg.Connection):
    for _ in range(3):
        await died(connection, "bad")
    await connection.execute("update seedcore.quarantined_skills set since = since - interval '1 h', until = now()")
    assert await quarantine.active(connection) == []
    assert not await quarantine.release(connection, "bad")
    await connection.execute("update seedcore.skill_deaths set at = at - interval '10 minutes'")
    for count in (0, 0, 1):
        again = await died(connection, "bad")
        assert len(again) == count
    assert (again[0].deaths, (again[0].until - again[0].since).total_seconds()) == (3, 3600)


async def test_who_releases_a_skill_forgives_its_deaths(connection: asyncpg.Connection):
    for _ in range(3):
        await died(connection, "bad", "echo")
    assert await quarantine.release(connection, "bad")
    assert not await quarantine.release(connection, "bad")
    assert [q.skill for q in await quarantine.active(connection)] == ["echo"]
    assert await died(connection, "bad") == []
