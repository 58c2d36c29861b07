"""A dispatcher in a process of its own, with a Coordinator and hosts that do as they are told.

    python dispatcher_process.py DSN NAME LEASE_S

A task sleeps for its param `sleep_s` and answers with the process's name. Each call prints a line
`began ID ATTEMPT`.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence

from seedcore.settings import load_settings
from seedcore.skills.host_protocol import Call, Completion
from seedcore.stores.postgres import ENGINE_SESSION, Database
from seedcore.tasks.model import Lease
from seedcore.worker.decisions.route_decision import RouteDecision
from seedcore.worker.dispatcher import Dispatcher
from seedcore.worker.lease_store import PostgresLeaseStore
from seedcore.worker.ports import PlanJson, PlanRequest, WorkerPorts
from seedcore.worker.reaper import Reaper


class Decisions:
    ready = True

    def decide(self, tasks: Sequence[Lease]) -> list[RouteDecision]:
        return [RouteDecision("fast", "test", "test", agent="a", host="h")] * len(tasks)


class Plans:
    async def plan(self, request: PlanRequest) -> PlanJson:
        raise NotImplementedError


class Hosts:
    def __init__(self, name: str) -> None:
        self.name = name

    async def run(self, host: str, calls: Sequence[Call]) -> AsyncIterator[list[Completion]]:
        for done in asyncio.as_completed([self.one(call) for call in calls]):
            yield [await done]

    async def one(self, call: Call) -> Completion:
        print("began", call.task_id, call.attempt, flush=True)
        await asyncio.sleep(json.loads(call.params)["value"]["sleep_s"])
        result = json.dumps({"by": self.name, "attempt": call.attempt})
        return Completion(call.task_id, call.token, call.agent, call.skill, True, 0.01, result=result)

    async def cancel(self, host: str, task_ids: Sequence[str]) -> None:
        """Nothing to stop: a call that is not wanted ends unheard."""


async def main(dsn: str, name: str, lease_s: str) -> None:
    settings = load_settings(pg_dsn=dsn, lease_s=float(lease_s), poll_s=0.1, reap_s=0.2, retry_base_s=0.05)
    database = Database(settings, session=ENGINE_SESSION, name=name)
    ports = WorkerPorts(PostgresLeaseStore(database), Decisions(), Plans(), Hosts(name))
    dispatcher = Dispatcher(settings, name, "default", ports, Reaper(settings, database, name))
    print("runs", flush=True)
    await dispatcher.run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
