"""Writing how attempts ended: in batches, under their tokens, and again when the answer got lost."""

import asyncio
from uuid import UUID

import asyncpg

from seedcore.dispatch.ledger import Ledger
from seedcore.stores.postgres import Database
from seedcore.tasks import leases
from seedcore.tasks.model import Lease, Outcome, Retry, Status
from seedcore.tasks.scan import Scan


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

    async def exchange(self, queue: str, session: UUID, most: int, *, slow: bool, scan: Scan) -> list[Lease]:
        """Write everything that waits and claim up to `most` tasks: one statement when nothing follows from the ends.

        Raises:
            UnavailableError: the database is away; what was not written waits for the next flush.
        """
        async with self._lock:
            ledger = self._ledger
            plain = [o for o in ledger.outcomes if not o.follow_up]
            claimed: list[Lease] | None = None
            if plain:
                ledger.outcomes = [o for o in ledger.outcomes if o.follow_up]
                claimed = await self._exchange(plain, queue, session, most, slow=slow, scan=scan)
            if ledger.pending:
                await self._flush(ledger)
            if claimed is None:
                async with self._database.connection() as connection:
                    claimed = await leases.claim(connection, queue, session, most, slow=slow, scan=scan)
            return claimed

    async def _exchange(
        self, outcomes: list[Outcome], queue: str, session: UUID, most: int, *, slow: bool, scan: Scan
    ) -> list[Lease] | None:
        """None when PostgreSQL cannot keep one of the outcomes: the flush that follows finds it."""
        ledger = self._ledger
        ledger.writing = {(o.id, o.token) for o in outcomes}
        try:
            async with self._database.connection() as connection:
                accepted, claimed = await leases.finish_and_claim(
                    connection, outcomes, queue, session, most, slow=slow, scan=scan
                )
        except asyncpg.DataError:
            ledger.outcomes += outcomes
            return None
        except BaseException:
            ledger.outcomes += outcomes
            raise
        finally:
            ledger.writing = set()
        self._count(outcomes, accepted)
        return claimed

    async def _flush(self, ledger: Ledger) -> None:
        while ledger.pending:
            outcomes, retries, released, moved = ledger.outcomes, ledger.retries, ledger.released, ledger.moved
            ledger.outcomes, ledger.retries, ledger.released, ledger.moved = [], [], [], []
            ledger.writing = {(o.id, o.token) for o in outcomes} | {(r.id, r.token) for r in retries}
            ledger.writing |= {*released, *moved}
            try:
                async with self._database.connection() as connection:
                    await self._finish(connection, outcomes)
                    await self._retry(connection, retries)
                    await self._release(connection, released)
                    await self._release(connection, moved, slow=True)
            except BaseException:
                # Not known whether it was written: say it again, the token refuses a second time.
                ledger.outcomes += outcomes
                ledger.retries += retries
                ledger.released += released
                ledger.moved += moved
                ledger.changed.set()
                raise
            finally:
                ledger.writing = set()

    async def _finish(self, connection: asyncpg.Connection, outcomes: list[Outcome]) -> None:
        if outcomes:
            self._count(outcomes, await _finish_or_part(connection, outcomes))
            outcomes.clear()

    def _count(self, outcomes: list[Outcome], accepted: set[UUID]) -> None:
        for outcome in outcomes:
            kind = "completed" if outcome.status is Status.COMPLETED else "failed"
            self.counts[kind if outcome.id in accepted else "stale"] += 1

    async def _retry(self, connection: asyncpg.Connection, retries: list[Retry]) -> None:
        if retries:
            accepted = await leases.retry(connection, retries)
            self.counts["retried"] += len(accepted)
            self.counts["stale"] += len(retries) - len(accepted)
            retries.clear()

    async def _release(
        self, connection: asyncpg.Connection, released: list[tuple[UUID, int]], *, slow: bool = False
    ) -> None:
        if released:
            self.counts["released"] += len(await leases.release(connection, released, slow=slow))
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
