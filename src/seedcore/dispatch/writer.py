"""Writing how attempts ended: in batches, under their tokens, and again when the answer got lost."""

import asyncio
from uuid import UUID

import asyncpg

from seedcore.dispatch.ledger import Ledger
from seedcore.stores.postgres import Database
from seedcore.tasks import leases
from seedcore.tasks.model import Outcome, Retry, Status


class Writer:
    """Flushes a ledger to the database; `counts` says what was accepted, and what was refused as stale."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger
        self._lock = asyncio.Lock()
        self.counts = {"completed": 0, "failed": 0, "retried": 0, "released": 0, "stale": 0}

    async def flush(self) -> None:
        """Write everything that waits, and what comes meanwhile.

        Raises:
            UnavailableError: the database is away; what was not written waits for the next flush.
        """
        async with self._lock:
            await self._flush(self._ledger)

    async def _flush(self, ledger: Ledger) -> None:
        ledger.changed.clear()
        while ledger.pending:
            outcomes, retries, released = ledger.outcomes, ledger.retries, ledger.released
            ledger.outcomes, ledger.retries, ledger.released = [], [], []
            ledger.writing = {(o.id, o.token) for o in outcomes} | {(r.id, r.token) for r in retries} | set(released)
            try:
                async with self._database.connection() as connection:
                    await self._finish(connection, outcomes)
                    await self._retry(connection, retries)
                    await self._release(connection, released)
            except BaseException:
                # Not known whether it was written: say it again, the token refuses a second time.
                ledger.outcomes += outcomes
                ledger.retries += retries
                ledger.released += released
                ledger.changed.set()
                raise
            finally:
                ledger.writing = set()

    async def _finish(self, connection: asyncpg.Connection, outcomes: list[Outcome]) -> None:
        if outcomes:
            accepted = await _finish_or_part(connection, outcomes)
            for outcome in outcomes:
                kind = "completed" if outcome.status is Status.COMPLETED else "failed"
                self.counts[kind if outcome.id in accepted else "stale"] += 1
            outcomes.clear()

    async def _retry(self, connection: asyncpg.Connection, retries: list[Retry]) -> None:
        if retries:
            accepted = await leases.retry(connection, retries)
            self.counts["retried"] += len(accepted)
            self.counts["stale"] += len(retries) - len(accepted)
            retries.clear()

    async def _release(self, connection: asyncpg.Connection, released: list[tuple[UUID, int]]) -> None:
        if released:
            self.counts["released"] += len(await leases.release(connection, released))
            released.clear()


async def _finish_or_part(connection: asyncpg.Connection, outcomes: list[Outcome]) -> set[UUID]:
    """Finish all; when PostgreSQL cannot keep one of them, find it, so that its neighbours are kept."""
    try:
        return await leases.finish(connection, outcomes)
    except asyncpg.DataError as error:
        if len(outcomes) > 1:
            half = len(outcomes) // 2
            first = await _finish_or_part(connection, outcomes[:half])
            return first | await _finish_or_part(connection, outcomes[half:])
        bad = outcomes[0]
        bad.status, bad.result = Status.FAILED, None
        bad.error_code, bad.error_message = "result_not_storable", f"PostgreSQL cannot keep it: {error.args[0]}"
        return await leases.finish(connection, [bad])
