"""Values are made once, kept where they are allowed to be, and no failure of Redis reaches who asks."""

import asyncio
import socket
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from seedcore.errors import InvalidInputError, NotFoundError
from seedcore.memory.working import shared_cache
from seedcore.memory.working.working_memory import LOCAL_S, WorkingMemory
from seedcore.settings import load_settings
from seedcore.stores.redis import redis_client


class Maker:
    """Makes a value, counts how often, and waits for `go` where it is given."""

    def __init__(self, value: object, go: asyncio.Event | None = None) -> None:
        self.value, self.go, self.calls, self.cancelled = value, go, 0, 0

    async def __call__(self) -> Any:
        self.calls += 1
        if self.go is not None:
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        return self.value


@pytest.fixture
async def memory() -> AsyncIterator[WorkingMemory]:
    made = WorkingMemory(load_settings(working_memory_bytes=10_000))
    yield made
    await made.close()


@pytest.mark.parametrize("value", [None, True, 1.5, "tëxt\0", [1, {"a": []}], {"k": {"n": None}}, b"", b"\0\xff"])
async def test_a_value_is_made_once_and_comes_back_as_it_was(memory: WorkingMemory, value: object) -> None:
    make = Maker(value)
    for _ in range(3):
        assert await memory.get_or_make("n", "k", make, 60) == value
    assert make.calls == 1
    assert await memory.get("n", "k") == value


async def test_namespaces_do_not_share_keys(memory: WorkingMemory) -> None:
    assert await memory.get_or_make("a", "k", Maker(1), 60) == 1
    assert await memory.get_or_make("b", "k", Maker(2), 60) == 2


async def test_who_changes_an_answer_does_not_change_what_is_kept(memory: WorkingMemory) -> None:
    first: dict[str, list[int]] = await memory.get_or_make("n", "k", Maker({"a": [1]}), 60)
    first["a"].append(2)
    assert await memory.get("n", "k") == {"a": [1]}


async def test_of_many_that_want_a_value_at_once_one_makes_it(memory: WorkingMemory) -> None:
    make = Maker(7, asyncio.Event())
    asks = [asyncio.create_task(memory.get_or_make("n", "k", make, 60)) for _ in range(50)]
    await asyncio.sleep(0)
    assert make.go is not None
    make.go.set()
    assert await asyncio.gather(*asks) == [7] * 50
    assert make.calls == 1


