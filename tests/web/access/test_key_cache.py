"""The cache of stored keys: how often the database is asked, and what happens while it is away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from seedcore.errors import UnauthorizedError, UnavailableError
from seedcore.settings import Settings
from seedcore.stores.postgres import Database
from seedcore.web.access import key_cache
from seedcore.web.access.key_cache import FRESH_S, GRACE_S, IDLE_S, KeyCache, KnownKeyRefusedError
from seedcore.web.access.key_repository import NewKey, create_key, find_keys, revoke_key
from seedcore.web.access.key_secret import hash_of

pytestmark = pytest.mark.integration


class CountedDatabase(Database):
    """A pool that counts, and that can be away."""

    asked = 0
    away = False

    @asynccontextmanager
    async def connection(self, *, wait_s: float = 10.0) -> AsyncIterator[Any]:
        self.asked += 1
        if self.away:
            raise UnavailableError("PostgreSQL does not answer.")
        async with super().connection(wait_s=wait_s) as connection:
            yield connection


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def database(pg_settings: Settings) -> AsyncIterator[CountedDatabase]:
    made = CountedDatabase(pg_settings, size=2)
    yield made
    await made.aclose()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def cache(database: CountedDatabase, clock: Clock) -> AsyncIterator[KeyCache]:
    made = KeyCache(lambda: database, clock)
    yield made
    await made.aclose()


async def stored(database: Database, name: str = "ci", **given: Any) -> bytes:
    async with Database.connection(database) as connection:
        _, secret = await create_key(connection, NewKey(name, None, ("read",), True, **given), "test")
    return hash_of(secret.encode())


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read again in the background."""
    monkeypatch.setattr(key_cache, "REFRESH_S", 3600.0)


async def settled(database: CountedDatabase) -> None:
    """Until the background has noted the first use."""
    async with asyncio.timeout(10):
        while True:
            async with Database.connection(database) as connection:
                if await connection.fetchval("select last_used_at is not null from seedcore.api_keys limit 1"):
                    return
            await asyncio.sleep(0.01)


async def use_until_refused(cache: KeyCache, digest: bytes) -> None:
    async with asyncio.timeout(10):
        while True:
            await cache.find(digest)
            await asyncio.sleep(0.01)


async def test_a_known_key_costs_no_query(cache: KeyCache, database: CountedDatabase, still: None):
    digest = await stored(database)
    await cache.find(digest)
    await settled(database)
    before = database.asked
    for _ in range(1000):
        assert (await cache.find(digest)).name == "ci"
    assert database.asked == before


async def test_keys_that_come_together_share_a_query(cache: KeyCache, database: CountedDatabase, still: None):
    digests = [await stored(database, f"k{n}") for n in range(50)]
    unknown = [bytes([n]) * 32 for n in range(50)]
    answers = await asyncio.gather(*(cache.find(d) for d in [*digests, *unknown]), return_exceptions=True)
    assert [getattr(answer, "name", None) for answer in answers[:50]] == [f"k{n}" for n in range(50)]
    assert all(isinstance(answer, UnauthorizedError) for answer in answers[50:])
    # One for the keys; the background reads once and notes the use.
    assert database.asked <= 3


async def test_a_key_in_use_is_read_again_before_anyone_has_to_wait(cache: KeyCache, database: CountedDatabase):
    digest = await stored(database)
    await cache.find(digest)
    async with Database.connection(database) as connection:
        await revoke_key(connection, "ci", None)
    loop = asyncio.get_running_loop()
    began = loop.time()
    # The clock stands still: only the background can find out.
    with pytest.raises(KnownKeyRefusedError, match="revoked"):
        await use_until_refused(cache, digest)
    assert loop.time() - began < 1.0


async def test_a_stale_key_is_looked_up_before_it_is_used(
    cache: KeyCache, database: CountedDatabase, clock: Clock, still: None
):
    digest = await stored(database)
    await cache.find(digest)
    async with Database.connection(database) as connection:
        await revoke_key(connection, "ci", None)
    clock.now += FRESH_S + 0.1
    with pytest.raises(KnownKeyRefusedError, match="revoked"):
        await cache.find(digest)


async def test_a_key_expires_by_the_clock_without_a_query(
    cache: KeyCache, database: CountedDatabase, clock: Clock, still: None
):
    digest = await stored(database, expires_in_s=0.7)
    await cache.find(digest)
    database.away = True
    clock.now += 0.75
    with pytest.raises(KnownKeyRefusedError, match="expired"):
        await cache.find(digest)


async def test_while_the_database_is_away_known_keys_go_on_for_half_a_minute(
    cache: KeyCache, database: CountedDatabase, clock: Clock, still: None
):
    digest = await stored(database)
    await cache.find(digest)
    await settled(database)
    database.away = True
    began = clock.now
    for after in (1.0, 10.0, GRACE_S - 0.5):
        clock.now = began + after
        assert (await cache.find(digest)).name == "ci"
    with pytest.raises(UnavailableError):
        await cache.find(hash_of(b"another"))
    clock.now = began + GRACE_S + 0.5
    with pytest.raises(UnavailableError) as caught:
        await cache.find(digest)
    assert caught.value.status == 503
    database.away = False
    assert (await cache.find(digest)).name == "ci"


async def test_last_use_is_noted_at_most_once_a_minute(
    cache: KeyCache, database: CountedDatabase, clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(key_cache, "REFRESH_S", 0.01)
    digest = await stored(database)
    await cache.find(digest)
    await settled(database)
    async with Database.connection(database) as connection:
        await connection.execute("update seedcore.api_keys set last_used_at = 'epoch'")
        before = database.asked
        while database.asked < before + 5:
            await cache.find(digest)
            await asyncio.sleep(0.01)
        assert await connection.fetchval("select last_used_at = 'epoch' from seedcore.api_keys")
        clock.now += 61
        await cache.find(digest)
        async with asyncio.timeout(10):
            while await connection.fetchval("select last_used_at = 'epoch' from seedcore.api_keys"):
                await asyncio.sleep(0.01)


async def test_a_key_that_nobody_uses_is_forgotten(
    cache: KeyCache, database: CountedDatabase, clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(key_cache, "REFRESH_S", 0.01)
    await cache.find(await stored(database))
    task = cache._refreshing
    clock.now += IDLE_S + 1
    assert task is not None
    async with asyncio.timeout(10):
        await task
    assert cache._entries == {}


async def test_what_was_read_before_a_change_is_read_again(
    cache: KeyCache, database: CountedDatabase, clock: Clock, still: None, monkeypatch: pytest.MonkeyPatch
):
    digest = await stored(database)
    read, go_on = asyncio.Event(), asyncio.Event()

    async def slow(*args: Any) -> Any:
        found = await find_keys(*args)
        read.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(key_cache, "find_keys", slow)
    first = asyncio.create_task(cache.find(digest))
    async with asyncio.timeout(10):
        await read.wait()
        async with Database.connection(database) as connection:
            await revoke_key(connection, "ci", None)
        clock.now += 0.1
        cache.forget()
        go_on.set()
        assert (await first).name == "ci", "it came before the change"
        with pytest.raises(KnownKeyRefusedError, match="revoked"):
            await cache.find(digest)
