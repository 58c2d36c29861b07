"""What must not grow: the cost of a task while a transaction stays open, and behind a long backlog and history."""

import argparse
import asyncio
import json
import logging
import time
from typing import Any

import asyncpg
from uvloop import run as uvloop_run

from benchmarks.queue.common import fresh_database
from benchmarks.queue.engine import PARAMS, WORKERS, connect, fill, work_off
from seedcore.settings import load_settings
from seedcore.stores.migrate import migrate

ROUND, ROUNDS = 10_000, 12
BACKLOG, HISTORY, DRAINED = 1_000_000, 5_000_000, 100_000
PAGE = 250_000

FILL_HISTORY = """
with made as (
  insert into seedcore.tasks (id, type, params, max_attempts, created_at)
  select seedcore.new_id(), 'noop', $1::text::jsonb, 5, now() from generate_series(1, $2::int) returning id)
insert into seedcore.finished (id, tick, token, status, attempts, began, started_at, result)
select id, nextval('seedcore.ticks'), nextval('seedcore.ticks'), 'completed', 1, true, now(), '{"value": 1}' from made
"""

FILL_BACKLOG = """
with made as (
  insert into seedcore.tasks (id, type, params, max_attempts, created_at)
  select seedcore.new_id(), 'noop', $1::text::jsonb, 5, now() from generate_series(1, $2::int) returning id)
insert into seedcore.ready (queue, rank, id) select 'default', 0, id from made
"""


async def _ready(server: str, name: str) -> tuple[str, list[asyncpg.Connection]]:
    dsn = await fresh_database(server, name)
    await asyncio.to_thread(migrate, load_settings(pg_dsn=dsn))
    return dsn, [await connect(dsn) for _ in range(WORKERS)]


async def _timed(connections: list[asyncpg.Connection], most: int | None) -> float:
    began = time.perf_counter()
    share = None if most is None else most // len(connections)
    done = sum(await asyncio.gather(*[work_off(connection, share) for connection in connections]))
    return done / (time.perf_counter() - began)


async def held(server: str) -> dict[str, Any]:
    """Rounds of submit and drain while one transaction that has written stays open."""
    dsn, connections = await _ready(server, "bench_held")
    holder = await asyncpg.connect(dsn)
    transaction = holder.transaction(isolation="repeatable_read")
    await transaction.start()
    await holder.fetchval("select pg_current_xact_id()")
    rates = []
    for n in range(ROUNDS):
        await fill(connections[0], ROUND, prefix=f"r{n}-")
        rates.append(round(await _timed(connections, None)))
    await transaction.rollback()
    # One slow round must not decide: the median of the last three against the first three.
    first, last = sorted(rates[:3])[1], sorted(rates[-3:])[1]
    return {"rates": rates, "last_to_first": round(rates[-1] / rates[0], 2), "thirds": round(last / first, 2)}


async def history(server: str, backlog: int, past: int) -> dict[str, Any]:
    """Drains of the same size on an empty table and on one with backlog and history, in turns."""
    _, empty = await _ready(server, "bench_empty")
    _, full = await _ready(server, "bench_full")
    for statement, count in ((FILL_HISTORY, past), (FILL_BACKLOG, backlog)):
        for start in range(0, count, PAGE):
            await full[0].execute(statement, PARAMS, min(PAGE, count - start))
    await full[0].execute("vacuum analyze")
    rates: dict[str, list[float]] = {"empty": [], "full": []}
    for n in range(5):
        await fill(empty[0], DRAINED, prefix=f"e{n}-")
        # The same keys' work on both sides.
        await fill(full[0], DRAINED, prefix=f"f{n}-")
        for name, connections in (("empty", empty), ("full", full)):
            await connections[0].execute("checkpoint")
            rates[name].append(round(await _timed(connections, DRAINED)))
    middle = {name: sorted(found)[len(found) // 2] for name, found in rates.items()}
    return {"backlog": backlog, "history": past, **rates, "ratio": round(middle["full"] / middle["empty"], 2)}


def main() -> None:
    """One JSON line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queue.long", description=__doc__)
    parser.add_argument("--server", required=True, help="DSN of a PostgreSQL that may be filled")
    parser.add_argument("--what", choices=["held", "history"], required=True)
    parser.add_argument("--backlog", type=int, default=BACKLOG)
    parser.add_argument("--history", type=int, default=HISTORY)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    work = held(options.server) if options.what == "held" else history(options.server, options.backlog, options.history)
    print(json.dumps(uvloop_run(work)), flush=True)


if __name__ == "__main__":
    main()
