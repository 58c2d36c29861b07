"""An agent host: one Ray actor, and so one process, that runs the skills of the agents of one organ."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import ray

from seedcore.fleet.host_limits import HostLimits
from seedcore.service_clients.skill_clients import SkillServiceClients
from seedcore.settings import get_settings
from seedcore.skills.host_protocol import Call, Columns, Completion, calls_of, to_columns
from seedcore.skills.registry import SkillRegistry
from seedcore.telemetry.logs import configure_logs
from seedcore.telemetry.traces import tracing
from seedcore.telemetry.traces.trace_setup import configure_traces
from seedcore.utils import gc_tuning
from seedcore.utils.metrics.ray_metrics import ray_sinks
from seedcore.utils.ray_utils import refuse_embedded_on_many_nodes
from seedcore.worker.execution.progress_buffer import ProgressBuffer
from seedcore.worker.hosting.last_process import take_over
from seedcore.worker.hosting.organ_terms import OrganTerms
from seedcore.worker.hosting.skill_host import SkillHost


class AgentHost:
    """A `SkillHost` of one organ as a Ray actor. When it ends itself, Ray starts it again.

    Args:
        name: the actor's name.
        organ: the organ that its agents belong to; every call that comes is one of theirs.
        limits: the organ's own `HostLimits`; None: the settings hold.
        roles: weight of each role that the organ declares; None: it declares none.
    """

    def __init__(
        self,
        name: str,
        organ: str,
        limits: Mapping[str, object] | None = None,
        roles: Mapping[str, float] | None = None,
    ) -> None:
        settings = get_settings()
        configure_logs(settings)
        configure_traces(settings, name)
        refuse_embedded_on_many_nodes(settings)
        self._before = take_over(settings, name)
        self._progress = ProgressBuffer()
        terms = OrganTerms(HostLimits.model_validate(limits or {}), roles or {})
        self._host = SkillHost(
            name,
            settings,
            SkillRegistry.load(settings),
            SkillServiceClients(settings),
            lambda _skill: organ,
            organs={organ: terms},
            organ=organ,
            organ_of_agent=lambda _agent: organ,
            journal=self._before.journal,
            progress=self._progress,
            died=self._before.begun,
            sinks=ray_sinks(),
        )
        self._host.start()
        gc_tuning.settle()

    async def run(self, calls: Columns) -> AsyncIterator[Columns]:
        """Run calls side by side; yields completions as they happen."""
        async for chunk in self._host.run(calls_of(calls)):
            yield to_columns(chunk)

    async def execute(self, call: Call) -> Completion:
        """Run one call."""
        return await self._host.execute(call)

    async def cancel(self, task_ids: list[str]) -> int:
        """Cancel running calls; returns how many were running."""
        return await self._host.cancel(task_ids)

    async def employ(self, agent_ids: list[str]) -> None:
        """Re-employ agents: each is a scout with a clean record, whatever it did before."""
        self._host.employ(agent_ids)

    async def save(self) -> int:
        """Write what agents have learned now; returns how many were written."""
        return await self._host.save()

    async def status(self) -> dict[str, object]:
        """Which host this is, and what it does: `SkillHost.status`, and `node`, which is Ray's."""
        node = ray.get_runtime_context().get_node_id()
        return {"node": node, **self._host.status(), **self._before.status(), **self._progress.status()}

    async def drain(self, grace_s: float) -> dict[str, object]:
        """Take no more calls, wait `grace_s` seconds for those that run, return the others, and save.

        Nothing of it counts as an attempt. The host does not end by itself.
        """
        returned = await self._host.drain(grace_s)
        await asyncio.to_thread(tracing.flush, tracing.FLUSH_S)
        if self._before.journal is not None:
            self._before.journal.close()
        return {"handed_back": returned, **await self.status()}
