"""Agents as the database tells them: all of them once, and then what changed."""

from typing import Any

import asyncpg

from seedcore.state.agent_columns import AgentColumns
from seedcore.stores.pg_snapshot import Snapshot
from seedcore.stores.postgres import Database

SESSION = {"jit": "off", "enable_seqscan": "off"}
"""For State's connections: however the table's statistics look, what changed is found by its index."""

PAGE = 20_000
WAIT_S = 3.0

_COLUMNS = (
    "id",
    "organ",
    "host",
    "running",
    "queued_s",
    "completed",
    "failed",
    "lifecycle",
    "rates",
    "roles",
    "age_s",
    "change",
)
_LISTS = ", ".join(f"array_agg({name}) as {name}" for name in _COLUMNS)
_SELECT = """
select id, organ, host, running, queued_s, completed, failed, lifecycle, rates::text as rates,
       roles::text as roles, extract(epoch from now() - updated)::float8 as age_s, change::text::bigint as change
from seedcore.agents"""
# Primary key.
_PAGE = f"select {_LISTS} from ({_SELECT} where id > $1 order by id limit $2) a"  # noqa: S608 - constants of this file
# Index agents_change. One statement has one snapshot, the one that it returns.
_CHANGED = f"""
select pg_current_snapshot()::text as seen, {_LISTS}
from ({_SELECT} where change >= $1::text::xid8 or change = any($2::text[]::xid8[])) a
"""  # noqa: S608
_NOW = "select pg_current_snapshot()::text"


class AgentView:
    """All agents by columns, and up to which transactions they are known. `read` is for one caller at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.columns = AgentColumns()
        self.seen: Snapshot | None = None

    async def read(self) -> Snapshot:
        """Read what changed since the last time, everything the first time; returns where this stands now."""
        async with self._database.connection(wait_s=WAIT_S) as connection:
            if self.seen is None:
                seen = await self._read_all(connection)
            else:
                known = self.seen
                row = await connection.fetchrow(_CHANGED, str(known.xmax), [str(number) for number in known.running])
                self._take(row)
                seen = Snapshot.parse(row["seen"])
        self.seen = seen
        return seen

    def reaches(self, since: Snapshot) -> bool:
        """Whether all that has come after `since` can be told: it is of this database, and not from its future."""
        return self.seen is not None and since.xmax <= self.seen.xmax

    async def _read_all(self, connection: asyncpg.Connection) -> Snapshot:
        # The snapshot first: what changes while the pages are read is read again the next time.
        seen = Snapshot.parse(await connection.fetchval(_NOW))
        last = ""
        while (row := await connection.fetchrow(_PAGE, last, PAGE))["id"] is not None:
            self._take(row)
            last = row["id"][-1]
        return seen

    def _take(self, row: Any) -> None:
        if row["id"] is not None:
            self.columns.put({name: row[name] for name in _COLUMNS})
