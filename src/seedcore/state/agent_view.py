"""All agents of the database in columns: read whole once, and then only what changed."""

import asyncpg

from seedcore.fleet import agent_reads
from seedcore.fleet.agent_reads import AgentBatch
from seedcore.state.agent_columns import AgentColumns
from seedcore.stores.postgres import Database
from seedcore.stores.resume_point import Snapshot

SESSION = {"jit": "off", "enable_seqscan": "off"}
"""For State's connections: whatever the table's statistics say, changes are found by their index."""

PAGE = 20_000
WAIT_S = 3.0


class AgentView:
    """All agents in columns, and up to which transactions they are known. `read` is for one caller at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.columns = AgentColumns()
        self.seen: Snapshot | None = None

    async def read(self) -> Snapshot:
        """Read what changed since the last call, everything the first time; returns the snapshot that is known now."""
        async with self._database.connection(wait_s=WAIT_S) as connection:
            if self.seen is None:
                seen = await self._read_all(connection)
            else:
                batch, seen = await agent_reads.read_changed(connection, self.seen)
                self._update(batch)
        self.seen = seen
        return seen

    def reaches(self, since: Snapshot) -> bool:
        """Whether all changes after `since` are known: it is of this database, and not from its future."""
        return self.seen is not None and since.xmax <= self.seen.xmax

    async def _read_all(self, connection: asyncpg.Connection) -> Snapshot:
        # The snapshot first: what changes while the pages are read is read again the next time.
        seen = await agent_reads.snapshot_now(connection)
        last = ""
        while (batch := await agent_reads.read_page(connection, last, PAGE)) is not None:
            self._update(batch)
            last = batch.id[-1]
        return seen

    def _update(self, batch: AgentBatch | None) -> None:
        if batch is not None:
            self.columns.update(batch)
