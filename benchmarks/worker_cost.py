"""What one task costs where the lease is: claim, decide and run in one process, without HTTP, Serve and Ray.

    python -m benchmarks.worker_cost [--seconds 8] [--drain 40000] [--json]

An embedded PostgreSQL of its own, one worker with the shipped policy, tasks submitted by SQL. Prints latency and
processor time a task (own, and PostgreSQL's) at 20, 100 and 300 tasks a second, and of a drain, with the statements
and asyncio tasks that one task took.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from importlib.resources import files
from typing import Any, cast

import asyncpg
import psutil

from seedcore.decision.policy import parse_policy
from seedcore.schemas.snapshot import SNAPSHOT_FORMAT, SnapshotUpdate, StoredSnapshotJson, WorkerReportJson
from seedcore.service_clients.skill_clients import SkillServiceClients
from seedcore.settings import load_settings
from seedcore.skills.host_protocol import Call, Completion
from seedcore.skills.registry import SkillRegistry
from seedcore.stores.embedded import embedded_postgres
from seedcore.stores.migrate import migrate
from seedcore.stores.postgres import ENGINE_SESSION, Database
from seedcore.tasks.model import TaskSpec
from seedcore.tasks.submission.submit import submit
from seedcore.utils import gc_tuning
from seedcore.worker.decisions.coordinator_link import CoordinatorLink
from seedcore.worker.decisions.local_decider import LocalDecider
from seedcore.worker.decisions.report_collector import ReportCollector
from seedcore.worker.decisions.snapshot_state import SnapshotState
from seedcore.worker.dispatcher import Dispatcher
from seedcore.worker.hosting.skill_host import SkillHost
from seedcore.worker.lease_store import PostgresLeaseStore
from seedcore.worker.ports import HostUnavailableError, PlanJson, PlanRequest, WorkerPorts

NAME = "seedcore-dispatcher-0"
RATES = (20, 100, 300)
OPEN = "select exists (select 1 from seedcore.ready) or exists (select 1 from seedcore.leases)"


class StandInCoordinator:
    """Publishes one whole snapshot, and hears reports."""

    def __init__(self) -> None:
        agents = [f"utility-{n:04}" for n in range(8)]
        organ = {"hosts": [NAME], "agents": agents, "host": [0] * 8, "scouts": [], "archived": [], "limits": {}}
        text = files("seedcore.decision").joinpath("default_policy.yaml").read_text()
        version = parse_policy(text.encode(), "default").version
        routing = {"epoch": 1, "skills": {"echo": "utility"}, "timeouts": {}, "organs": {"utility": organ}}
        self._whole: dict[str, Any] = {
            "routing": routing | {"workers": [NAME]},
            "policy": {"source": "default", "text": text, "version": version},
            "v": 1.0,
        }

    async def exchange(self, report: WorkerReportJson) -> SnapshotUpdate:
        await asyncio.sleep(report["wait_s"])
        whole = report["version"] == 0
        update = {"format": SNAPSHOT_FORMAT, "generation": 1, "version": 1, "whole": whole, "heard": report["number"]}
        update |= {"parts": self._whole if whole else {}, "learned": [], "plans": {"spent": 0, "lent": 0}}
        return cast(SnapshotUpdate, update)

    async def stored(self) -> tuple[StoredSnapshotJson, float] | None:
        return None


class NoOthers:
    """There is no other process to send calls to, and no Cognitive service."""

    async def run(self, host: str, calls: Sequence[Call]) -> AsyncIterator[list[Completion]]:
        raise HostUnavailableError(f"there is no host {host}")
        yield []

    async def cancel(self, host: str, task_ids: Sequence[str]) -> None:
        """Nothing runs elsewhere."""

    async def plan(self, request: PlanRequest) -> PlanJson:
        raise NotImplementedError


def postgres_cpu_s(port_of: str) -> float:
    """Processor seconds of every PostgreSQL process of this data directory's server."""
    total = 0.0
    for process in psutil.process_iter(["name", "cmdline"]):
        try:
            command = " ".join(process.info["cmdline"] or ())
            if command.startswith("postgres:") or (port_of in command and "postgres" in command):
                total += sum(process.cpu_times()[:2])
        except psutil.Error:
            continue
    return total


async def drained(connection: asyncpg.Connection) -> None:
    while await connection.fetchval(OPEN):
        await asyncio.sleep(0.02)


