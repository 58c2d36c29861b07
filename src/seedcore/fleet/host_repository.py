"""Hosts in PostgreSQL: how each is, and why its last process ended itself."""

import json
from datetime import UTC, datetime
from typing import Any

from seedcore import __version__
from seedcore.stores.postgres import Database, loads

# Primary key hosts (name).
_SAVE = """
insert into seedcore.hosts (name, organ, version, started_at, status) values ($1, $2, $3, $4, $5::jsonb)
on conflict (name) do update set organ = excluded.organ, version = excluded.version, started_at = excluded.started_at,
  status = excluded.status, updated = now()
"""
_ENDED = """
insert into seedcore.hosts (name, organ, version, started_at, status, ended) values ($1, $2, $3, $4, '{}', $5::jsonb)
on conflict (name) do update set ended = excluded.ended, updated = now()
"""
_LAST_END = "select ended from seedcore.hosts where name = $1"
# Once a start; the table of agents has no index for it.
_NOTHING_IN_HAND = """
update seedcore.agents set running = 0, queued_s = 0, seq = nextval('seedcore.agent_change'), updated = now()
where host = $1 and running > 0
"""


class HostStore:
    """What one host tells of itself."""

    def __init__(self, database: Database, name: str, organ: str) -> None:
        self._database = database
        self._name, self._organ = name, organ
        self._started = datetime.now(UTC)
        self.last_end: dict[str, Any] | None = None

    async def begin(self) -> None:
        """Take over from an earlier process of this host: what it had in hand is in hand no more."""
        async with self._database.connection() as connection:
            self.last_end = loads(await connection.fetchval(_LAST_END, self._name))
            await connection.execute(_NOTHING_IN_HAND, self._name)

    async def save(self, status: dict[str, Any]) -> None:
        """Write how the host is."""
        async with self._database.connection() as connection:
            await connection.execute(
                _SAVE, self._name, self._organ, __version__, self._started, json.dumps(status, default=str)
            )

    async def ended(self, why: dict[str, Any]) -> None:
        """Write why this process ends itself; `at` is added."""
        told = json.dumps({**why, "at": datetime.now(UTC).isoformat()}, default=str)
        async with self._database.connection(wait_s=3) as connection:
            await connection.execute(_ENDED, self._name, self._organ, __version__, self._started, told)
