"""PgQueuer: one consumer with batches of 500, its autovacuum settings on (the fastest of the shapes that we tried)."""

import asyncio
import logging

import asyncpg

from benchmarks.queue.common import Drain, run, timed_drain

CONSUMERS, BATCH, CHUNK = 1, 500, 10_000
PAYLOAD = b'{"op": "noop", "tenant": "t-1", "b": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}'


async def drain(dsn: str, jobs: int) -> Drain:
    """Enqueue in bulk, run until the queue is empty."""
    from pgqueuer import PgQueuer
    from pgqueuer.db import AsyncpgDriver
    from pgqueuer.queries import Queries

    logging.disable(logging.CRITICAL)
    queries = Queries(AsyncpgDriver(await asyncpg.connect(dsn)))
    await queries.install()
    await queries.optimize_autovacuum()
    consumers = []
    for _ in range(CONSUMERS):
        consumer = PgQueuer(AsyncpgDriver(await asyncpg.connect(dsn)))

        @consumer.entrypoint("noop")
        async def noop(_job: object) -> None:
            """Do nothing."""

        consumers.append(consumer)

    async def insert() -> None:
        for start in range(0, jobs, CHUNK):
            count = min(CHUNK, jobs - start)
            await queries.enqueue(["noop"] * count, [PAYLOAD] * count, [0] * count)

    async def work() -> None:
        await asyncio.gather(*[consumer.run(batch_size=BATCH) for consumer in consumers])

    result = await timed_drain("pgqueuer", dsn, jobs, insert, work, "select exists (select 1 from pgqueuer)")
    for consumer in consumers:
        consumer.shutdown.set()
    return result


if __name__ == "__main__":
    run("pgqueuer", drain)
