"""`python -m examples.submit`: uses the Python client with a running SeedCore, for one task and for many."""

import argparse
import asyncio
import sys
import uuid
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from seedcore.client import AsyncSeedCore, NewTask, SeedCore, Status
from seedcore.errors import SeedCoreError
from seedcore.settings import get_settings


class Echo(BaseModel):
    value: Any


def main(argv: Sequence[str] | None = None) -> int:
    """0 on success; 1, with the reason on stderr, on failure."""
    options = _options(argv)
    try:
        settings = get_settings()
        api_key = next(iter(settings.api_key_list), None)
        base_url = options.base_url or settings.base_url
        with SeedCore(base_url, api_key=api_key) as seedcore:
            one(seedcore)
            many(seedcore, options.tasks)
        asyncio.run(concurrently(AsyncSeedCore(base_url, api_key=api_key)))
    except SeedCoreError as error:
        print(f"{error.title}: {error.detail}", file=sys.stderr)
        return 1
    return 0


def one(seedcore: SeedCore) -> None:
    """A typed result; one task from two submits with the same key; the events of that task."""
    answer = seedcore.run("echo", Echo(value={"n": 2}), returns=Echo, timeout_s=30)
    print(f"run: {answer!r}")
    key = f"order-{uuid.uuid4()}"
    first, second = (seedcore.submit("echo", {"value": 1}, idempotency_key=key) for _ in range(2))
    print(f"submitted twice with one key: {'one task' if first.id == second.id else 'two tasks'}")
    for event in seedcore.events(first.id):
        print(f"  {event.id:>6} {event.event}")


def many(seedcore: SeedCore, count: int) -> None:
    """Submit tasks in batches, and look at the queue while they run."""
    ids = seedcore.submit_many(NewTask(type="echo", params={"value": n}) for n in range(count))
    print(f"accepted {len(ids)} tasks")
    for name, depth in sorted(seedcore.queue().queues.items()):
        print(f"  queue {name}: {depth.ready} ready, {depth.deferred} deferred")
    last = seedcore.wait(ids[-1], timeout_s=60)
    print(f"the last one is {last.status}: {last.result}")
    newest = [task.status for task in seedcore.find(task_type="echo", limit=100)]
    print(f"of the newest {len(newest)}, {newest.count(Status.COMPLETED)} are completed")


async def concurrently(seedcore: AsyncSeedCore) -> None:
    """Run ten tasks concurrently."""
    async with seedcore:
        answers = await asyncio.gather(
            *(seedcore.run("echo", {"value": n}, returns=Echo, timeout_s=30) for n in range(10))
        )
    print(f"ten at once: {[answer.value for answer in answers]}")


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.submit", description=__doc__)
    parser.add_argument("--base-url", help="where the gateway is (default: as the settings say)")
    parser.add_argument("--tasks", type=int, default=1000, choices=range(1, 1_000_001), metavar="N")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
