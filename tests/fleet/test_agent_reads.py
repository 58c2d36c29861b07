"""Reads of the table `agents` for other rooms."""

from collections.abc import AsyncIterator

import pytest

from seedcore.fleet import agent_reads
from seedcore.fleet.agent_registry import AgentRegistry
from seedcore.fleet.agent_repository import AgentRepository
from seedcore.settings import Settings
from seedcore.stores.postgres import Database

pytestmark = pytest.mark.integration


@pytest.fixture
async def database(pg_settings: Settings) -> AsyncIterator[Database]:
    made = Database(pg_settings)
    yield made
    await made.aclose()


async def test_changes_work_and_hosts_are_read_as_hosts_wrote_them(database: Database):
    registry = AgentRegistry("utility", ["a", "b"])
    registry.accept_one("a", "echo")
    registry.record_outcome("a", "echo", 2.0, ok=True)
    await AgentRepository(database).save("h-0", registry)
    async with database.connection() as connection:
        first = await agent_reads.changed_since(connection, 0)
        assert sorted((row.id, row.host, row.lifecycle) for row in first) == [
            ("a", "h-0", "scout"),
            ("b", "h-0", "scout"),
        ]
        assert await agent_reads.changed_since(connection, first[-1].seq) == []
        (work,) = await agent_reads.work_of(connection, ["a"], ["h-0"])
        assert (work.running, work.completed, work.failed) == (1, 1, 0)
        assert await agent_reads.work_of(connection, ["a"], ["h-1"]) == []
        assert await agent_reads.hosts_of(connection, ["a", "unknown"]) == {"a": "h-0"}


async def test_only_agents_without_work_are_put_to_sleep(database: Database):
    registry = AgentRegistry("utility", ["busy", "idle"])
    registry.accept_one("busy", "echo")
    await AgentRepository(database).save("h-0", registry)
    async with database.connection() as connection:
        await agent_reads.put_to_sleep(connection, ["busy", "idle"])
        assert await agent_reads.hosts_of(connection, ["busy", "idle"]) == {"busy": "h-0", "idle": ""}
