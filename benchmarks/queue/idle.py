"""Statements a second that an idle engine asks PostgreSQL: two dispatchers on `default`, one on `graph`, the reaper."""

import argparse
import asyncio
import json
import logging
from typing import Any

import asyncpg
from uvloop import run as uvloop_run

from benchmarks.queue.common import fresh_database
from benchmarks.queue.latency import InProcess, in_process_dispatcher
from seedcore.settings import load_settings
from seedcore.stores.migrate import migrate
from seedcore.stores.postgres import ENGINE_SESSION, Database
from seedcore.tasks.events.notifications import NotificationListener
from seedcore.worker.reaper import LATER_CHANNEL, Reaper

SETTLE_S, MEASURED_S = 10, 30
# Each of the engine's idle statements is a transaction of its own.
COMMITS = "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()"


async def statements_a_second(dsn: str, settle_s: float = SETTLE_S, measured_s: float = MEASURED_S) -> float:
    """Transactions a second in that database, without the two that ask."""
    watcher = await asyncpg.connect(dsn)
    await asyncio.sleep(settle_s)
    before = await watcher.fetchval(COMMITS)
    await asyncio.sleep(measured_s)
    after = await watcher.fetchval(COMMITS)
    await watcher.close()
    return float(after - before - 1) / measured_s


async def measure(server: str) -> dict[str, Any]:
    """Start the engine on an empty database and count."""
    dsn = await fresh_database(server, "bench_idle")
    settings = load_settings(pg_dsn=dsn)
    await asyncio.to_thread(migrate, settings)
    services = InProcess({})
    running = []
    reaper_database = Database(settings, size=1, session=ENGINE_SESSION)
    reaper = Reaper(settings, reaper_database, "bench")
    running.append(asyncio.create_task(reaper.run()))
    running.append(
        asyncio.create_task(NotificationListener(reaper_database, {LATER_CHANNEL: reaper.on_later}).listen())
    )
    for queue in ("default", "default", "graph"):
        database = Database(settings, size=3, session=ENGINE_SESSION)
        dispatcher = in_process_dispatcher(settings, database, queue, services)
        running.append(asyncio.create_task(dispatcher.run()))
    rate = await statements_a_second(dsn)
    assert not any(task.done() for task in running)
    return {"dispatchers": 3, "statements_per_s": round(rate, 2)}


def main() -> None:
    """One JSON line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queue.idle", description=__doc__)
    parser.add_argument("--server", required=True, help="DSN of a PostgreSQL that may be filled")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    print(json.dumps(uvloop_run(measure(options.server))), flush=True)


if __name__ == "__main__":
    main()
