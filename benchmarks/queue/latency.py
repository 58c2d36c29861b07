"""Start latency in an open loop: from the moment a submit was due to the handler's first line, engine and PgQueuer.

The engine runs a whole Dispatcher with a Coordinator and hosts in the process; PgQueuer one consumer.
"""

import argparse
import asyncio
import json
import logging
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import asyncpg
from uvloop import run as uvloop_run

from benchmarks.queue.common import fresh_database
from seedcore.settings import Settings, load_settings
from seedcore.skills.host_protocol import Call, Completion
from seedcore.stores.migrate import migrate
from seedcore.stores.postgres import ENGINE_SESSION, Database
from seedcore.tasks.model import Lease, TaskSpec
from seedcore.tasks.submission.submit import submit
from seedcore.utils import gc_tuning
from seedcore.worker.decisions.route_decision import RouteDecision
from seedcore.worker.dispatcher import Dispatcher
from seedcore.worker.lease_store import PostgresLeaseStore
from seedcore.worker.ports import PlanJson, PlanRequest, WorkerPorts
from seedcore.worker.reaper import Reaper

Send = Callable[[Sequence[int]], Awaitable[None]]
FAST = RouteDecision("fast", "known_skill", "benchmark", agent="a-1", host="h-1", delta_energy=0.001)
CONNECTIONS = 4
SETTLE_S, WARM_S = 1.5, 2.0
WARM = 10**9


class InProcess:
    """A Coordinator that says `fast` to everything, and a host whose handlers note when they began."""

    def __init__(self, started: dict[int, float]) -> None:
        self._started = started

    ready = True

    def decide(self, tasks: Sequence[Lease]) -> list[RouteDecision]:
        """One decision for each task."""
        return [FAST] * len(tasks)

    async def plan(self, request: PlanRequest) -> PlanJson:
        """Nothing here is planned."""
        raise NotImplementedError

    async def run(self, host: str, calls: Sequence[Call]) -> AsyncIterator[list[Completion]]:
        """Note the start, complete at once."""
        done = []
        for call in calls:
            self._started[json.loads(call.params)["i"]] = time.perf_counter()
            done.append(Completion(call.task_id, call.token, call.agent, call.skill, True, 0.0, result=call.params))
        yield done

    async def cancel(self, host: str, task_ids: Sequence[str]) -> None:
        """Nothing runs for long."""


def in_process_dispatcher(settings: Settings, database: Database, queue: str, services: InProcess) -> Dispatcher:
    """A whole dispatcher on PostgreSQL, with everything else in this process."""
    ports = WorkerPorts(PostgresLeaseStore(database), services, services, services)
    return Dispatcher(settings, "bench", queue, ports, Reaper(settings, database, "bench"))


async def _pace(rate: float, seconds: float, group: int, send: Send, born: dict[int, float]) -> None:
    """Every call carries `group` jobs and keeps its due time, however late it is sent."""
    began = time.perf_counter()
    running: set[asyncio.Task[None]] = set()
    for first in range(0, int(rate * seconds), group):
        due = began + first / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        born.update(dict.fromkeys(range(first, first + group), due))
        task = asyncio.ensure_future(send(range(first, first + group)))
        running.add(task)  # type: ignore[arg-type]
        task.add_done_callback(running.discard)  # type: ignore[arg-type]
    if running:
        await asyncio.wait(running)


async def _engine(dsn: str, started: dict[int, float]) -> Send:
    settings = load_settings(pg_dsn=dsn)
    await asyncio.to_thread(migrate, settings)
    database = Database(settings, size=3, session=ENGINE_SESSION)
    dispatcher = in_process_dispatcher(settings, database, "default", InProcess(started))
    _KEEP.append(asyncio.create_task(dispatcher.run()))
    pool = Database(settings, size=CONNECTIONS)

    async def send(numbers: Sequence[int]) -> None:
        async with pool.connection() as connection:
            await submit(connection, [TaskSpec("noop", json.dumps({"i": n})) for n in numbers])

    return send


_KEEP: list[Any] = []


async def _pgqueuer(dsn: str, started: dict[int, float]) -> Send:
    from pgqueuer import PgQueuer
    from pgqueuer.db import AsyncpgDriver, AsyncpgPoolDriver
    from pgqueuer.queries import Queries

    logging.disable(logging.CRITICAL)
    await Queries(AsyncpgDriver(await asyncpg.connect(dsn))).install()
    consumer = PgQueuer(AsyncpgDriver(await asyncpg.connect(dsn)))

    @consumer.entrypoint("noop")
    async def noop(job: Any) -> None:
        """Note the start."""
        started[int(job.payload)] = time.perf_counter()

    _KEEP.append(asyncio.create_task(consumer.run(batch_size=100)))
    pool = await asyncpg.create_pool(dsn, min_size=CONNECTIONS, max_size=CONNECTIONS)
    queries = Queries(AsyncpgPoolDriver(pool))

    async def send(numbers: Sequence[int]) -> None:
        await queries.enqueue(["noop"] * len(numbers), [str(n).encode() for n in numbers], [0] * len(numbers))

    return send


async def measure(server: str, peer: str, rate: float, seconds: float, group: int) -> dict[str, Any]:
    """One run; latencies in milliseconds. Jobs that had not begun 60 s after the last submit count as `missing`."""
    dsn = await fresh_database(server, f"bench_latency_{peer}")
    born: dict[int, float] = {}
    started: dict[int, float] = {}
    send = await (_engine if peer == "engine" else _pgqueuer)(dsn, started)
    await asyncio.sleep(SETTLE_S)
    # New connections plan each statement once, and tables get their first pages; both happen once, not every second.
    await _pace(rate, WARM_S, group, lambda numbers: send([n + WARM for n in numbers]), {})
    await asyncio.sleep(SETTLE_S)
    await _pace(rate, seconds, group, send, born)
    ended = time.perf_counter()
    while any(n not in started for n in born) and time.perf_counter() - ended < 60:
        await asyncio.sleep(0.01)
    waits = sorted((started[n] - born[n]) * 1000 for n in born if n in started)
    cut = statistics.quantiles(waits, n=100, method="inclusive")
    return {
        "peer": peer,
        "rate": rate,
        "group": group,
        "jobs": len(born),
        "missing": len(born) - len(waits),
        "p50_ms": cut[49],
        "p99_ms": cut[98],
        "max_ms": waits[-1],
    }


def main() -> None:
    """One JSON line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queue.latency", description=__doc__)
    parser.add_argument("--server", required=True, help="DSN of a PostgreSQL that may be filled")
    parser.add_argument("--peer", choices=["engine", "pgqueuer"], required=True)
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--group", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    gc_tuning.settle()
    result = uvloop_run(measure(options.server, options.peer, options.rate, options.seconds, options.group))
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
