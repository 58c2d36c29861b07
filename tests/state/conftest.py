"""A real database with agents in it, and the State service on it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from seedcore.fleet.agent_registry import AgentRegistry
from seedcore.fleet.agent_repository import AgentRepository
from seedcore.settings import Settings
from seedcore.state.service import StateService
from seedcore.stores.postgres import Database

Save = Callable[..., Awaitable[AgentRegistry]]


@pytest.fixture
async def database(pg_settings: Settings) -> AsyncIterator[Database]:
    made = Database(pg_settings)
    yield made
    await made.aclose()


@pytest.fixture
def save(database: Database) -> Save:
    """Write agents as their host does."""

    async def write(organ: str, host: str, ids: list[str]) -> AgentRegistry:
        book = AgentRegistry(organ, ids)
        await AgentRepository(database).save(host, book)
        return book

    return write


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[StateService]:
    """A replica."""
    made = StateService({}, settings)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


def http_to(service: StateService) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(service.build_app()), base_url="http://test")


async def execute(database: Database, statement: str, *values: Any) -> None:
    async with database.connection() as connection:
        await connection.execute(statement, *values)


@pytest.fixture
async def service(pg_settings: Settings) -> AsyncIterator[StateService]:
    async with running(pg_settings) as made:
        yield made


@pytest.fixture
def http(service: StateService) -> httpx.AsyncClient:
    return http_to(service)
