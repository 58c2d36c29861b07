from collections.abc import AsyncIterator

import pytest

from seedcore.errors import NotFoundError, UnavailableError
from seedcore.ml.registry import aliases
from seedcore.ml.registry.aliases import AliasCache, clear_alias, set_alias
from seedcore.settings import Settings
from seedcore.stores.postgres import Database


@pytest.fixture
async def database(pg_settings: Settings) -> AsyncIterator[Database]:
    database = Database(pg_settings)
    yield database
    await database.aclose()


@pytest.fixture
async def cache(database: Database) -> AsyncIterator[AliasCache]:
    cache = AliasCache(database)
    yield cache
    await cache.aclose()


async def champion(database: Database, version: int) -> None:
    async with database.transaction() as connection:
        await set_alias(connection, "m", "champion", version, set_by="ann", reason="better")


async def execute(database: Database, statement: str) -> None:
    async with database.connection() as connection:
        await connection.execute(statement)


async def test_without_a_champion_the_newest_is_asked_for(cache: AliasCache) -> None:
    assert await cache.resolve("m", None, None) is None


async def test_the_champion_answers_by_default(cache: AliasCache, database: Database) -> None:
    await champion(database, 3)
    assert await cache.resolve("m", None, None) == 3
    assert await cache.resolve("m", None, "champion") == 3
    assert await cache.resolve("m", None, "latest") is None
    assert await cache.resolve("m", 7, None) == 7


async def test_an_alias_that_a_name_lacks_is_not_found(cache: AliasCache, database: Database) -> None:
    await champion(database, 3)
    with pytest.raises(NotFoundError, match="has no candidate"):
        await cache.resolve("m", None, "candidate")


async def test_a_change_is_seen_when_the_last_read_is_old(
    cache: AliasCache, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await champion(database, 1)
    assert await cache.resolve("m") == 1
    await champion(database, 2)
    assert await cache.resolve("m") == 1
    monkeypatch.setattr(aliases, "REFRESH_S", 0.0)
    assert await cache.resolve("m") == 2


async def test_renewing_reads_at_once(cache: AliasCache, database: Database) -> None:
    assert await cache.resolve("m") is None
    await champion(database, 2)
    await cache.renew()
    assert await cache.resolve("m") == 2


async def test_an_alias_is_set_and_cleared_with_its_transaction(cache: AliasCache, database: Database) -> None:
    await champion(database, 1)
    async with database.connection() as connection:
        undone = connection.transaction()
        await undone.start()
        assert await clear_alias(connection, "m", "champion") == 1
        await undone.rollback()
    assert await cache.resolve("m") == 1
    async with database.transaction() as connection:
        assert await clear_alias(connection, "m", "champion") == 1
        assert await clear_alias(connection, "m", "champion") is None
    await cache.renew()
    assert await cache.resolve("m") is None


async def test_open_promotions_are_shadows(cache: AliasCache, database: Database) -> None:
    async with database.transaction() as connection:
        promotion = await connection.fetchval(
            "insert into seedcore.promotions (name, candidate, status) values ('m', 2, 'shadowing') returning id::text"
        )
        await set_alias(connection, "m", "candidate", 2)
    shadow = (await cache.current()).shadows["m"]
    assert (shadow.promotion, shadow.candidate) == (promotion, 2)


async def test_known_aliases_answer_while_the_database_fails(
    cache: AliasCache, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await champion(database, 4)
    assert await cache.resolve("m") == 4
    assert cache.stale is None
    await execute(database, "alter table seedcore.model_generation rename to away")
    monkeypatch.setattr(aliases, "REFRESH_S", 0.0)
    assert await cache.resolve("m") == 4
    assert cache.stale is not None
    await execute(database, "alter table seedcore.away rename to model_generation")
    await cache.renew()
    assert cache.stale is None


async def test_aliases_that_were_never_read_are_unavailable(cache: AliasCache, database: Database) -> None:
    await execute(database, "alter table seedcore.model_generation rename to away")
    with pytest.raises(UnavailableError, match="aliases"):
        await cache.resolve("m")
