"""SeedCore with everything on: fencing, results, decisions, events, idempotency keys; two workers, one process."""

import asyncio
from uuid import uuid4

import asyncpg

from benchmarks.queue.common import Drain, run, timed_drain
from seedcore.settings import load_settings
from seedcore.stores.migrate import migrate
from seedcore.stores.postgres import ENGINE_SESSION
from seedcore.tasks import leases
from seedcore.tasks.model import Lease, NewTask, Outcome, Status
from seedcore.tasks.submit import submit

WORKERS, BATCH, CHUNK = 2, 500, 1000
PARAMS = '{"op": "noop", "tenant": "t-1", "b": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}'
DECISION = (
    '{"route": "fast", "rule": "known_skill", "reason": "least energy among 8 agents of utility", '
    '"agent": "utility-0001", "delta_energy": 0.001, "evidence": null}'
)


async def noop(lease: Lease) -> Outcome:
    """What a handler costs at least: one awaited coroutine a job."""
    return Outcome(lease.id, lease.token, Status.COMPLETED, result='{"value": 1}', decision=DECISION)


async def drain(dsn: str, jobs: int) -> Drain:
    """Submit with keys, claim by batch, finish by batch."""
    await asyncio.to_thread(migrate, load_settings(pg_dsn=dsn))
    connections = [await asyncpg.connect(dsn, server_settings=ENGINE_SESSION) for _ in range(WORKERS)]

    async def insert() -> None:
        for start in range(0, jobs, CHUNK):
            batch = [NewTask("noop", PARAMS, idempotency_key=f"k{n}") for n in range(start, min(start + CHUNK, jobs))]
            await submit(connections[0], batch)

    async def worker(connection: asyncpg.Connection) -> None:
        session = uuid4()
        await leases.open_session(connection, session, "bench", "default", 600)
        while claimed := await leases.claim(connection, "default", session, BATCH):
            await leases.finish(connection, [await noop(lease) for lease in claimed])

    async def work() -> None:
        await asyncio.gather(*[worker(connection) for connection in connections])

    left = "select exists (select 1 from seedcore.ready) or exists (select 1 from seedcore.leases)"
    result = await timed_drain("seedcore", dsn, jobs, insert, work, left)
    finished = await connections[0].fetchval("select count(*) from seedcore.finished where status = 'completed'")
    assert finished == jobs, f"{finished} of {jobs} completed"
    for connection in connections:
        await connection.close()
    return result


if __name__ == "__main__":
    run("engine", drain)
