"""The table `hosts`: the status of each host, and why its last process ended itself."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

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
# Runs once a start; `agents` has no index for it.
_RELEASE_ALL = """
update seedcore.agents set running = 0, queued_s = 0, seq = nextval('seedcore.agent_change'), updated = now()
where host = $1 and running > 0
"""


class HostRepository:
    """What one host reports of itself."""

    def __init__(self, database: Database, name: str, organ: str) -> None:
        self._database = database
        self._name, self._organ = name, organ
        self._started = datetime.now(UTC)
        self.last_end: dict[str, object] | None = None

    async def begin(self) -> None:
        """Take over from an earlier process of this host: what it had in hand is in hand no longer."""
        async with self._database.connection() as connection:
            self.last_end = loads(await connection.fetchval(_LAST_END, self._name))
            await connection.execute(_RELEASE_ALL, self._name)

    async def save_status(self, status: Mapping[str, object]) -> None:
        """Write the host's status."""
        async with self._database.connection() as connection:
            await connection.execute(
                _SAVE, self._name, self._organ, __version__, self._started, json.dumps(status, default=str)
            )

    async def record_end(self, reason: Mapping[str, object]) -> None:
        """Write why this process ends itself; `at` is added."""
        end = json.dumps({**reason, "at": datetime.now(UTC).isoformat()}, default=str)
        async with self._database.connection(wait_s=3) as connection:
            await connection.execute(_ENDED, self._name, self._organ, __version__, self._started, end)
