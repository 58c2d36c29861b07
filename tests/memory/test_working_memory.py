"""One behaviour, two implementations."""

import asyncio
import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from seedcore.errors import InvalidInputError, TooLargeError, UnavailableError
from seedcore.memory.working_memory import ProcessMemory, RedisMemory, WorkingMemory, working_memory
from seedcore.settings import load_settings


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if shutil.which("redis-server") is None:
        missing = "redis-server is missing"
        pytest.fail(missing) if os.environ.get("SEEDCORE_REQUIRE_SERVICES") == "1" else pytest.skip(missing)
    folder = tmp_path_factory.mktemp("redis")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    yield f"redis://127.0.0.1:{port}"
    server.terminate()
    server.wait()


Make = Callable[[int], WorkingMemory]


@pytest.fixture(params=["process", pytest.param("redis", marks=pytest.mark.integration)])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    made: list[WorkingMemory] = []
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
        settings = load_settings(redis_url=url, namespace=uuid.uuid4().hex)
    else:
        settings = load_settings()

    def build(max_bytes: int = 10_000) -> WorkingMemory:
        made.append(working_memory(settings, max_bytes))
        return made[-1]

    yield build
    for memory in made:
        await memory.close()


async def test_settings_choose_the_implementation() -> None:
    assert isinstance(working_memory(load_settings()), ProcessMemory)
    shared = working_memory(load_settings(redis_url="redis://127.0.0.1:1"))
    assert isinstance(shared, RedisMemory)
    await shared.close()


@pytest.mark.parametrize("value", [None, True, 1.5, "tëxt\0", [1, {"a": []}], {"k": {"n": None}}])
async def test_what_was_set_is_got(make: Make, value: object) -> None:
    memory = make(10_000)
    await memory.set("k", value)
    assert await memory.get("k", "absent") == value


async def test_what_is_not_there_is_the_default(make: Make) -> None:
    memory = make(10_000)
    assert await memory.get("k") is None
    assert await memory.get("k", 7) == 7


async def test_setting_again_replaces_value_and_time_to_live(make: Make) -> None:
    memory = make(10_000)
    await memory.set("k", "a" * 100, ttl_s=0.05)
    await memory.set("k", "b")
    await asyncio.sleep(0.1)
    assert await memory.get("k") == "b"
    assert (await memory.use()).bytes == len(b'k"b"')


async def test_a_value_is_gone_after_its_time_to_live(make: Make) -> None:
    memory = make(10_000)
    await memory.set("short", 1, ttl_s=0.05)
    await memory.set("long", 2, ttl_s=60)
    await asyncio.sleep(0.1)
    assert await memory.get("short") is None
    assert await memory.get("long") == 2
    use = await memory.use()
    assert (use.entries, use.bytes) == (1, len(b"long2"))


async def test_delete_says_whether_there_was_something(make: Make) -> None:
    memory = make(10_000)
    await memory.set("k", 1)
    assert await memory.delete("k") is True
    assert await memory.delete("k") is False
    await memory.set("k", 1, ttl_s=0.01)
    await asyncio.sleep(0.05)
    assert await memory.delete("k") is False
    assert (await memory.use()).bytes == 0


async def test_over_the_bound_the_least_recently_used_go_first(make: Make) -> None:
    memory = make(1000)
    for name in "abc":
        await memory.set(name, "x" * 297)
    assert await memory.get("a") is not None
    await memory.set("d", "x" * 297)
    assert await memory.get("b") is None
    assert [await memory.get(name) is not None for name in "acd"] == [True, True, True]
    use = await memory.use()
    assert (use.entries, use.bytes) == (3, 900)


async def test_expired_values_make_room_before_live_ones(make: Make) -> None:
    memory = make(1000)
    await memory.set("live", "x" * 297)
    await memory.set("short", "x" * 597, ttl_s=0.05)
    await asyncio.sleep(0.1)
    await memory.set("new", "x" * 597)
    assert await memory.get("live") is not None


async def test_many_writes_never_exceed_the_bound(make: Make) -> None:
    memory = make(5000)
    for i in range(500):
        await memory.set(f"key-{i % 50}", "y" * (i % 200), ttl_s=0.001 + (i % 3))
        if i % 50 == 0:
            assert (await memory.use()).bytes <= 5000
    use = await memory.use()
    assert 0 < use.bytes <= use.max_bytes == 5000
    if isinstance(memory, ProcessMemory):
        assert len(memory._expiries) <= 2 * len(memory._entries) + 65


async def test_a_value_over_the_bound_is_refused_and_changes_nothing(make: Make) -> None:
    memory = make(1000)
    await memory.set("k", 1)
    with pytest.raises(TooLargeError):
        await memory.set("k", "x" * 1000)
    assert await memory.get("k") == 1


@pytest.mark.parametrize("ttl_s", [0, -1, 8 * 86400, float("nan")])
async def test_a_time_to_live_out_of_range_is_refused(make: Make, ttl_s: float) -> None:
    with pytest.raises(InvalidInputError, match="ttl_s"):
        await make(1000).set("k", 1, ttl_s=ttl_s)


@pytest.mark.parametrize("key", ["", "x" * 513, "\ud800"])
async def test_keys_that_cannot_be_kept_are_refused(make: Make, key: str) -> None:
    memory = make(1000)
    for operation in (memory.get(key), memory.set(key, 1), memory.delete(key)):
        with pytest.raises(InvalidInputError, match="key"):
            await operation


@pytest.mark.parametrize("value", [object(), {1, 2}, "\ud800", float("nan"), uuid.UUID(int=1)])
async def test_values_that_are_not_json_are_refused(make: Make, value: object) -> None:
    with pytest.raises(InvalidInputError, match="value"):
        await make(1000).set("k", value)


@pytest.mark.integration
async def test_redis_is_shared_and_survives_a_flush(redis_url: str) -> None:
    settings = load_settings(redis_url=redis_url, namespace=uuid.uuid4().hex)
    one, two = working_memory(settings), working_memory(settings)
    assert isinstance(one, RedisMemory)
    await one.set("k", 1)
    assert await two.get("k") == 1
    # Scripts and counters are gone after this; the next call must not notice.
    await one._client.flushall()
    await one._client.script_flush()
    await two.set("k", 2)
    assert await one.get("k") == 2
    await one.close()
    await two.close()


@pytest.mark.integration
async def test_a_redis_that_is_away_is_an_error_and_not_another_memory() -> None:
    memory = working_memory(load_settings(redis_url="redis://:hunter2@127.0.0.1:1"))
    with pytest.raises(UnavailableError, match="REDIS_URL") as caught:
        await memory.set("k", 1)
    assert "hunter2" not in str(caught.value)
    await memory.close()
