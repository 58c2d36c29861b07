"""Saving agents: all that they learned is kept, and only what changed is written."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from seedcore.errors import UnavailableError
from seedcore.fleet.agent_registry import AgentRegistry
from seedcore.fleet.agent_repository import MAX_PAUSE_S, MAX_SAVE_SHARE, REPORT_INTERVAL_S, AgentRepository, pause_after
from seedcore.settings import Settings
from seedcore.stores.postgres import Database

pytestmark = pytest.mark.integration


@pytest.fixture
async def database(pg_settings: Settings) -> AsyncIterator[Database]:
    made = Database(pg_settings)
    yield made
    await made.aclose()


@pytest.fixture
def agents(database: Database) -> AgentRepository:
    return AgentRepository(database)


async def test_an_agent_has_its_memory_back_on_its_next_host(agents: AgentRepository):
    registry = AgentRegistry("utility", ["a", "b"])
    for n in range(10):
        registry.record_outcome("a", "echo", 0.5, ok=n % 2 == 0)
    assert await agents.save("h-0", registry) == 2
    again = AgentRegistry("utility", ["a", "b", "new"])
    await agents.restore(again)
    restored, lost = again.agents["a"], registry.agents["a"]
    assert (restored.completed, restored.failed) == (5, 5)
    assert restored.rates == lost.rates
    assert (again.agents["b"].rates, again.agents["new"].completed) == ({}, 0)
    assert again.unrestored() == []


async def test_memory_is_given_back_once(agents: AgentRepository):
    registry = AgentRegistry("utility", ["a"])
    registry.record_outcome("a", "echo", 0.5, ok=True)
    await agents.save("h-0", registry)
    again = AgentRegistry("utility", ["a"])
    for _ in range(3):
        await agents.restore(again)
        await agents.save("h-1", again)
    assert again.agents["a"].completed == 1


async def test_only_what_changed_is_written(agents: AgentRepository):
    registry = AgentRegistry("utility", ["a", "b"])
    assert await agents.save("h-0", registry) == 2
    assert await agents.save("h-0", registry) == 0
    registry.accept_one("b", "echo")
    assert await agents.save("h-0", registry) == 1


async def test_an_agent_activated_on_another_host_keeps_its_history(agents: AgentRepository, database: Database):
    home = AgentRegistry("utility", ["a"])
    for _ in range(5):
        home.record_outcome("a", "echo", 1.0, ok=True)
    await agents.save("h-0", home)
    elsewhere = AgentRegistry("utility", [])
    elsewhere.accept_one("a", "echo")
    elsewhere.release("a", "echo")
    elsewhere.record_outcome("a", "echo", 1.0, ok=True)
    await agents.save("h-1", elsewhere)
    async with database.connection() as connection:
        row = await connection.fetchrow("select completed, host from seedcore.agents where id = 'a'")
    assert tuple(row) == (6, "h-1")


class Away(Database):
    """A database that never answers."""

    @asynccontextmanager
    async def connection(self, *, wait_s: float = 10.0) -> AsyncIterator[asyncpg.Connection]:
        raise UnavailableError("PostgreSQL does not answer")
        yield


async def test_what_could_not_be_written_is_written_by_the_next_report(agents: AgentRepository, settings: Settings):
    registry = AgentRegistry("utility", ["a"])
    await agents.save("h-0", registry)
    registry.record_outcome("a", "echo", 1.0, ok=True)
    with pytest.raises(UnavailableError):
        await AgentRepository(Away(settings)).save("h-0", registry)
    assert await agents.save("h-0", registry) == 1
    again = AgentRegistry("utility", ["a"])
    await agents.restore(again)
    assert again.agents["a"].completed == 1


@pytest.mark.parametrize("took", [0.0, 0.001, 0.03, 0.05, 0.5])
def test_quick_saves_come_often_and_slow_ones_take_their_share_at_most(took: float):
    pause = pause_after(took)
    assert pause >= REPORT_INTERVAL_S
    assert took / (took + pause) <= MAX_SAVE_SHARE + 1e-9
    assert pause == REPORT_INTERVAL_S or took > 0.03


def test_the_longest_pause_between_saves_is_bounded():
    assert pause_after(60.0) == MAX_PAUSE_S