async def test_a_failure_reaches_all_who_wait_and_is_not_kept(memory: WorkingMemory) -> None:
    calls = 0

    async def fail() -> int:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0)
        raise NotFoundError("it is not there")

    asks = [memory.get_or_make("n", "k", fail, 60) for _ in range(3)]
    answers = await asyncio.gather(*asks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [NotFoundError] * 3
    assert calls == 1
    assert await memory.get_or_make("n", "k", Maker(1), 60) == 1


async def test_one_that_leaves_does_not_take_the_value_from_the_others(memory: WorkingMemory) -> None:
    make = Maker(7, asyncio.Event())
    first, second = [asyncio.create_task(memory.get_or_make("n", "k", make, 60)) for _ in range(2)]
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert make.go is not None
    make.go.set()
    assert await second == 7
    assert make.calls == 1


async def test_when_all_have_left_making_it_ends_and_the_next_begins_again(memory: WorkingMemory) -> None:
    make = Maker(7, asyncio.Event())
    asks = [asyncio.create_task(memory.get_or_make("n", "k", make, 60)) for _ in range(2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for ask in asks:
        ask.cancel()
    await asyncio.gather(*asks, return_exceptions=True)
    await asyncio.sleep(0)
    assert make.cancelled == 1
    assert await memory.get_or_make("n", "k", Maker(8), 60) == 8


async def test_what_is_forgotten_while_it_is_made_is_given_and_not_kept(memory: WorkingMemory) -> None:
    make = Maker(7, asyncio.Event())
    ask = asyncio.create_task(memory.get_or_make("n", "k", make, 60))
    await asyncio.sleep(0)
    await memory.forget("n", "k")
    assert make.go is not None
    make.go.set()
    assert await ask == 7
    assert await memory.get("n", "k") is None


@pytest.mark.parametrize("value", ["x" * 20_000, float("nan"), "\ud800", object()])
async def test_what_cannot_be_kept_is_given_all_the_same(memory: WorkingMemory, value: object) -> None:
    make = Maker(value)
    for _ in range(2):
        assert await memory.get_or_make("n", "k", make, 60) is value
    assert make.calls == 2
    assert memory.health()["not_kept"] == 2
    assert await memory.put("n", "k", value, 60) is False


@pytest.mark.parametrize("key", ["x" * 513, "\ud800"])
async def test_keys_that_cannot_be_kept_are_refused(memory: WorkingMemory, key: str) -> None:
    for call in (memory.get("n", key), memory.put("n", key, 1, 60), memory.get_or_make("n", key, Maker(1), 60)):
        with pytest.raises(InvalidInputError, match="key"):
            await call


@pytest.mark.parametrize("ttl_s", [0, -1, 8 * 86400, float("nan")])
async def test_a_time_to_live_out_of_range_is_refused(memory: WorkingMemory, ttl_s: float) -> None:
    with pytest.raises(InvalidInputError, match="ttl_s"):
        await memory.get_or_make("n", "k", Maker(1), ttl_s)


@pytest.mark.integration
async def test_through_redis_another_process_finds_what_one_has_made(redis_url: str) -> None:
    settings = load_settings(redis_url=redis_url, namespace=uuid.uuid4().hex)
    one, two = WorkingMemory(settings), WorkingMemory(settings)
    assert await one.get_or_make("n", "k", Maker({"a": 1}), 60) == {"a": 1}
    make = Maker({"a": 2})
    assert await two.get_or_make("n", "k", make, 60) == {"a": 1}
    assert make.calls == 0
    assert two.health()["redis_hits"] == 1
    await one.forget("n", "k")
    # The copy of the other process lives for LOCAL_S at most.
    deadline = time.monotonic() + LOCAL_S + 2
    while await two.get("n", "k") is not None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    await one.close()
    await two.close()


@pytest.mark.integration
@pytest.mark.parametrize("away", ["refused", "silent", "wrong password"])
async def test_without_redis_the_process_cache_answers_alone_and_says_so(away: str, redis_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = {
            "refused": "redis://:hunter2@127.0.0.1:1",
            "silent": f"redis://:hunter2@127.0.0.1:{silent.getsockname()[1]}",
            "wrong password": redis_url.replace("redis://", "redis://someone:hunter2@"),
        }[away]
        memory = WorkingMemory(load_settings(redis_url=url))
        make = Maker(1)
        began = time.monotonic()
        assert await memory.get_or_make("n", "k", make, 60) == 1
        # Redis holds up the first who asks, once, and not for long.
        assert time.monotonic() - began < 1.0
        began = time.monotonic()
        for i in range(100):
            assert await memory.get_or_make("n", f"k{i}", Maker(i), 60) == i
        assert time.monotonic() - began < shared_cache.TIMEOUT_S
        assert await memory.get_or_make("n", "k", make, 60) == 1
        assert make.calls == 1
        health: Any = memory.health()["redis"]
        assert (health["ready"], health["fallback"]) == (False, "working_memory_process")
        assert health["fallbacks"] >= 100
        assert "hunter2" not in str(health)
        await memory.close()


@pytest.mark.integration
async def test_a_redis_that_is_full_is_left_alone_and_used_again_when_it_has_room(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_cache, "FIRST_PAUSE_S", 0.02)
    settings = load_settings(redis_url=redis_url, namespace=uuid.uuid4().hex)
    memory, client = WorkingMemory(settings), redis_client(settings)
    await client.config_set("maxmemory", 1)
    try:
        assert await memory.get_or_make("n", "k", Maker(1), 60) == 1
        health: Any = memory.health()["redis"]
        assert health["ready"] is False
        assert "memory" in health["reason"]
    finally:
        await client.config_set("maxmemory", 0)
    deadline = time.monotonic() + 5
    while memory.health()["redis"] != {"ready": True}:
        assert time.monotonic() < deadline
        await memory.get("n", "other")
        await asyncio.sleep(0.01)
    await client.aclose()
    await memory.close()


@pytest.mark.integration
async def test_redis_is_used_again_when_it_is_back(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_cache, "FIRST_PAUSE_S", 0.02)
    memory = WorkingMemory(load_settings(redis_url=redis_url, namespace=uuid.uuid4().hex))
    assert memory._shared is not None
    memory._shared._open("it was away")
    assert await memory.get_or_make("n", "k", Maker("made while it was away"), 60)
    deadline = time.monotonic() + 5
    while memory._shared.reason is not None:
        assert time.monotonic() < deadline
        await memory.get("n", "other")
        await asyncio.sleep(0.01)
    # Others may have replaced what was kept here for longer than LOCAL_S.
    assert await memory.get_or_make("n", "k", Maker("made again"), 60) == "made again"
    assert memory.health()["redis"] == {"ready": True}
    await memory.close()
