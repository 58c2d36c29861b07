"""One process at a time has a role, until its time is over or it resigns."""

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import asyncpg
import pytest

from seedcore.settings import Settings
from seedcore.stores.leading.leadership import Role, begin_period, is_led, lead, led_roles, resign
from seedcore.stores.postgres import Database

pytestmark = pytest.mark.integration


@pytest.fixture
async def connection(pg_settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    database = Database(pg_settings, name="test")
    async with database.connection() as connection:
        yield connection
    await database.aclose()


async def leads(connection: asyncpg.Connection, owner: UUID, seconds: float, role: Role = "reaper") -> bool:
    return await connection.fetchval(f"{lead(role)} returning owner", owner, seconds) == owner


async def led(connection: asyncpg.Connection, role: Role = "reaper") -> bool:
    return bool(await connection.fetchval(f"select {is_led(role)}"))


async def test_the_first_leads_and_stays_and_others_do_not(connection: asyncpg.Connection):
    one, other = uuid4(), uuid4()
    assert not await led(connection)
    assert await leads(connection, one, 60)
    assert not await leads(connection, other, 60)
    assert await leads(connection, one, 60)
    assert await led(connection)


async def test_another_leads_when_the_time_is_over(connection: asyncpg.Connection):
    one, other = uuid4(), uuid4()
    assert await leads(connection, one, 0)
    assert not await led(connection)
    assert await leads(connection, other, 60)
    assert not await leads(connection, one, 60)


async def test_another_leads_at_once_after_a_resignation(connection: asyncpg.Connection):
    one, other = uuid4(), uuid4()
    assert await leads(connection, one, 60)
    await resign(connection, "reaper", other)
    assert not await leads(connection, other, 60)
    await resign(connection, "reaper", one)
    assert await leads(connection, other, 60)


async def test_roles_have_leaders_of_their_own(connection: asyncpg.Connection):
    assert await leads(connection, uuid4(), 60)
    assert not await led(connection, "flywheel")
    assert await leads(connection, uuid4(), 60, "flywheel")


async def test_a_period_is_begun_once_and_the_first_call_begins_the_first(connection: asyncpg.Connection):
    one, other = uuid4(), uuid4()
    assert not await begin_period(connection, "flywheel", one, 0)
    assert await begin_period(connection, "flywheel", other, 60)
    assert not await begin_period(connection, "flywheel", one, 60)
    assert not await begin_period(connection, "flywheel", other, 60)


async def test_a_role_that_nobody_has_any_more_shows_as_not_led(connection: asyncpg.Connection):
    assert await led_roles(connection) == {"models": False, "reaper": False}
    one, other = uuid4(), uuid4()
    assert await leads(connection, one, 60, "models")
    assert await leads(connection, other, 60, "reaper")
    assert await led_roles(connection) == {"models": True, "reaper": True}
    await resign(connection, "models", one)
    await connection.execute("update seedcore.leaders set expires_at = now() where role = 'reaper'")
    assert await led_roles(connection) == {"models": False, "reaper": False}
