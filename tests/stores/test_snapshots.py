"""The stored snapshot: the last one of the latest Coordinator, whole or not at all."""

import pytest

from seedcore.settings import Settings
from seedcore.stores import snapshots as repository
from seedcore.stores.postgres import Database

pytestmark = pytest.mark.integration


@pytest.fixture
async def connection(pg_settings: Settings):
    database = Database(pg_settings, size=2)
    async with database.connection() as connection:
        yield connection
    await database.aclose()


async def test_every_generation_is_higher_than_the_ones_before(connection):
    found = [await repository.next_generation(connection) for _ in range(3)]
    assert found == sorted(set(found))
    assert found[0] >= 1


async def test_the_last_saved_snapshot_is_loaded_with_its_age(connection):
    assert await repository.load(connection) is None
    assert await repository.save(connection, 1, 1, 1, b"first")
    assert await repository.save(connection, 1, 2, 1, b"second")
    found = await repository.load(connection)
    assert found is not None
    assert found[:4] == (1, 2, 1, b"second")
    assert 0 <= found.age_s < 60
    await connection.execute("update seedcore.snapshots set at = now() - interval '90 seconds'")
    found = await repository.load(connection)
    assert found is not None
    assert 90 <= found.age_s < 150


async def test_a_coordinator_of_an_earlier_generation_changes_nothing(connection):
    old, new = await repository.next_generation(connection), await repository.next_generation(connection)
    assert await repository.save(connection, old, 70, 1, b"old")
    assert await repository.save(connection, new, 1, 1, b"new")
    assert not await repository.save(connection, old, 71, 1, b"old again")
    assert (await repository.load(connection))[:4] == (new, 1, 1, b"new")


@pytest.mark.parametrize("damage", ["body = substr(body, 1, 3)", "digest = '\\x00'", "body = body || '\\x20'"])
async def test_a_damaged_snapshot_counts_as_none_and_the_next_one_replaces_it(connection, damage):
    await repository.save(connection, 1, 1, 1, b"snapshot")
    await connection.execute(f"update seedcore.snapshots set {damage}")
    assert await repository.load(connection) is None
    assert await repository.save(connection, 1, 2, 1, b"whole again")
    assert (await repository.load(connection))[1] == 2


async def test_a_large_snapshot_comes_back_byte_for_byte(connection):
    body = bytes(range(256)) * 16_000
    assert await repository.save(connection, 1, 1, 1, body)
    assert (await repository.load(connection)).body == body
