"""An agent host: one Ray actor, a process, that many agents live on."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from seedcore import __version__
from seedcore.clients.bundle import Clients
from seedcore.organism.agent_store import REPORT_S, AgentStore, pause_after
from seedcore.organism.agents import AgentBook
from seedcore.organism.executor import SkillExecutor
from seedcore.organism.limits import HostLimits
from seedcore.settings import get_settings
from seedcore.skills.calls import Call, Columns, Completion, calls_of, to_columns
from seedcore.skills.registry import SkillRegistry
from seedcore.stores.postgres import Database
from seedcore.utils.background import BackgroundLoop
from seedcore.utils.logs import configure_logs, get_logger
from seedcore.utils.ray_utils import refuse_embedded_on_many_nodes


class AgentHost:
    """Runs skills for its agents and reports what they do to PostgreSQL, in batches.

    Args:
        name: the actor's name.
        organ: the organ that its agents belong to.
        limits: what the organ says of `HostLimits`; None: the settings hold.
        roles: weight of each role that the organ declares; None: it declares none.
    """

    def __init__(
        self,
        name: str,
        organ: str,
        limits: Mapping[str, Any] | None = None,
        roles: Mapping[str, float] | None = None,
    ) -> None:
        settings = HostLimits.model_validate(limits or {}).over(get_settings())
        configure_logs(settings)
        refuse_embedded_on_many_nodes(settings)
        self._log = get_logger("seedcore.organism.host", host=name, organ=organ)
        self.name = name
        self._agents = AgentBook(organ, [])
        registry = SkillRegistry.load(settings)
        self._executor = SkillExecutor(registry, settings, self._agents, Clients(settings))
        self._store = AgentStore(Database(settings, size=1, name="seedcore-host"))
        # The report goes on even while a skill blocks the loop that skills run in.
        self._background = BackgroundLoop("report")
        self._background.start(self._report())

    async def run(self, calls: Columns) -> AsyncIterator[Columns]:
        """Run calls side by side; yields completions as they happen."""
        async for chunk in self._executor.run(calls_of(calls)):
            yield to_columns(chunk)

    async def execute(self, call: Call) -> Completion:
        """Run one call."""
        async for chunk in self._executor.run([call]):
            return chunk[0]
        raise AssertionError("an executor ends every call")

    async def cancel(self, task_ids: list[str]) -> int:
        """Cancel running calls; returns how many were running."""
        return self._executor.cancel(task_ids)

    async def status(self) -> dict[str, Any]:
        """What this host is and does."""
        return {
            "host": self.name,
            "organ": self._agents.organ,
            "version": __version__,
            "agents": len(self._agents.agents),
            "running": self._executor.running,
        }

    async def _report(self) -> None:
        while True:
            pause_s, began = REPORT_S, time.monotonic()
            try:
                await self._store.save(self.name, self._agents)
                pause_s = pause_after(time.monotonic() - began)
            except Exception as error:  # noqa: BLE001 - the report must go on whatever the database says; it is logged
                self._log.warning("report is late", reason=f"{type(error).__name__}: {error}")
            await asyncio.sleep(pause_s)
