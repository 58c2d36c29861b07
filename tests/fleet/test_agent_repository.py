"""Agents, their private memories and their hosts in PostgreSQL."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from seedcore.errors import InvalidInputError, TooLargeError, UnavailableError
from seedcore.fleet.agent_lifecycle import Stage
from seedcore.fleet.agent_memory import MAX_BYTES, MAX_KEY_BYTES, AgentMemory
from seedcore.fleet.agent_registry import AgentRegistry
from seedcore.fleet.agent_repository import AgentRepository
from seedcore.fleet.host_repository import HostRepository
from seedcore.settings import Settings
from seedcore.stores.postgres import Database
from tests.upgrade.release_0_1_0.agents import AgentBook as PreviousRegistry
from tests.upgrade.release_0_1_0.store import AgentStore as PreviousRepository
from tests.upgrade.release_0002.agents import AgentBook as OldRegistry
from tests.upgrade.release_0002.store import AgentStore as OldRepository

pytestmark = pytest.mark.integration
ROLES = {"reader": 1.0, "writer": 1.0}


class Counting(Database):
    """Counts the statements that are sent."""

    statements = 0

    @asynccontextmanager
    async def connection(self, *, wait_s: float = 10.0) -> AsyncIterator[asyncpg.Connection]:
        self.statements += 1
        async with super().connection(wait_s=wait_s) as connection:
            yield connection


@pytest.fixture
async def database(pg_settings: Settings) -> AsyncIterator[Counting]:
    made = Counting(pg_settings)
    yield made
    await made.aclose()


async def row(database: Database, statement: str, *given: Any) -> Any:
    async with database.connection() as connection:
        return await connection.fetchrow(statement, *given)


def archived(registry: AgentRegistry, agent: str) -> None:
    """Let an agent fail where another one succeeds."""
    for _ in range(60):
        for _ in range(9):
            registry.record_outcome("peer", "echo", 0.1, ok=True, role="writer")
        registry.record_outcome(agent, "echo", 0.1, ok=False)


async def test_all_that_an_agent_is_comes_back_on_its_next_host(database: Counting):
    registry = AgentRegistry("utility", role_weights=ROLES)
    archived(registry, "a")
    registry.set_memory_scope("a", "a")
    await AgentRepository(database).save("h-0", registry)
    again = AgentRegistry("utility", role_weights=ROLES)
    again.activate(["a", "peer"])
    await AgentRepository(database).restore(again)
    for agent in ("a", "peer"):
        before, after = registry.agents[agent], again.agents[agent]
        assert (after.stage, after.record, after.roles) == (before.stage, before.record, before.roles)
        assert (after.completed, after.failed, after.rates) == (before.completed, before.failed, before.rates)
    assert again.agents["a"].stage is Stage.ARCHIVED
    assert (again.agents["a"].memory, again.agents["peer"].memory) == ("a", None)


async def test_a_row_tells_probabilities_of_roles_only_where_there_are_roles(database: Counting):
    for organ, roles in (("with", ROLES), ("without", None)):
        registry = AgentRegistry(organ, role_weights=roles)
        registry.record_outcome(f"{organ}-0000", "echo", 0.1, ok=True, role="reader")
        await AgentRepository(database).save("h-0", registry)
    found = await row(database, "select roles, role_counts from seedcore.agents where id = 'with-0000'")
    probabilities = json.loads(found["roles"])
    assert sum(probabilities.values()) == pytest.approx(1)
    assert probabilities["reader"] > probabilities["writer"]
    assert json.loads(found["role_counts"]) == {"reader": 1.0}
    found = await row(database, "select roles, role_counts from seedcore.agents where id = 'without-0000'")
    assert tuple(found) == (None, None)


async def test_a_batch_of_unknown_agents_takes_one_query_and_one_write(database: Counting):
    registry = AgentRegistry("utility")
    registry.accept((f"a-{n}", "echo") for n in range(1000))
    store = AgentRepository(database)
    await store.restore(registry)
    assert database.statements == 1
    assert await store.save("h-0", registry) == 1000
    assert database.statements == 2


async def test_twenty_thousand_agents_are_activated_saved_and_put_to_sleep_in_a_bounded_memory(database: Counting):
    store, registry = AgentRepository(database), AgentRegistry("utility", capacity=2000)
    for start in range(0, 20_000, 5000):
        tasks = [(f"a-{n}", "echo") for n in range(start, start + 5000)]
        registry.accept(tasks)
        for agent, kind in tasks:
            registry.finish(agent, kind, 0.1, ok=True)
        await store.save("h-0", registry)
        registry.sleep()
        assert len(registry.agents) <= 2000
    found = await row(database, "select count(*), sum(completed)::int from seedcore.agents")
    assert tuple(found) == (20_000, 20_000)
    registry.record_outcome("a-0", "echo", 0.1, ok=True)
    await store.save("h-0", registry)
    assert (await row(database, "select completed from seedcore.agents where id = 'a-0'"))[0] == 2


class Away(Database):
    """A database that never answers."""

    @asynccontextmanager
    async def connection(self, *, wait_s: float = 10.0) -> AsyncIterator[asyncpg.Connection]:
        raise UnavailableError("PostgreSQL does not answer")
        yield


async def test_while_the_database_is_away_agents_work_and_learn_and_none_is_put_to_sleep(
    database: Counting, pg_settings: Settings
):
    first = AgentRegistry("utility")
    first.record_outcome("a", "echo", 0.1, ok=True)
    await AgentRepository(database).save("h-0", first)
    registry = AgentRegistry("utility", capacity=1, idle_s=0.001)
    registry.record_outcome("a", "echo", 0.1, ok=True)
    registry.record_outcome("b", "echo", 0.1, ok=True)
    with pytest.raises(UnavailableError):
        await AgentRepository(Away(pg_settings)).save("h-1", registry)
    assert registry.sleep(time.monotonic() + 100) == 0
    await AgentRepository(database).save("h-1", registry)
    assert (await row(database, "select completed, host from seedcore.agents where id = 'a'"))[:] == (2, "h-1")
    assert registry.sleep(time.monotonic() + 100) == 2


async def test_an_agent_that_another_organ_had_takes_its_memory_along(database: Counting):
    """The routing table says where an agent lives: it moves when organs are merged or split."""
    old = AgentRegistry("utility")
    old.record_outcome("utility-0001", "echo", 0.1, ok=True)
    await AgentRepository(database).save("h-0", old)
    new = AgentRegistry("ml")
    new.record_outcome("utility-0001", "echo", 0.1, ok=True)
    await AgentRepository(database).save("h-1", new)
    found = await row(database, "select organ, host, completed from seedcore.agents")
    assert tuple(found) == ("ml", "h-1", 2)


async def test_a_stage_that_a_newer_release_wrote_is_a_beginners(database: Counting):
    registry = AgentRegistry("utility", ["a"])
    await AgentRepository(database).save("h-0", registry)
    await row(database, "update seedcore.agents set lifecycle = 'emeritus' returning id")
    again = AgentRegistry("utility", ["a"])
    await AgentRepository(database).restore(again)
    assert again.agents["a"].stage is Stage.SCOUT


async def test_the_release_before_writes_beside_this_one_and_takes_nothing_away(database: Counting):
    registry = AgentRegistry("utility", role_weights=ROLES)
    archived(registry, "a")
    registry.set_memory_scope("a", "a")
    await AgentRepository(database).save("h-0", registry)
    old = OldRegistry("utility", ["a", "old"])
    old.learned("a", "echo", 0.1, ok=True)
    await OldRepository(database).save("h-1", old)
    again = AgentRegistry("utility", role_weights=ROLES)
    again.activate(["a", "old"])
    await AgentRepository(database).restore(again)
    agent = again.agents["a"]
    assert (agent.completed, agent.failed, agent.memory, agent.stage) == (1, 60, "a", Stage.ARCHIVED)
    assert agent.record == registry.agents["a"].record
    assert again.agents["old"].stage is Stage.SCOUT


async def test_hosts_of_release_0_1_0_count_into_the_record_that_this_one_reads(database: Counting):
    registry = AgentRegistry("utility", role_weights=ROLES)
    archived(registry, "a")
    await AgentRepository(database).save("h-0", registry)
    previous = PreviousRegistry("utility", ["a", "new"])
    previous.learned("a", "echo", 0.1, ok=True)
    await PreviousRepository(database).save("h-1", previous)
    again = AgentRegistry("utility", role_weights=ROLES)
    again.activate(["a", "new"])
    await AgentRepository(database).restore(again)
    agent, before = again.agents["a"], registry.agents["a"]
    assert (agent.completed, agent.failed, agent.stage) == (1, 60, Stage.ARCHIVED)
    assert agent.record is not None
    assert before.record is not None
    assert before.record.outcomes < agent.record.outcomes <= before.record.outcomes + 1
    assert again.agents["new"].stage is Stage.SCOUT


@pytest.fixture
def registry() -> AgentRegistry:
    return AgentRegistry("utility")


async def test_what_an_agent_stores_is_its_own_and_outlives_its_host(database: Counting, registry: AgentRegistry):
    mine, other = AgentMemory(database, registry, "a"), AgentMemory(database, registry, "b")
    await mine.set("k", {"ü": [1, None]})
    await mine.set("k", {"ü": [2]})
    assert await AgentMemory(database, AgentRegistry("utility"), "a").get("k") == {"ü": [2]}
    assert await other.get("k") is None
    assert await other.get("k", 5) == 5
    assert (registry.agents["a"].memory, "b" in registry.agents) == ("a", False)
    assert await mine.delete("k") is True
    assert await mine.delete("k") is False


async def test_a_memory_is_bounded_for_each_agent(database: Counting, registry: AgentRegistry):
    memory = AgentMemory(database, registry, "a")
    for n in range(4):
        await memory.set(f"k-{n}", "x" * (MAX_BYTES // 4 - 16))
    with pytest.raises(TooLargeError, match="delete some"):
        await memory.set("one more", "x" * 100)
    await memory.set("k-0", "x" * (MAX_BYTES // 4 - 16))
    await memory.delete("k-0")
    await memory.set("one more", "x" * 100)
    await AgentMemory(database, registry, "b").set("k", "x" * 1000)


@pytest.mark.parametrize("value", [float("nan"), object(), "a\0b", {1, 2}, "\ud800"])
async def test_what_is_no_json_is_refused(database: Counting, registry: AgentRegistry, value: Any):
    with pytest.raises(InvalidInputError, match="value"):
        await AgentMemory(database, registry, "a").set("k", value)


@pytest.mark.parametrize("key", ["", "x" * (MAX_KEY_BYTES + 1), "\ud800", "a\0b"])
async def test_a_bad_key_is_refused(database: Counting, registry: AgentRegistry, key: str):
    memory = AgentMemory(database, registry, "a")
    for use in (memory.get(key), memory.set(key, 1), memory.delete(key)):
        with pytest.raises(InvalidInputError, match="key"):
            await use


async def test_a_host_tells_how_it_is_and_its_next_process_why_the_last_one_ended(database: Counting):
    host = HostRepository(database, "h-0", "utility")
    await host.begin()
    assert host.last_end is None
    await host.save_status({"agents": 3})
    await host.record_end({"reason": "blocked", "task_id": "t-1"})
    after = HostRepository(database, "h-0", "utility")
    await after.begin()
    assert after.last_end is not None
    assert (after.last_end["reason"], after.last_end["task_id"]) == ("blocked", "t-1")
    assert after.last_end["at"]
    await after.save_status({"agents": 0})
    found = await row(database, "select status, ended from seedcore.hosts")
    assert json.loads(found["status"]) == {"agents": 0}
    assert json.loads(found["ended"])["reason"] == "blocked"


async def test_a_host_that_ends_before_its_first_report_tells_why_all_the_same(database: Counting):
    await HostRepository(database, "h-0", "utility").record_end({"reason": "blocked"})
    after = HostRepository(database, "h-0", "utility")
    await after.begin()
    assert after.last_end is not None


async def test_what_a_dead_process_had_in_hand_is_in_hand_no_more(database: Counting):
    for host in ("h-0", "h-1"):
        registry = AgentRegistry("utility")
        registry.accept_one(f"agent-of-{host}", "echo")
        await AgentRepository(database).save(host, registry)
    await HostRepository(database, "h-0", "utility").begin()
    async with database.connection() as connection:
        rows = await connection.fetch("select host, running, queued_s > 0 from seedcore.agents order by host")
    assert [tuple(r) for r in rows] == [("h-0", 0, False), ("h-1", 1, True)]
