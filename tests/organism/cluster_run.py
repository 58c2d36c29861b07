"""The Organism on a Ray of three nodes: hosts and workers are killed, stopped and lose their node. Prints JSON.

    python cluster_run.py TEMP_DIR

SEEDCORE_PG_DSN and SEEDCORE_ORGANS_PATH say where and what. The service runs in this process, without Serve.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import ray
from ray.cluster_utils import Cluster
from ray.exceptions import RayError

from seedcore.errors import SeedCoreError
from seedcore.organism.control import liveness
from seedcore.organism.control.ray_host_provisioner import RayHostProvisioner
from seedcore.organism.service import OrganismService
from seedcore.schemas.organism import ExecuteOnOrgan
from seedcore.settings import get_settings
from seedcore.worker.actors.agent_host import AgentHost
from seedcore.worker.actors.worker_actor import WorkerActor

DEADLINE_S = 90.0
NAMESPACE = get_settings().namespace
# What is shipped waits twice as long for a silent host.
liveness.SILENT_S = 8.0


async def timed(condition: Callable[[], Awaitable[bool]]) -> float:
    """Seconds until `condition` holds."""
    began = time.monotonic()
    async with asyncio.timeout(DEADLINE_S):
        while not await _holds(condition):
            await asyncio.sleep(0.05)
    return round(time.monotonic() - began, 2)


async def _holds(condition: Callable[[], Awaitable[bool]]) -> bool:
    """A host that dies while it is asked is a reason to ask again."""
    try:
        return await condition()
    except RayError:
        return False


def service(version: str) -> OrganismService:
    hosts = partial(RayHostProvisioner, host_actor=AgentHost, worker_actor=WorkerActor)
    return OrganismService({"version": version}, provisioner=hosts)


class Run:
    """One service after the other on one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.service = service("1")
        self.told: dict[str, Any] = {}

    async def works(self) -> bool:
        """Whether every agent that the table names does a task."""
        try:
            count = len(self.service._loop.view.routing_table()["organs"]["utility"]["agents"])
            await asyncio.gather(*[self.service.execute_on_organ(echo(n)) for n in range(count)])
        except SeedCoreError:
            return False
        return count == 6

    async def whole(self) -> bool:
        """Whether all that is wanted is there, and every agent works."""
        return self.service._loop.view.settled and await self.works()

    async def where(self) -> dict[str, tuple[str, int]]:
        """Node and process of every host in the table."""
        names = [host.name for host in self.service._loop.view.hosts_of("utility") if host.takes_tasks]
        return await _where_are(names)

    async def workers(self) -> dict[str, tuple[str, int]]:
        """Node and process of every worker that claims."""
        names = [host.name for host in self.service._loop.view.hosts_of("~default") if host.takes_tasks]
        return await _where_are(names)

    async def claiming(self) -> bool:
        """Whether as many workers as there are to be would claim, if a Coordinator told them what to decide with."""
        names = list(await self.workers())
        answers = await asyncio.gather(*[ray.get_actor(n, namespace=NAMESPACE).status.remote() for n in names])
        return len(names) == 3 and all(answer["session"] is not None for answer in answers)

    async def replica(self, version: str) -> None:
        """The service's replica goes, another comes."""
        await self.service.stop()
        self.service = service(version)
        await self.service.start()

    async def all(self) -> None:
        told = self.told
        await self.service.start()
        told["before"] = (await self.service.health())["organism_initialized"]
        while True:
            try:
                await self.service.initialize()
                break
            except SeedCoreError:
                continue
        told["works"] = await self.works()
        homes = await self.where()
        told["nodes"] = len({node for node, _ in homes.values()})

        told["workers_up_s"] = await timed(self.claiming)
        workers = await self.workers()
        told["worker_nodes"] = len({node for node, _ in workers.values()})
        name, (_, pid) = sorted(workers.items())[0]
        os.kill(pid, signal.SIGKILL)
        told["worker_back_s"] = await timed(self.back(name, pid))

        name, (_, pid) = sorted(homes.items())[0]
        os.kill(pid, signal.SIGKILL)
        told["killed_works_s"] = await timed(self.moved(name, pid))
        told["killed_whole_s"] = await timed(self.whole)

        name, (_, pid) = sorted((await self.where()).items())[0]
        os.kill(pid, signal.SIGSTOP)
        told["stopped_whole_s"] = await timed(self.replaced(name, pid))

        await self.replica("1")
        health = await self.service.health()
        told["replica"] = (health["ready"], health["organism_initialized"])
        made = set(await self.where())

        lost = next(iter(self.cluster.worker_nodes))
        on_it = [name for name, (node, _) in (await self.where()).items() if node == lost.node_id]
        await asyncio.to_thread(self.cluster.remove_node, lost, False)
        told["node_had"] = len(on_it)
        told["node_lost_s"] = await timed(self.off(lost.node_id))
        homes = await self.where()
        told["same_hosts"] = set(homes) == made
        told["nodes_after"] = len({node for node, _ in homes.values()})

        await self.replica("2")
        least = 3
        began = time.monotonic()
        while set(await self.where()) & made or not await self.whole():
            assert time.monotonic() - began < DEADLINE_S
            least = min(least, sum(host.takes_tasks for host in self.service._loop.view.hosts_of("utility")))
            assert await self.works()
        told["rolled"] = (least, len(await self.where()))

        told["workers_rolled_s"] = await timed(self.rolled(set(workers)))
        status = await self.service.shutdown()
        left = list(await self.service._hosts.names())
        told["after_shutdown"] = [status.stopped, sorted(left) == sorted(await self.workers()), len(left)]
        await self.service.stop()

    def back(self, name: str, pid: int) -> Callable[[], Awaitable[bool]]:
        async def condition() -> bool:
            workers = await self.workers()
            return name in workers and workers[name][1] != pid and await self.claiming()

        return condition

    def rolled(self, before: set[str]) -> Callable[[], Awaitable[bool]]:
        async def condition() -> bool:
            left = before & {host.name for host in self.service._loop.view.hosts_of("~default")}
            return not left and await self.claiming()

        return condition

    def moved(self, name: str, pid: int) -> Callable[[], Awaitable[bool]]:
        async def condition() -> bool:
            homes = await self.where() if await self.works() else {}
            return bool(homes) and (name not in homes or homes[name][1] != pid)

        return condition

    def replaced(self, name: str, pid: int) -> Callable[[], Awaitable[bool]]:
        async def condition() -> bool:
            alive = self.service._loop.view.hosts[name].takes_tasks if name in self.service._loop.view.hosts else True
            gone = not os.path.exists(f"/proc/{pid}")
            return gone and alive and await self.whole()

        return condition

    def off(self, node: str) -> Callable[[], Awaitable[bool]]:
        async def condition() -> bool:
            if not await self.whole():
                return False
            return node not in {home for home, _ in (await self.where()).values()}

        return condition