async def measure_rate(dsn: str, control: asyncpg.Connection, rate: int, seconds: float, data: str) -> dict[str, float]:
    count, ids = int(rate * seconds), []
    pool = await asyncpg.create_pool(dsn, min_size=4, max_size=4)
    tasks_before = created_tasks()
    own, server, began = time.process_time(), postgres_cpu_s(data), time.perf_counter()

    async def one(k: int) -> None:
        await asyncio.sleep(max(0.0, began + k / rate - time.perf_counter()))
        async with pool.acquire() as connection:
            ids.append(
                await connection.fetchval("select seedcore.enqueue('echo', $1::jsonb)", json.dumps({"value": k}))
            )

    await asyncio.gather(*(one(k) for k in range(count)))
    await drained(control)
    own, server = time.process_time() - own, postgres_cpu_s(data) - server
    rows = await control.fetch(
        "select extract(epoch from f.finished_at - t.created_at)::float8 as s from seedcore.finished f "
        "join seedcore.tasks t using (id) where f.id = any($1::uuid[])",
        ids,
    )
    await pool.close()
    latency = sorted(row["s"] * 1e3 for row in rows)
    return {
        "rate": rate,
        "p50_ms": latency[len(latency) // 2],
        "p99_ms": latency[int(len(latency) * 0.99)],
        "own_ms": own / count * 1e3,
        "postgres_ms": server / count * 1e3,
        "asyncio_tasks": (created_tasks() - tasks_before) / count,
    }


_created = 0


def created_tasks() -> int:
    return _created


def counting_factory(loop: asyncio.AbstractEventLoop, coro: Any, context: Any = None) -> asyncio.Task[Any]:
    global _created
    _created += 1
    return asyncio.Task(coro, loop=loop, context=context)


async def main(given: argparse.Namespace) -> None:
    data = tempfile.mkdtemp(prefix="worker-cost-")
    settings = load_settings(data_dir=data)
    server = embedded_postgres(settings)
    dsn = server.acquire()
    settings = load_settings(data_dir=data, pg_dsn=dsn)
    await asyncio.to_thread(migrate, settings)
    database = Database(settings, size=3, session=ENGINE_SESSION, name=NAME)
    reports = ReportCollector()
    others = NoOthers()
    hosts: list[SkillHost] = []

    def adopt(_table: object) -> None:
        hosts[0].set_organs({})

    state = SnapshotState(NAME, settings.energy_v, on_routing=adopt)
    registry = SkillRegistry.load(settings)
    host = SkillHost(
        NAME, settings, registry, SkillServiceClients(settings), lambda skill: state.fleet.organ_of(skill) or ""
    )
    hosts.append(host)
    host.start()
    decider = LocalDecider(settings, state, reports, lambda: 0.004)
    ports = WorkerPorts(PostgresLeaseStore(database), decider, others, others, host, None, reports)
    dispatcher = Dispatcher(settings, NAME, "default", ports, None, "actor")
    link = CoordinatorLink(StandInCoordinator(), state, reports, decider, dispatcher.log)
    asyncio.get_running_loop().set_task_factory(counting_factory)
    running = [asyncio.create_task(link.run()), asyncio.create_task(dispatcher.run())]
    gc_tuning.settle()
    control = await asyncpg.connect(dsn)
    await asyncio.sleep(2)
    results: dict[str, Any] = {"drain": [], "rates": []}
    for _ in range(3):
        began, own, postgres = time.perf_counter(), time.process_time(), postgres_cpu_s(data)
        for start in range(0, given.drain, 1000):
            await submit(control, [TaskSpec("echo", json.dumps({"value": k % 10})) for k in range(start, start + 1000)])
        await drained(control)
        took = time.perf_counter() - began
        results["drain"].append(
            {
                "per_s": given.drain / took,
                "own_us": (time.process_time() - own) / given.drain * 1e6,
                "postgres_us": (postgres_cpu_s(data) - postgres) / given.drain * 1e6,
            }
        )
        print("drain", {k: round(v, 1) for k, v in results["drain"][-1].items()}, file=sys.stderr, flush=True)
    for rate in RATES:
        results["rates"].append(await measure_rate(dsn, control, rate, given.seconds, data))
        print("rate", {k: round(v, 2) for k, v in results["rates"][-1].items()}, file=sys.stderr, flush=True)
    if given.json:
        print(json.dumps(results))
    await dispatcher.stop(2)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await control.close()
    server.release()
    os._exit(0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--drain", type=int, default=40_000)
    parser.add_argument("--json", action="store_true")
    asyncio.run(main(parser.parse_args()))
