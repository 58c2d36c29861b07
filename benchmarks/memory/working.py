"""Working memory: what a hit costs in the process, through Redis, and while Redis is silent.

python -m benchmarks.memory.working [--redis URL]
"""

import argparse
import asyncio
import json
import socket
import statistics
import time
import uuid

from seedcore.memory.working.working_memory import WorkingMemory
from seedcore.settings import Settings, load_settings

ROUNDS, CALLS = 20, 5000
PLAN = {
    "steps": [{"id": f"s{i}", "skill": "text.summarize", "params": {"text": {"$from": "inputs"}}} for i in range(3)],
    "output": {"summary": {"$from": "s2", "field": "summary"}},
}
ENCODED = json.dumps(PLAN).encode()
VALUES = {"a number": 7, "a plan of 3 steps": PLAN, "the same as text": ENCODED, "a vector of 256": b"\1" * 1024}


async def hit_us(memory: WorkingMemory, key: str, value: object) -> float:
    """Median over rounds of the microseconds of one hit; each value has a key of its own."""

    async def make() -> object:
        return value

    rounds = []
    for _ in range(ROUNDS):
        assert await memory.get_or_make("bench", key, make, 60) == value
        began = time.perf_counter()
        for _ in range(CALLS):
            await memory.get_or_make("bench", key, make, 60)
        rounds.append((time.perf_counter() - began) / CALLS * 1e6)
    return statistics.median(rounds)


async def redis_us(settings: Settings) -> float:
    """Median of the microseconds in which one process gets what another one has made."""

    async def make() -> bytes:
        return ENCODED

    one, two = WorkingMemory(settings), WorkingMemory(settings)
    times = []
    for n in range(1000):
        await one.get_or_make("bench", f"{n}", make, 60)
        began = time.perf_counter()
        await two.get_or_make("bench", f"{n}", make, 60)
        times.append((time.perf_counter() - began) * 1e6)
    await one.close()
    await two.close()
    return statistics.median(times)


async def silent_ms() -> tuple[float, float]:
    """Milliseconds of the first value that is made while Redis is silent, and of each of the next 1,000."""

    async def make() -> int:
        return 1

    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    memory = WorkingMemory(load_settings(redis_url=f"redis://127.0.0.1:{port}"))
    began = time.perf_counter()
    await memory.get_or_make("bench", "first", make, 60)
    first = time.perf_counter() - began
    began = time.perf_counter()
    for n in range(1000):
        await memory.get_or_make("bench", f"{n}", make, 60)
    rest = (time.perf_counter() - began) / 1000
    await memory.close()
    server.close()
    return first * 1000, rest * 1000


async def main(redis: str | None) -> None:
    memory = WorkingMemory(load_settings())
    for name, value in VALUES.items():
        print(f"hit in the process, {name}: {await hit_us(memory, name, value):.2f} us")
    await memory.close()
    if redis is not None:
        found = await redis_us(load_settings(redis_url=redis, namespace=uuid.uuid4().hex))
        print(f"hit in Redis, a plan of 3 steps: {found:.0f} us")
    first, rest = await silent_ms()
    print(f"Redis is silent: the first waits {first:.0f} ms, each of the next 1,000 {rest:.3f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--redis", help="URL of a Redis to measure with, too")
    asyncio.run(main(parser.parse_args().redis))