async def _where_are(names: list[str]) -> dict[str, tuple[str, int]]:
    calls = [ray.get_actor(name, namespace=NAMESPACE).__ray_call__.remote(_where) for name in names]
    return dict(zip(names, await asyncio.gather(*calls), strict=True))


def echo(value: int) -> ExecuteOnOrgan:
    task = {"type": "echo", "params": {"value": value}}
    return ExecuteOnOrgan.model_validate({"organ_id": "utility", "task": task, "organ_timeout_s": 2})


def _where(_host: Any) -> tuple[str, int]:
    return ray.get_runtime_context().get_node_id(), os.getpid()


def main(temp_dir: str) -> None:
    small = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={**small, "temp_dir": temp_dir})
    try:
        for _ in range(2):
            cluster.add_node(**small)
        ray.init(address=cluster.address, namespace=NAMESPACE, log_to_driver=False)
        run = Run(cluster)
        try:
            asyncio.run(run.all())
        except BaseException:
            reconcile_loop, view = run.service._loop, run.service._loop.view
            print(
                run.service._control_loop,
                reconcile_loop.leads,
                view.epoch,
                *view.hosts.values(),
                sep="\n",
                file=sys.stderr,
            )
            raise
        finally:
            print(json.dumps(run.told), flush=True)
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
