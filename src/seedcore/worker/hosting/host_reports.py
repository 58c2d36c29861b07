"""What a host reports to PostgreSQL: what its agents learn, the progress of long work, its status, and why it ends."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from seedcore.fleet.agent_registry import AgentRegistry
from seedcore.fleet.agent_repository import AgentRepository
from seedcore.fleet.host_repository import HostRepository
from seedcore.settings import Settings
from seedcore.stores.postgres import Database
from seedcore.tasks import leases
from seedcore.worker.execution.last_life import BegunCall, report_last_life
from seedcore.worker.execution.progress_buffer import ProgressRow

STATUS_EVERY_S = 5.0
"""The host's row is written at least this often, and whenever its content changes."""


class ProgressReports(Protocol):
    """Where skills leave their progress."""

    async def run(self, write: Callable[[Sequence[ProgressRow]], Awaitable[None]]) -> None:
        """Let `write` have what is reported, until this is cancelled; what it cannot write is tried again."""


class HostReports:
    """The reports of one host; all of it runs in one event loop, that of `database`.

    Args:
        database: where to.
        name: the host's.
        organ: of the host's row; "" for a worker, whose agents are of many organs.
        registries: the agents of each organ that has had work.
        settings: how many agents to keep in memory over all organs, and when a skill is quarantined.
        died: what was running when an earlier process of this name ended.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        organ: str,
        registries: Callable[[], Sequence[AgentRegistry]],
        settings: Settings,
        died: Sequence[BegunCall] = (),
    ) -> None:
        self._database, self._name = database, name
        self._store = AgentRepository(database)
        self._hosts = HostRepository(database, name, organ)
        self._registries, self._capacity = registries, settings.host_agents
        self._settings, self._died = settings, died
        self._saving = asyncio.Lock()
        self._begun = False
        self._written: Mapping[str, object] = {}
        self._written_at = float("-inf")

    @property
    def last_end(self) -> dict[str, object] | None:
        """Why the process before this one ended itself; None when it did not, or nothing is known yet."""
        return self._hosts.last_end

    async def write(self, now: float, status: Callable[[], Mapping[str, object]]) -> None:
        """Write all that is new; `now` is on `time.monotonic()`.

        Raises:
            one of `stores.postgres.DATABASE_ERRORS`: nothing is lost, the next call writes it.
        """
        if not self._begun:
            await self._hosts.begin()
            await report_last_life(self._database, self._settings, self._name, self._died)
            self._begun = True
        await self.save_agents()
        self._let_sleep()
        current = status()
        if current != self._written or now - self._written_at > STATUS_EVERY_S:
            await self._hosts.save_status(current)
            self._written, self._written_at = current, now

    async def save_agents(self) -> int:
        """Write what agents have learned now; returns how many were written."""
        # What another call has taken but not written yet must not be missing when this one returns.
        async with self._saving:
            return sum([await self._store.save(self._name, registry) for registry in self._registries()])

    async def write_end(self, why: Mapping[str, object]) -> None:
        """Write the last of all: what agents have learned, and why the process ends itself."""
        await self.save_agents()
        await self._hosts.record_end(why)

    async def write_progress(self, rows: Sequence[ProgressRow]) -> None:
        """Write the progress of skills as events of their tasks; a lost lease writes nothing.

        Raises:
            one of `stores.postgres.DATABASE_ERRORS`: nothing is written.
        """
        async with self._database.connection() as connection:
            await leases.progress(connection, rows)

    async def close(self) -> None:
        """Close the connections."""
        await self._database.aclose()

    def _let_sleep(self) -> None:
        registries = self._registries()
        active = sum(len(registry.agents) for registry in registries)
        # Over the capacity, each organ keeps its share of it.
        share = min(1.0, self._capacity / max(1, active))
        for registry in registries:
            registry.sleep(capacity=int(len(registry.agents) * share))
