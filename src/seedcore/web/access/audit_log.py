"""Writes the audit log: changes before their answer leaves, refusals once a second and in sums."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.telemetry.logs import get_logger
from seedcore.telemetry.metrics import counter
from seedcore.web.access.audit_repository import AuditEntry, write_entries

WRITE_S = 5.0
"""How long an answer waits for its row."""
SUM_S = 1.0
BURST_ROWS = 50
ROWS_PER_S = 1.0
"""Rows of refusals that a process may write: as many at once, then so many a second. The rest goes on being summed."""
MAX_DIFFERENT = 1_000
OTHERS = "(others)"

_FAILURES = (*DATABASE_ERRORS, TimeoutError)


class AuditLog:
    """The audit log of a process."""

    def __init__(self, database: Callable[[], Database], clock: Callable[[], float] = time.monotonic) -> None:
        self._database, self._clock = database, clock
        self._refusals: dict[tuple[object, ...], tuple[AuditEntry, int]] = {}
        self._rows_left, self._counted_at = float(BURST_ROWS), clock()
        self._summing: asyncio.Task[None] | None = None
        self._writing: set[asyncio.Task[None]] = set()
        self._log = get_logger("seedcore.web.audit")

    async def record(self, entry: AuditEntry) -> None:
        """Write a row now; when that fails, it is logged and counted, and the caller goes on.

        It is written even if the request is given up meanwhile.
        """
        await asyncio.shield(self.record_soon(entry))

    def record_soon(self, entry: AuditEntry) -> asyncio.Task[None]:
        """The same without waiting for it: the task that writes the row."""
        task = asyncio.create_task(self._write([entry]), name="write-audit")
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        return task

    def note_refusal(self, entry: AuditEntry) -> None:
        """A refused request: equal ones are summed, and written within a second or as the bound on rows allows."""
        key: tuple[object, ...] = (
            entry.actor,
            entry.actor_kind,
            entry.tenant,
            entry.action,
            entry.target,
            entry.status,
            entry.source,
            str(entry.detail),
        )
        known, count = self._refusals.get(key, (entry, 0))
        if count == 0 and len(self._refusals) >= MAX_DIFFERENT:
            # As many different ones are a flood: what they have in common is kept.
            key = (OTHERS, entry.status)
            known = replace(entry, actor=OTHERS, tenant=None, action=OTHERS, target=None, source=None)
            known, count = self._refusals.get(key, (known, 0))
        self._refusals[key] = known, count + 1
        if self._summing is None or self._summing.done():
            self._summing = asyncio.create_task(self._sum(), name="sum-refusals")

    async def aclose(self) -> None:
        """Write what has been summed, and what is being written."""
        await asyncio.gather(*self._writing, return_exceptions=True)
        if self._summing is not None:
            self._summing.cancel()
            await asyncio.gather(self._summing, return_exceptions=True)
        if self._refusals:
            await self._flush(len(self._refusals))

    async def _sum(self) -> None:
        while self._refusals:
            await asyncio.sleep(SUM_S)
            now = self._clock()
            self._rows_left = min(BURST_ROWS, self._rows_left + (now - self._counted_at) * ROWS_PER_S)
            self._counted_at = now
            if (rows := int(self._rows_left)) > 0:
                self._rows_left -= await self._flush(rows)

    async def _flush(self, rows: int) -> int:
        taken = list(self._refusals.items())[:rows]
        for key, _ in taken:
            del self._refusals[key]
        await self._write([replace(entry, detail=entry.detail | {"count": n}) for _, (entry, n) in taken])
        return len(taken)

    async def _write(self, entries: Sequence[AuditEntry]) -> None:
        try:
            async with asyncio.timeout(WRITE_S), self._database().connection(wait_s=WRITE_S / 2) as connection:
                await write_entries(connection, entries)
        except _FAILURES as error:
            counter("seedcore_audit_failures_total").add(len(entries))
            # The row is in the log of the process, where the database did not take it.
            for entry in entries:
                self._log.error(
                    "audit row not written",
                    reason=type(error).__name__,
                    actor=entry.actor,
                    action=entry.action,
                    target=entry.target,
                    status=entry.status,
                    source=entry.source,
                )
