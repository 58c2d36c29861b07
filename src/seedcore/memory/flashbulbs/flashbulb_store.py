"""Flashbulb memory: stores rare incidents of high salience permanently.

They are in MySQL when SEEDCORE_MYSQL_DSN is set, else in the main PostgreSQL. While MySQL does not answer, or has not
been migrated, incidents wait in PostgreSQL (fallback `flashbulb_postgres`), and `move_waiting` brings them to MySQL.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import TypeVar
from uuid import UUID

from seedcore.errors import ConflictError, InvalidInputError, UnavailableError
from seedcore.memory.flashbulbs.flashbulb_table import FlashbulbTable
from seedcore.memory.flashbulbs.incident import Incident
from seedcore.settings import Settings
from seedcore.telemetry.logs import get_logger
from seedcore.telemetry.metrics import counter

MAX_RECENT = 500
AT_ONCE = 200
"""Incidents that are moved to MySQL in one round at most."""
TIMEOUT_S = 6.0
"""Longest wait for MySQL: its driver gives up a little earlier by itself."""
LEFT_ALONE_S = 10.0
"""After MySQL failed it is not asked for so long: incidents wait in PostgreSQL, and reads fail at once."""

T = TypeVar("T")


class FlashbulbStore:
    """Records and finds incidents. Each call runs in a thread, because the drivers are synchronous."""

    def __init__(self, settings: Settings) -> None:
        self._postgres = FlashbulbTable(settings, mysql=False)
        self._mysql = None if settings.mysql_dsn is None else FlashbulbTable(settings, mysql=True)
        self._failed_at = float("-inf")
        self._error: UnavailableError | None = None
        self._log = get_logger("seedcore.memory.flashbulbs")

    @property
    def kind(self) -> str:
        """Where incidents are kept: `mysql` or `postgres`."""
        return "postgres" if self._mysql is None else "mysql"

    async def record(self, incident: Incident) -> Incident:
        """Store an incident; recording the same one again changes nothing.

        Raises:
            ConflictError: another incident has that id.
            UnavailableError: neither database can keep it.
        """
        if self._mysql is None:
            await self._record(self._postgres, incident)
            return incident
        try:
            await self._record(self._mysql, incident)
        except UnavailableError:
            counter("seedcore_fallbacks_total").add(1, fallback="flashbulb_postgres")
            await self._record(self._postgres, incident)
        return incident

    async def recent(self, limit: int = 50, min_salience: float = 0.0) -> list[Incident]:
        """The latest incidents of at least that salience, the newest first; those that wait for MySQL are among them.

        Raises:
            UnavailableError: the database that keeps them does not answer.
        """
        if not 1 <= limit <= MAX_RECENT:
            raise InvalidInputError.for_field("limit", f"must be from 1 to {MAX_RECENT}")
        found = await self._ask(self._main, lambda table: table.recent(limit, min_salience))
        if self._mysql is not None:
            waiting = await self._ask(self._postgres, lambda table: table.recent(limit, min_salience))
            known = {incident.id: incident for incident in [*waiting, *found]}
            # As in SQL: the newest first, and by id where the moment is the same.
            found = sorted(known.values(), key=lambda incident: incident.id)
            found = sorted(found, key=lambda incident: incident.created_at, reverse=True)[:limit]
        return found

    async def count(self) -> int:
        """Number of stored incidents, without those that wait for MySQL."""
        return await self._ask(self._main, FlashbulbTable.count)

    async def waiting(self) -> int:
        """How many wait in PostgreSQL for MySQL; 0 without MySQL."""
        return 0 if self._mysql is None else await self._ask(self._postgres, FlashbulbTable.count)

    async def get(self, id: UUID) -> Incident | None:  # noqa: A002
        """The incident with that id."""
        found = None
        if self._mysql is not None:
            found = await self._ask(self._postgres, lambda table: table.get(id))
        return found or await self._ask(self._main, lambda table: table.get(id))

    async def move_waiting(self) -> int:
        """Bring incidents that wait in PostgreSQL to MySQL, at most `AT_ONCE`; returns how many.

        Doing it twice, or in two processes, changes nothing. What was recorded before SEEDCORE_MYSQL_DSN was set comes,
        too. Each is in MySQL before it leaves PostgreSQL.

        Raises:
            UnavailableError: one of the databases does not answer.
        """
        if self._mysql is None:
            return 0
        moved = []
        for incident in await self._ask(self._postgres, lambda table: table.recent(AT_ONCE, 0.0)):
            try:
                await self._record(self._mysql, incident)
            except ConflictError as error:
                # The first of two that claim an id stays; the other one remains where it is, and is named.
                self._log.error("an incident cannot be moved to MySQL", reason=error.detail)
            else:
                moved.append(incident.id)
        if moved:
            await self._ask(self._postgres, lambda table: table.remove(moved))
            self._log.info("incidents moved to MySQL", incidents=len(moved))
        return len(moved)

    async def ready(self) -> Mapping[str, object]:
        """`{ready, store}`, or `{ready, store, code, reason}` and, with MySQL, the `fallback`, for health."""
        try:
            await self._ask(self._main, lambda table: table.recent(1, 0.0))
        except UnavailableError as error:
            answer = {"ready": False, "store": self.kind, "code": error.code, "reason": error.detail}
            return answer if self._mysql is None else {**answer, "fallback": "flashbulb_postgres"}
        return {"ready": True, "store": self.kind}

    def last_known(self) -> Mapping[str, object]:
        """The same as far as this process knows, without asking."""
        if self._error is None:
            return {"store": self.kind}
        return {"store": self.kind, "reason": self._error.detail, "fallback": "flashbulb_postgres"}

    async def close(self) -> None:
        """Close the connections."""
        for table in (self._postgres, self._mysql):
            if table is not None:
                await asyncio.to_thread(table.close)

    @property
    def _main(self) -> FlashbulbTable:
        return self._mysql or self._postgres

    async def _record(self, table: FlashbulbTable, incident: Incident) -> None:
        if await self._ask(table, lambda asked: asked.insert(incident)):
            return
        if await self._ask(table, lambda asked: asked.get(incident.id)) != incident:
            raise ConflictError(f"Another incident has the id {incident.id}.")

    async def _ask(self, table: FlashbulbTable, work: Callable[[FlashbulbTable], T]) -> T:
        """Run `work` in a thread; MySQL is not asked soon after it failed."""
        mysql = table is self._mysql
        if mysql and self._error is not None and time.monotonic() - self._failed_at < LEFT_ALONE_S:
            raise type(self._error)(self._error.detail, retry_after_s=self._error.retry_after_s)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                answer = await asyncio.to_thread(work, table)
        except TimeoutError:
            error = UnavailableError(
                f"The store of flashbulb incidents did not answer within {TIMEOUT_S:g} s.", retry_after_s=2
            )
            self._note(error, mysql=mysql)
            raise error from None
        except UnavailableError as error:
            self._note(error, mysql=mysql)
            raise
        if mysql:
            self._error = None
        return answer

    def _note(self, error: UnavailableError, *, mysql: bool) -> None:
        if mysql:
            if self._error is None:
                self._log.warning("incidents wait in PostgreSQL for MySQL", reason=error.detail)
            self._failed_at, self._error = time.monotonic(), error
