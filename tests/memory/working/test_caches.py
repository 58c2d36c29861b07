"""One behaviour, two caches: in the process, and in Redis."""

import asyncio
import inspect
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from seedcore.errors import UnavailableError
from seedcore.memory.working.process_cache import CacheUse, ProcessCache
from seedcore.memory.working.redis_cache import RedisCache
from seedcore.settings import load_settings
from seedcore.stores.redis import redis_client


class EitherCache:
    """Both caches behind one face: that of the process needs no waiting."""

    def __init__(self, cache: ProcessCache | RedisCache) -> None:
        self.cache = cache

    async def _call(self, name: str, *arguments: object) -> Any:
        answer = getattr(self.cache, name)(*arguments)
        return await answer if inspect.isawaitable(answer) else answer

    async def get(self, key: str) -> bytes | None:
        found: bytes | None = await self._call("get", key)
        return found

    async def set(self, key: str, payload: bytes, ttl_s: float = 60.0) -> None:
        await self._call("set", key, payload, ttl_s)

    async def delete(self, key: str) -> bool:
        return bool(await self._call("delete", key))

    async def use(self) -> CacheUse:
        found: CacheUse = await self._call("use")
        return found


Make = Callable[[int], EitherCache]


@pytest.fixture(params=["process", pytest.param("redis", marks=pytest.mark.integration)])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    made: list[EitherCache] = []

    def build(max_bytes: int = 10_000) -> EitherCache:
        if request.param == "process":
            made.append(EitherCache(ProcessCache(max_bytes)))
        else:
            settings = load_settings(redis_url=request.getfixturevalue("redis_url"))
            made.append(EitherCache(RedisCache(redis_client(settings), uuid.uuid4().hex, max_bytes)))
        return made[-1]

    yield build
    for either in made:
        if isinstance(either.cache, RedisCache):
            await either.cache.close()


async def test_what_was_set_is_got_and_what_was_not_is_none(make: Make) -> None:
    cache = make(10_000)
    await cache.set("k", b"\0\xff")
    assert await cache.get("k") == b"\0\xff"
    assert await cache.get("absent") is None


async def test_setting_again_replaces_value_and_time_to_live(make: Make) -> None:
    cache = make(10_000)
    await cache.set("k", b"a" * 100, 0.02)
    await cache.set("k", b"b")
    await asyncio.sleep(0.03)
    assert await cache.get("k") == b"b"
    assert (await cache.use()).bytes == len(b"kb")


async def test_a_value_is_gone_after_its_time_to_live(make: Make) -> None:
    cache = make(10_000)
    await cache.set("short", b"1", 0.02)
    await cache.set("long", b"2", 60)
    await asyncio.sleep(0.03)
    assert await cache.get("short") is None
    assert await cache.get("long") == b"2"
    use = await cache.use()
    assert (use.entries, use.bytes) == (1, len(b"long2"))


async def test_delete_says_whether_there_was_something(make: Make) -> None:
    cache = make(10_000)
    await cache.set("k", b"1")
    assert await cache.delete("k") is True
    assert await cache.delete("k") is False
    await cache.set("k", b"1", 0.01)
    await asyncio.sleep(0.02)
    assert await cache.delete("k") is False
    assert (await cache.use()).bytes == 0


async def test_over_the_bound_the_least_recently_used_go_first(make: Make) -> None:
    cache = make(1000)
    for name in "abc":
        await cache.set(name, b"x" * 299)
    assert await cache.get("a") is not None
    await cache.set("d", b"x" * 299)
    assert await cache.get("b") is None
    assert [await cache.get(name) is not None for name in "acd"] == [True, True, True]
    use = await cache.use()
    assert (use.entries, use.bytes) == (3, 900)


async def test_expired_values_make_room_before_live_ones(make: Make) -> None:
    cache = make(1000)
    await cache.set("live", b"x" * 297)
    await cache.set("short", b"x" * 597, 0.02)
    await asyncio.sleep(0.03)
    await cache.set("new", b"x" * 597)
    assert await cache.get("live") is not None


async def test_many_writes_never_exceed_the_bound(make: Make) -> None:
    cache = make(5000)
    for i in range(300):
        await cache.set(f"key-{i % 50}", b"y" * (i % 200), 0.001 + (i % 3))
        if i % 50 == 0:
            assert (await cache.use()).bytes <= 5000
    use = await cache.use()
    assert 0 < use.bytes <= use.max_bytes == 5000
    if isinstance(cache.cache, ProcessCache):
        assert len(cache.cache._expiries) <= 2 * len(cache.cache._entries) + 65


async def test_a_value_over_the_bound_is_not_kept_nor_is_the_old_one(make: Make) -> None:
    cache = make(1000)
    await cache.set("other", b"1")
    await cache.set("k", b"1")
    await cache.set("k", b"x" * 1000)
    assert await cache.get("k") is None
    assert await cache.get("other") == b"1"


@pytest.mark.integration
async def test_redis_survives_a_flush_of_values_and_scripts(redis_url: str) -> None:
    cache = RedisCache(redis_client(load_settings(redis_url=redis_url)), uuid.uuid4().hex, 1000)
    await cache.set("k", b"1", 60)
    await cache._client.flushall()
    await cache._client.script_flush()
    await cache.set("k", b"2", 60)
    assert await cache.get("k") == b"2"
    await cache.close()


@pytest.mark.integration
async def test_a_redis_that_is_away_is_named_without_its_password() -> None:
    cache = RedisCache(redis_client(load_settings(redis_url="redis://:hunter2@127.0.0.1:1")), "n", 1000)
    with pytest.raises(UnavailableError, match="REDIS_URL") as caught:
        await cache.set("k", b"1", 60)
    assert "hunter2" not in str(caught.value)
    await cache.close()
