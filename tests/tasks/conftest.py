from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import asyncpg
import pytest

from seedcore.settings import Settings
from seedcore.stores.postgres import ENGINE_SESSION, Database
from seedcore.tasks import sessions


@pytest.fixture
async def database(pg_settings: Settings) -> AsyncIterator[Database]:
    database = Database(pg_settings, session=ENGINE_SESSION)
    yield database
    await database.aclose()


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[asyncpg.Connection]:
    async with database.connection() as connection:
        yield connection


@pytest.fixture
async def session(connection: asyncpg.Connection) -> UUID:
    """A dispatcher's session on the queue `default`."""
    session = uuid4()
    await sessions.open_session(connection, session, "test", "default", 60)
    return session


@pytest.fixture
async def heard(connection: asyncpg.Connection) -> AsyncIterator[list[float]]:
    """The seconds until something is due, as the reaper hears them."""
    told: list[float] = []

    def take(_connection: object, _pid: int, _channel: str, seconds: object) -> None:
        told.append(float(str(seconds)))

    await connection.add_listener("seedcore_later", take)
    yield told
    await connection.remove_listener("seedcore_later", take)
