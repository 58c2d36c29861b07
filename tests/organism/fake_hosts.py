"""An in-memory HostProvisioner; a test kills, stops and loads its hosts and workers."""

import asyncio
from collections.abc import Mapping

from seedcore.fleet.agent_registry import AgentRegistry
from seedcore.fleet.organ_spec import HostPlan, OrganSpec
from seedcore.organism.control.host_provisioner import PingReply
from seedcore.organism.control.ray_host_provisioner import execute_on
from seedcore.organism.routing.placement import choose_node
from seedcore.settings import Settings
from seedcore.skills import SkillRegistry
from seedcore.skills.host_protocol import Call, Completion
from seedcore.worker.execution.executor import SkillExecutor


class FakeHosts:
    """Hosts of one test. Several reconcilers may share it, as replicas share a Ray.

    Attributes:
        silent: hosts that do not answer until they are created again.
        unresponsive: those that do not answer even then.
        begun: workers that were told to claim no more.
    """

    def __init__(self) -> None:
        self.alive: dict[str, HostPlan] = {}
        self.made: list[str] = []
        self.removed: list[str] = []
        self.running: dict[str, int] = {}
        self.silent: set[str] = set()
        self.unresponsive: set[str] = set()
        self.dead: set[str] = set()
        self.refuse: set[str] = set()
        self.stuck: set[str] = set()
        self.cancels: set[str] = set()
        self.there = ["node-1"]
        self.homes: dict[str, str] = {}
        self.begun: list[str] = []

    async def ensure(self, plan: HostPlan) -> bool:
        if plan.organ in self.refuse:
            raise RuntimeError("no resources")
        if plan.name in self.alive:
            return False
        self.made.append(plan.name)
        self.alive[plan.name] = plan
        taken = {name: (self.alive[name].organ, node) for name, node in self.homes.items() if name in self.alive}
        self.homes[plan.name] = choose_node(self.there, plan.organ, taken) or "node-1"
        return True

    async def ping(self, name: str) -> PingReply:
        if name in self.cancels:
            raise asyncio.CancelledError
        if name in self.silent | self.unresponsive:
            await asyncio.Event().wait()
        if name not in self.alive or name in self.dead:
            raise ConnectionError(f"{name} is dead")
        return PingReply(self.running.get(name, 0), self.homes.get(name, "node-1"))

    async def remove(self, name: str) -> None:
        if name in self.stuck:
            raise ConnectionError("Ray is away")
        self.removed.append(name)
        self.alive.pop(name, None)
        self.silent.discard(name)

    async def begin_drain(self, name: str) -> None:
        if "dispatcher" in name:
            self.begun.append(name)

    async def retire(self, name: str) -> None:
        await self.remove(name)

    async def names(self) -> list[str]:
        return list(self.alive)

    async def nodes(self, organs: Mapping[str, OrganSpec]) -> dict[str, list[str]]:
        return {organ: list(self.there) for organ in organs}

    def of(self, organ: str) -> list[str]:
        """The hosts of an organ that are there."""
        return sorted(name for name, plan in self.alive.items() if plan.organ == organ)


class Host:
    """What stands for a host's actor handle: its `execute.remote`."""

    def __init__(self, plan: HostPlan, settings: Settings) -> None:
        book = AgentRegistry(plan.organ, ())
        self.executor = SkillExecutor(SkillRegistry.load(settings), settings, book)
        self.calls: list[Call] = []
        self.error: Exception | None = None
        self.execute = self

    async def remote(self, call: Call) -> Completion:
        self.calls.append(call)
        if self.error is not None:
            raise self.error
        async for chunk in self.executor.run([call]):
            return chunk[0]
        raise AssertionError


class Pool(FakeHosts):
    """Hosts of one test, shared by all the replicas that it starts; they run skills."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.hosts: dict[str, Host] = {}

    async def ensure(self, plan: HostPlan) -> bool:
        made = await super().ensure(plan)
        if made:
            self.hosts[plan.name] = Host(plan, self.settings)
        return made

    async def remove(self, name: str) -> None:
        await super().remove(name)
        self.hosts.pop(name, None)

    def kill(self, name: str) -> None:
        del self.alive[name], self.hosts[name]

    async def execute(self, host: str, call: Call, timeout_s: float) -> Completion:
        return await execute_on(self.hosts[host], host, call, timeout_s)
