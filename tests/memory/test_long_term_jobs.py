import asyncio

import pytest

from seedcore.llm.embedding.embedder import make_embedder
from seedcore.memory.facts.fact import FactDraft
from seedcore.memory.facts.fact_store import FactStore
from seedcore.memory.long_term.store import MemoryStore
from seedcore.memory.long_term_jobs import SCHEDULE, LongTermJobs
from seedcore.settings import Settings, load_settings
from seedcore.stores.leading.leader_loop import LeaderLoop
from seedcore.stores.postgres import Database
from seedcore.tasks.schedules import repository


@pytest.fixture
def jobs(pg_settings: Settings, database: Database) -> LongTermJobs:
    return jobs_of(pg_settings, database)


def jobs_of(settings: Settings, database: Database) -> LongTermJobs:
    embedder = make_embedder(settings, database)
    return LongTermJobs(settings, database, embedder, MemoryStore(database, embedder))


async def test_the_leader_remembers_what_the_database_says(
    jobs: LongTermJobs, database: Database, store: MemoryStore
) -> None:
    await FactStore(database).add(FactDraft("lamp", "is", "red"), "default")
    leader = LeaderLoop(database, "memory", jobs.jobs())
    leader.start()
    async with asyncio.timeout(30):
        while (await jobs.health())["waiting"]:
            await asyncio.sleep(0.05)
    [found] = await store.search("red lamp")
    assert found.source == "fact"
    assert leader.health() == {"leads": True, "failing": {}}
    await leader.stop()
    health = await jobs.health()
    assert "fallback" not in health


async def test_consolidation_has_a_schedule_of_seedcores_own(jobs: LongTermJobs, database: Database) -> None:
    await jobs.keep_schedule()
    await jobs.keep_schedule()
    async with database.connection() as connection:
        made = await repository.get(connection, SCHEDULE, "default")
        assert (made.type, made.every_s, made.paused) == ("memory.consolidate", 86_400.0, False)
        await repository.pause(connection, SCHEDULE, "default")
    await jobs.keep_schedule()
    async with database.connection() as connection:
        assert (await repository.get(connection, SCHEDULE, "default")).paused


async def test_another_rhythm_changes_the_schedule(
    jobs: LongTermJobs, pg_settings: Settings, database: Database
) -> None:
    await jobs.keep_schedule()
    jobs._settings = pg_settings.model_copy(update={"memory_consolidate_every_s": 3600.0})
    await jobs.keep_schedule()
    async with database.connection() as connection:
        assert (await repository.get(connection, SCHEDULE, "default")).every_s == 3600.0


async def test_health_says_that_vectors_are_missing(jobs: LongTermJobs, database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute("drop table seedcore.memory_vectors")
    health = await jobs.health()
    assert (health["fallback"], health["degraded"]) == ("memory_without_vectors", True)


async def test_health_answers_without_a_database(tmp_path) -> None:
    settings = load_settings(data_dir=tmp_path, pg_dsn="postgresql://nobody@127.0.0.1:9/none")
    database = Database(settings)
    async with asyncio.timeout(10):
        assert "reason" in await jobs_of(settings, database).health()
    await database.aclose()


test_health_answers_without_a_database = pytest.mark.integration(test_health_answers_without_a_database)
