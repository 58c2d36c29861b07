"""Hosts as detached Ray actors, found by name in SeedCore's namespace."""

import asyncio
import threading
from collections.abc import Iterable, Mapping
from typing import Any

import ray
from ray.util import list_named_actors
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from seedcore.fleet.organ_spec import HostPlan, OrganSpec
from seedcore.organism.control.host import PREFIX
from seedcore.organism.control.reconciler import Pulse
from seedcore.organism.routing.placement import choose_node
from seedcore.settings import Settings
from seedcore.telemetry.logs import get_logger
from seedcore.worker.actors.agent_host import AgentHost

RETIRE_S = 10.0
"""Longest time that a host which is to go may take to hand back what it has in hand."""


class RayHostPool:
    """Makes hosts, finds those that live on, and keeps their handles."""

    def __init__(self, settings: Settings) -> None:
        self._namespace = settings.namespace
        self._handles: dict[str, Any] = {}
        self._nodes: dict[str, tuple[str, str]] = {}
        self._making = threading.Lock()

    async def ensure(self, plan: HostPlan) -> bool:
        """Make the host, or take the living one of that name; whether it was made."""
        if plan.name in self._handles:
            return False
        self._handles[plan.name], made = await asyncio.to_thread(self._find_or_make, plan)
        return made

    async def ping(self, name: str) -> Pulse:
        """The host's answer, however long it takes.

        Raises:
            RayError: the host has died, or restarts.
        """
        try:
            status = await self._get(name).status.remote()
        except ray.exceptions.ActorDiedError:
            # It ended for good (a restart would have been ActorUnavailable): the next round makes a new one.
            self._forget(name)
            raise
        self._nodes[name] = status["organ"], status["node"]
        return Pulse(status["running"], status["node"])

    async def remove(self, name: str) -> None:
        """End a host for good, also one that an earlier process made; one that is gone already is fine."""
        await asyncio.to_thread(self._kill, name)
        self._forget(name)

    async def retire(self, name: str) -> None:
        """The same, after the host has handed back what it has in hand, and has saved what its agents learned."""
        try:
            async with asyncio.timeout(RETIRE_S):
                await self._get(name).drain.remote(0.0)
        except (ray.exceptions.RayError, TimeoutError, ValueError) as error:
            get_logger("seedcore.organism").info("host goes without a word", host=name, reason=type(error).__name__)
        await self.remove(name)

    async def names(self) -> Iterable[str]:
        """Every host in the namespace, whoever made it."""
        actors = await asyncio.to_thread(list_named_actors, all_namespaces=True)
        return [a["name"] for a in actors if a["namespace"] == self._namespace and a["name"].startswith(PREFIX)]

    async def nodes(self, organs: Mapping[str, OrganSpec]) -> dict[str, list[str]]:
        """For each organ the nodes that are there and have, in all, what one of its hosts reserves."""
        nodes = await asyncio.to_thread(ray.nodes)
        return {organ: [node["NodeID"] for node in nodes if _fits(node, spec)] for organ, spec in organs.items()}

    def handle(self, name: str) -> Any:
        """The actor handle of a host.

        Raises:
            ValueError: there is none of that name.
        """
        return self._get(name)

    def _get(self, name: str) -> Any:
        # A replica that does not lead has made none: it finds them.
        if name not in self._handles:
            self._handles[name] = ray.get_actor(name, namespace=self._namespace)
        return self._handles[name]

    def _forget(self, name: str) -> None:
        self._handles.pop(name, None)
        self._nodes.pop(name, None)

    def _kill(self, name: str) -> None:
        try:
            handle = self._handles.get(name) or ray.get_actor(name, namespace=self._namespace)
        except ValueError:  # how Ray says that there is no such actor
            return
        ray.kill(handle, no_restart=True)

    def _find_or_make(self, plan: HostPlan) -> tuple[Any, bool]:
        try:
            return ray.get_actor(plan.name, namespace=self._namespace), False
        except ValueError:
            # One after the other: each sees where those before it went.
            with self._making:
                return self._make(plan), True

    def _make(self, plan: HostPlan) -> Any:
        spec = plan.spec
        strategy: Any = "SPREAD"
        node = choose_node([n["NodeID"] for n in ray.nodes() if _fits(n, spec)], plan.organ, self._nodes)
        if node is not None:
            self._nodes[plan.name] = plan.organ, node
            strategy = NodeAffinitySchedulingStrategy(node, soft=True, _spill_on_unavailable=True)
        return (
            ray.remote(AgentHost)
            .options(
                name=plan.name,
                namespace=self._namespace,
                lifetime="detached",
                get_if_exists=True,
                max_restarts=-1,
                # Slots for whole batches; what runs at once inside is bounded by the executor.
                max_concurrency=1000,
                # Hosts of an organ on different nodes; Ray's own SPREAD puts several on one while others have none.
                scheduling_strategy=strategy,
                # A byte: Ray puts actors that reserve nothing on any node, whatever the strategy says.
                memory=1,
                num_cpus=spec.num_cpus,
                num_gpus=spec.num_gpus,
                resources=spec.resources or None,
            )
            .remote(plan.name, plan.organ, spec.limits.model_dump(exclude_none=True), dict(spec.roles))
        )


def _fits(node: dict[str, Any], spec: OrganSpec) -> bool:
    """Whether a node is there and has, in all, what a host reserves."""
    has = node["Resources"]
    wants = {"CPU": spec.num_cpus, "GPU": spec.num_gpus, **spec.resources}
    return bool(node["Alive"]) and all(has.get(name, 0.0) >= amount for name, amount in wants.items())
