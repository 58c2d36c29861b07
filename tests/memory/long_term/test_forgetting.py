import pytest

from seedcore.memory.long_term.forgetting import Forgetting, Forgotten
from seedcore.memory.long_term.items import NewMemory
from seedcore.memory.long_term.store import MemoryStore
from seedcore.settings import Settings
from seedcore.stores.postgres import Database


async def age(database: Database, days: float, text: str, **columns: int) -> None:
    changes = "".join(f", {name} = {value}" for name, value in columns.items())
    async with database.connection() as connection:
        await connection.execute(
            f"update seedcore.memories set used_at = now() - make_interval(secs => 86400 * $1){changes} "
            "where text = $2",
            days,
            text,
        )


async def texts(database: Database) -> set[str]:
    async with database.connection() as connection:
        return {row["text"] for row in await connection.fetch("select text from seedcore.memories")}


@pytest.fixture
def forgetting(database: Database, pg_settings: Settings) -> Forgetting:
    return Forgetting(database, pg_settings.model_copy(update={"memory_max_items": 3}))


async def test_what_has_faded_is_forgotten_the_least_salient_first(
    store: MemoryStore, database: Database, forgetting: Forgetting
) -> None:
    for text, salience in (("dull", 0.1), ("vital", 1.0), ("fresh and dull", 0.0)):
        await store.remember([NewMemory(text, salience=salience)])
    await age(database, 60, "dull")
    await age(database, 60, "vital")
    assert await forgetting.run() == Forgotten(faded=1, over=0)
    assert await texts(database) == {"vital", "fresh and dull"}
    assert await store.search("dull", 1) != []


async def test_what_was_found_often_fades_more_slowly(
    store: MemoryStore, database: Database, forgetting: Forgetting
) -> None:
    for text in ("once", "often"):
        await store.remember([NewMemory(text)])
    await age(database, 150, "once")
    await age(database, 150, "often", uses=20)
    assert (await forgetting.run()).faded == 1
    assert await texts(database) == {"often"}


async def test_a_fact_does_not_fade(store: MemoryStore, database: Database, forgetting: Forgetting) -> None:
    await store.remember([NewMemory("water is wet", source="fact", source_id="1", salience=0.1)])
    await age(database, 3000, "water is wet")
    assert await forgetting.run() == Forgotten(0, 0)


async def test_over_the_bound_the_weakest_of_that_tenant_go(
    store: MemoryStore, database: Database, forgetting: Forgetting
) -> None:
    await store.remember([NewMemory(f"acme {n}", "acme", salience=n / 10) for n in range(1, 7)])
    await store.remember([NewMemory("other", "other", salience=0.1)])
    assert await forgetting.run() == Forgotten(faded=0, over=3)
    assert await texts(database) == {"acme 4", "acme 5", "acme 6", "other"}


async def test_vectors_go_with_their_memories(store: MemoryStore, database: Database, forgetting: Forgetting) -> None:
    await store.remember([NewMemory("dull", salience=0.1)])
    await age(database, 400, "dull")
    await forgetting.run()
    async with database.connection() as connection:
        assert await connection.fetchval("select count(*) from seedcore.memory_vectors") == 0
