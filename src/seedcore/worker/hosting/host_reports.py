"""What a host reports to PostgreSQL: what its agents learn, the progress of long work, its status, and why it ends."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol
from uuid import UUID

import asyncpg

from seedcore.fleet.agent_registry import AgentRegistry
from seedcore.fleet.agent_repository import AgentRepository
from seedcore.fleet.host_repository import HostRepository
from seedcore.stores.postgres import Database
from seedcore.stores.sqlstates import is_row_error
from seedcore.tasks import leases
from seedcore.telemetry.logs import get_logger

STATUS_EVERY_S = 5.0
"""The host's row is written at least this often, and whenever its content changes."""

MAX_UNWRITTEN = 10_000
"""Reports of progress that are kept while the database does not take them; older ones are dropped."""

ProgressReport = tuple[UUID, int, str]
"""Task, fencing token, and JSON text."""


class ProgressSource(Protocol):
    """Where skills leave their progress."""

    def take(self) -> Sequence[ProgressReport]:
        """What was reported since the last call; callable from any thread."""


class HostReports:
    """The reports of one host; all of it runs in one event loop, that of `database`.

    Args:
        database: where to.
        name: the host's.
        organ: of the host's row; "" for a worker, whose agents are of many organs.
        registries: the agents of each organ that has had work.
        capacity: agents to keep in memory, over all organs.
        progress: where skills leave their progress.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        organ: str,
        registries: Callable[[], Sequence[AgentRegistry]],
        capacity: int,
        progress: ProgressSource | None = None,
    ) -> None:
        self._database, self._name = database, name
        self._log = get_logger("seedcore.worker.host", host=name)
        self._store = AgentRepository(database)
        self._hosts = HostRepository(database, name, organ)
        self._registries, self._capacity = registries, capacity
        self._progress = progress
        self._unwritten: list[ProgressReport] = []
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
            self._begun = True
        await self.save_agents()
        self._let_sleep()
        await self._write_progress()
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

    async def close(self) -> None:
        """Close the connections."""
        await self._database.aclose()

    async def _write_progress(self) -> None:
        if self._progress is not None:
            self._unwritten = [*self._unwritten, *self._progress.take()][-MAX_UNWRITTEN:]
        if not self._unwritten:
            return
        try:
            async with self._database.connection() as connection:
                await leases.progress(connection, self._unwritten)
        except asyncpg.PostgresError as error:
            if not is_row_error(error):
                raise
            # They would be refused again and again, and hold up those that come after them.
            self._log.warning("reports of progress were refused", reports=len(self._unwritten), reason=str(error))
        self._unwritten = []

    def _let_sleep(self) -> None:
        registries = self._registries()
        active = sum(len(registry.agents) for registry in registries)
        # Over the capacity, each organ keeps its share of it.
        share = min(1.0, self._capacity / max(1, active))
        for registry in registries:
            registry.sleep(capacity=int(len(registry.agents) * share))
