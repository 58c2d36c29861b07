"""Writing how attempts ended: in batches, under their tokens, and again when the answer got lost.

A batch that PostgreSQL refuses for one of its rows is taken apart until that row stands alone: it must not hold up what
the others write.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import asyncpg

from seedcore.stores.postgres import Database
from seedcore.stores.sqlstates import is_row_error
from seedcore.tasks import leases
from seedcore.tasks.claim_cursor import ClaimCursor
from seedcore.tasks.model import Lease, Outcome, Retry, Status
from seedcore.telemetry.logs import get_logger
from seedcore.utils.isolation import split_refused
from seedcore.worker.in_flight import Ledger


class Writer:
    """Flushes a ledger to the database; `counts` says what was accepted, and what was refused as stale."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger
        self._lock = asyncio.Lock()
        self.counts = {"completed": 0, "failed": 0, "retried": 0, "released": 0, "stale": 0, "unwritable": 0}
        self._log = get_logger("seedcore.worker.outcome_writer")

    async def flush(self) -> None:
        """Write everything that waits, and what comes meanwhile.

        Raises:
            UnavailableError: the database is away; what was not written waits for the next flush.
        """
        async with self._lock:
            await self._flush(self._ledger)

    async def exchange(self, queue: str, session: UUID, most: int, *, slow: bool, scan: ClaimCursor) -> list[Lease]:
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
                    claimed = await leases.claim(connection, queue, session, most, slow=slow, cursor=scan)
            return claimed

    async def _exchange(
        self, outcomes: list[Outcome], queue: str, session: UUID, most: int, *, slow: bool, scan: ClaimCursor
    ) -> list[Lease] | None:
        """None when PostgreSQL cannot keep one of the outcomes: the flush that follows finds it."""
        ledger = self._ledger
        ledger.writing = {(o.id, o.token) for o in outcomes}
        try:
            async with self._database.connection() as connection:
                accepted, claimed = await leases.finish_and_claim(
                    connection, outcomes, queue, session, most, slow=slow, cursor=scan
                )
        except BaseException as error:
            ledger.outcomes += outcomes
            if isinstance(error, Exception) and is_row_error(error):
                return None
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
        async def finish(part: Sequence[Outcome]) -> None:
            self._count(part, await leases.finish(connection, part))

        refused: list[tuple[Outcome, Exception]] = []
        await split_refused(outcomes, finish, is_row_error, lambda *found: refused.append(found))
        for outcome, error in refused:
            self._refused(error, outcome.id)
            await self._finish_bare(connection, outcome, error)
        outcomes.clear()

    async def _finish_bare(self, connection: asyncpg.Connection, outcome: Outcome, error: Exception) -> None:
        """End a task whose end cannot be kept as it is, as failed: without its result, then with its code alone, then
        without what follows from its end."""
        failed = replace(outcome, status=Status.FAILED, result=None)
        failed.error_code, failed.error_message = "result_not_storable", f"PostgreSQL cannot keep it: {error.args[0]}"
        bare = replace(failed, decision=None, usage=None)
        for end in (failed, bare, replace(bare, follow_up=False)):
            try:
                self._count([end], await leases.finish(connection, [end]))
            except asyncpg.PostgresError as again:
                if not is_row_error(again):
                    raise
                self._refused(again, outcome.id)
            else:
                return

    def _count(self, outcomes: Sequence[Outcome], accepted: set[UUID]) -> None:
        for outcome in outcomes:
            kind = "completed" if outcome.status is Status.COMPLETED else "failed"
            self.counts[kind if outcome.id in accepted else "stale"] += 1

    async def _retry(self, connection: asyncpg.Connection, retries: list[Retry]) -> None:
        async def retry(part: Sequence[Retry]) -> None:
            accepted = await leases.retry(connection, part)
            self.counts["retried"] += len(accepted)
            self.counts["stale"] += len(part) - len(accepted)

        refused: list[tuple[Retry, Exception]] = []
        await split_refused(retries, retry, is_row_error, lambda *found: refused.append(found))
        for bad, error in refused:
            self._refused(error, bad.id)
            # Whether it has a parent is not known here; where nothing follows, that costs a statement.
            end = Outcome(bad.id, bad.token, Status.FAILED, follow_up=True)
            await self._finish_bare(connection, end, error)
        retries.clear()

    async def _release(
        self, connection: asyncpg.Connection, released: list[tuple[UUID, int]], *, slow: bool = False
    ) -> None:
        async def release(part: Sequence[tuple[UUID, int]]) -> None:
            self.counts["released"] += len(await leases.release(connection, part, slow=slow))

        # What is refused stays leased: the heartbeat finds a lease that is not in hand, and it is tried again.
        await split_refused(released, release, is_row_error, lambda lease, error: self._refused(error, lease[0]))
        released.clear()

    def _refused(self, error: Exception, task_id: Any) -> None:
        self.counts["unwritable"] += 1
        self._log.error(
            "PostgreSQL refuses a write of a task", task=str(task_id), reason=f"{type(error).__name__}: {error}"
        )
