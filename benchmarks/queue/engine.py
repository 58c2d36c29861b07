"""SeedCore with everything on: fencing, results, decisions, events, idempotency keys; two workers, one process."""

import asyncio
from uuid import uuid4

import asyncpg

from benchmarks.queue.common import Drain, run, timed_drain
from seedcore.settings import load_settings
from seedcore.stores.migrate import migrate
from seedcore.stores.postgres import ENGINE_SESSION
from seedcore.tasks import leases, sessions
from seedcore.tasks.claims.claim_cursor import ClaimCursor
from seedcore.tasks.model import Lease, Outcome, Status, TaskSpec
from seedcore.tasks.submission.submit import submit

WORKERS, BATCH, CHUNK = 2, 500, 10_000
PARAMS = '{"op": "noop", "tenant": "t-1", "b": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}'
DECISION = (
    '{"route": "fast", "rule": "known_skill", "reason": "least energy among 8 agents of utility", '
    '"agent": "utility-0001", "delta_energy": 0.001, "evidence": null}'
)


async def noop(lease: Lease) -> Outcome:
    """What a handler costs at least: one awaited coroutine a job."""
    source = lease.tenant, lease.type, "utility-0001"
    return Outcome(lease.id, lease.token, Status.COMPLETED, result='{"value": 1}', decision=DECISION, counts_for=source)


async def connect(dsn: str) -> asyncpg.Connection:
    """As a dispatcher connects."""
    return await asyncpg.connect(dsn, server_settings=ENGINE_SESSION)


async def work_off(connection: asyncpg.Connection, most: int | None = None, batch: int = BATCH) -> int:
    """Claim and finish until nothing is left (or `most` are done): each turn is one statement; returns how many."""
    session, cursor = uuid4(), ClaimCursor()
    await sessions.open_session(connection, session, "bench", "default", 600)
    outcomes: list[Outcome] = []
    done = 0
    while True:
        room = batch if most is None else min(batch, most - done)
        if outcomes and room > 0:
            accepted, claimed = await leases.finish_and_claim(
                connection, outcomes, "default", session, room, cursor=cursor
            )
            assert len(accepted) == len(outcomes)
        elif outcomes:
            await leases.finish(connection, outcomes)
            return done
        else:
            claimed = await leases.claim(connection, "default", session, room, cursor=cursor)
        if not claimed and not outcomes:
            return done
        outcomes = [await noop(lease) for lease in claimed]
        done += len(outcomes)


async def fill(connection: asyncpg.Connection, jobs: int, prefix: str = "k") -> None:
    """Submit with keys, a thousand at a time."""
    for start in range(0, jobs, CHUNK):
        numbers = range(start, min(start + CHUNK, jobs))
        await submit(connection, [TaskSpec("noop", PARAMS, idempotency_key=f"{prefix}{n}") for n in numbers])


async def drain(dsn: str, jobs: int) -> Drain:
    """Submit with keys, work off with two connections."""
    await asyncio.to_thread(migrate, load_settings(pg_dsn=dsn))
    connections = [await connect(dsn) for _ in range(WORKERS)]

    async def work() -> None:
        await asyncio.gather(*[work_off(connection) for connection in connections])

    left = "select exists (select 1 from seedcore.ready) or exists (select 1 from seedcore.leases)"
    result = await timed_drain("seedcore", dsn, jobs, lambda: fill(connections[0], jobs), work, left)
    finished = await connections[0].fetchval("select count(*) from seedcore.finished where status = 'completed'")
    assert finished == jobs, f"{finished} of {jobs} completed"
    for connection in connections:
        await connection.close()
    return result


if __name__ == "__main__":
    run("engine", drain)
