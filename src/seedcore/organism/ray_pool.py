"""Hosts as detached Ray actors, found by name in SeedCore's namespace."""

import asyncio
from typing import Any

import ray

from seedcore.organism.host_actor import AgentHost
from seedcore.organism.organs import HostPlan
from seedcore.settings import Settings

PING_S = 5.0


class RayHostPool:
    """Makes hosts, finds those that live on, and keeps their handles."""

    def __init__(self, settings: Settings) -> None:
        self._namespace = settings.namespace
        self._concurrency = settings.host_concurrency
        self._handles: dict[str, Any] = {}

    async def ensure(self, plan: HostPlan) -> None:
        """Make the host, or take the living one of that name."""
        if plan.name not in self._handles:
            self._handles[plan.name] = await asyncio.to_thread(self._make, plan)

    async def ping(self, name: str) -> None:
        """Return when the host answers within PING_S."""
        try:
            await asyncio.wait_for(self._handles[name].status.remote(), PING_S)
        except ray.exceptions.ActorDiedError:
            # It ended for good (a restart would have been ActorUnavailable): the next round makes a new one.
            del self._handles[name]
            raise

    async def remove(self, name: str) -> None:
        """End a host for good, also one that an earlier process made; one that is gone already is fine."""
        await asyncio.to_thread(self._kill, name)
        self._handles.pop(name, None)

    def _kill(self, name: str) -> None:
        try:
            handle = self._handles.get(name) or ray.get_actor(name, namespace=self._namespace)
        except ValueError:  # how Ray says that there is no such actor
            return
        ray.kill(handle, no_restart=True)

    def handle(self, name: str) -> Any:
        """The actor handle of a host that `ensure` has made or found."""
        return self._handles[name]

    def _make(self, plan: HostPlan) -> Any:
        spec = plan.spec
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
                num_cpus=spec.num_cpus,
                num_gpus=spec.num_gpus,
                resources=spec.resources or None,
                scheduling_strategy="SPREAD",
            )
            .remote(plan.name, plan.organ, spec.limits.model_dump(exclude_none=True), dict(spec.roles))
        )
