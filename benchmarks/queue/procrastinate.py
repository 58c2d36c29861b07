"""Procrastinate: 30 jobs at once, a pool of 20, finished jobs deleted."""

import asyncio
import logging

from benchmarks.queue.common import Drain, run, timed_drain

CONCURRENCY, POOL, CHUNK = 30, 20, 1000


async def drain(dsn: str, jobs: int) -> Drain:
    """Defer in batches, run until nothing is left to do."""
    import procrastinate

    logging.disable(logging.CRITICAL)
    connector = procrastinate.PsycopgConnector(conninfo=dsn, min_size=POOL, max_size=POOL)
    app = procrastinate.App(connector=connector)

    @app.task(name="noop")
    async def noop(i: int, tenant: str = "t-1", b: str = "x" * 40) -> None:
        """Do nothing."""

    async with app.open_async():
        await app.schema_manager.apply_schema_async()

        async def insert() -> None:
            for start in range(0, jobs, CHUNK):
                await noop.batch_defer_async(*[{"i": n} for n in range(start, min(start + CHUNK, jobs))])

        async def work() -> None:
            await app.run_worker_async(
                concurrency=CONCURRENCY, wait=False, delete_jobs="always", install_signal_handlers=False
            )
            await asyncio.Event().wait()

        left = "select exists (select 1 from procrastinate_jobs where status in ('todo', 'doing'))"
        return await timed_drain("procrastinate", dsn, jobs, insert, work, left)


if __name__ == "__main__":
    run("procrastinate", drain)
