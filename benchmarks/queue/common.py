"""What every measured queue shares: a fresh database, and how a result is told."""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import asdict, dataclass
from typing import Any

import asyncpg
from uvloop import run as uvloop_run


@dataclass(slots=True)
class Drain:
    """`jobs` no-op jobs, timed from the start of the workers to the last durable completion."""

    peer: str
    jobs: int
    seconds: float
    jobs_per_s: float
    insert_per_s: float
    wal_bytes_per_job: float


async def fresh_database(server: str, name: str) -> str:
    """Make an empty database; returns its DSN."""
    connection = await asyncpg.connect(server)
    try:
        await connection.execute(f'drop database if exists "{name}" with (force)')
        await connection.execute(f'create database "{name}"')
        await connection.execute("checkpoint")
    finally:
        await connection.close()
    head, _, tail = server.partition("?")
    return f"{head.rsplit('/', 1)[0]}/{name}?{tail}"


async def timed_drain(
    peer: str,
    dsn: str,
    jobs: int,
    insert: Callable[[], Awaitable[None]],
    work: Callable[[], Coroutine[Any, Any, None]],
    left: str,
    handled: Callable[[], bool] = lambda: True,
) -> Drain:
    """Insert, then work until the query `left` says that no job is unfinished.

    `handled` says whether asking makes sense yet, for peers whose query is expensive.
    """
    watcher = await asyncpg.connect(dsn)
    began = time.perf_counter()
    await insert()
    inserted = time.perf_counter() - began
    await watcher.execute("analyze")
    await watcher.execute("checkpoint")
    before = await watcher.fetchval("select pg_current_wal_lsn()::text")
    began = time.perf_counter()
    working = asyncio.create_task(work())
    while not handled() or await watcher.fetchval(left):
        if working.done() and working.exception() is not None:
            raise working.exception()  # type: ignore[misc]
        await asyncio.sleep(0.005)
    seconds = time.perf_counter() - began
    written = await watcher.fetchval("select pg_current_wal_lsn() - $1::text::pg_lsn", before)
    working.cancel()
    await asyncio.wait([working], timeout=10)
    await watcher.close()
    return Drain(peer, jobs, seconds, jobs / seconds, jobs / inserted, float(written) / jobs)


def run(peer: str, drain: Callable[[str, int], Coroutine[Any, Any, Drain]], *, uvloop: bool = True) -> None:
    """Entry of a peer's process: one drain, one JSON line. `uvloop` is off for a peer that it makes slower."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.queue.{peer}")
    parser.add_argument("--server", required=True, help="DSN of a PostgreSQL that may be filled")
    parser.add_argument("--jobs", type=int, default=10_000)
    options = parser.parse_args()

    async def main() -> Drain:
        dsn = await fresh_database(options.server, f"bench_{peer}")
        return await drain(dsn, options.jobs)

    print(json.dumps(asdict(uvloop_run(main()) if uvloop else asyncio.run(main()))), flush=True)
    sys.exit(0)
