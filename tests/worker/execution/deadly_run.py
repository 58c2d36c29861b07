"""One host on a real Ray and one dispatcher, and tasks that kill the host. Prints their records as a line of JSON.

    python deadly_run.py RAY_ADDRESS

SEEDCORE_PG_DSN and SEEDCORE_SKILLS say where and what.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Any

import ray

from seedcore.fleet.organ_spec import HostPlan, OrganSpec
from seedcore.organism.control.ray_host_provisioner import RayHostProvisioner
from seedcore.settings import get_settings
from seedcore.stores.postgres import ENGINE_SESSION, Database
from seedcore.tasks import queries
from seedcore.tasks.model import Lease, TaskSpec
from seedcore.tasks.submission.submit import submit
from seedcore.worker.actors.agent_host import AgentHost
from seedcore.worker.actors.ray_adapters import RayHosts
from seedcore.worker.actors.worker_actor import WorkerActor
from seedcore.worker.decisions.route_decision import RouteDecision
from seedcore.worker.dispatcher import Dispatcher
from seedcore.worker.lease_store import PostgresLeaseStore
from seedcore.worker.ports import PlanJson, PlanRequest, WorkerPorts
from seedcore.worker.reaper import Reaper

HOST = "seedcore-host-t-0"


class Services:
    """Sends every task to one agent, and plans nothing."""

    ready = True

    def decide(self, tasks: Sequence[Lease]) -> list[RouteDecision]:
        return [RouteDecision("fast", "test", "test", agent="t-0000", host=HOST)] * len(tasks)

    async def plan(self, request: PlanRequest) -> PlanJson:
        raise NotImplementedError


async def run(database: Database, *tasks: TaskSpec) -> list[dict[str, Any]]:
    async with database.connection() as connection, asyncio.timeout(60):
        ids = [item.id for item in await submit(connection, tasks)]
        while len(await queries.ended(connection, ids)) < len(ids):
            await asyncio.sleep(0.05)
        records = [await queries.get(connection, task_id) for task_id in ids]
    return [
        {
            "status": str(r.status),
            "attempts": r.attempts,
            "codes": [e["code"] for e in r.errors],
            "type": r.type,
            "result": r.result,
            "id": str(r.id),
        }
        for r in records
    ]


async def main(address: str) -> None:
    settings = get_settings()
    ray.init(address=address, namespace=settings.namespace, log_to_driver=False)
    pool = RayHostProvisioner(settings, AgentHost, WorkerActor)
    await pool.ensure(HostPlan(HOST, "t", OrganSpec(num_cpus=0)))
    before = await asyncio.wait_for(pool.handle(HOST).status.remote(), 60)
    database = Database(settings, session=ENGINE_SESSION, name="deadly")
    services = Services()
    ports = WorkerPorts(PostgresLeaseStore(database), services, services, RayHosts(settings))
    dispatcher = Dispatcher(settings, "deadly", "default", ports, Reaper(settings, database, "deadly"))
    running = asyncio.create_task(dispatcher.run())
    naps = [TaskSpec("nap", json.dumps({"value": n}), max_attempts=1) for n in range(5)]
    told: dict[str, Any] = {
        "before": before,
        "blocked": await run(database, *naps, TaskSpec("block", "{}", max_attempts=1)),
        "after": await asyncio.wait_for(pool.handle(HOST).status.remote(), 60),
        "process": await run(
            database, TaskSpec("die_in_process", "{}", max_attempts=1), TaskSpec("nap", "{}", max_attempts=1)
        ),
        "memory": [await run(database, TaskSpec("remember", "{}")) for _ in range(2)],
        "once": await run(database, TaskSpec("die_once", '{"value": 1}', max_attempts=5)),
        "always": await run(database, TaskSpec("die", "{}", max_attempts=2)),
        "batch": await run(
            database,
            TaskSpec("die_once", "{}", max_attempts=8),
            *(TaskSpec("alive", json.dumps({"value": n}), max_attempts=8) for n in range(20)),
        ),
    }
    print(json.dumps(told), flush=True)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await pool.remove(HOST)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
