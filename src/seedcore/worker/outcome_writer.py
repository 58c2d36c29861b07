"""Writes how attempts ended: in batches, under their fencing tokens, and again when the answer got lost.

A batch that PostgreSQL refuses for one of its rows is split until that row stands alone: it must not hold up what the
others write.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from seedcore.stores.sqlstates import is_row_error
from seedcore.tasks.claims.claim_cursor import ClaimCursor
from seedcore.tasks.failure_codes import FailureCode
from seedcore.tasks.model import Lease, Outcome, Retry, Status
from seedcore.telemetry.logs import get_logger
from seedcore.utils.batch_split import split_refused
from seedcore.worker.in_flight import InFlight
from seedcore.worker.measuring.attempt_metrics import count_ends, count_stale
from seedcore.worker.ports import LeaseKey, LeaseStore


class OutcomeWriter:
    """Flushes what waits in `in_flight`; `counts` says what was accepted, and what was refused as stale."""

    def __init__(self, leases: LeaseStore, in_flight: InFlight) -> None:
        self._leases = leases
        self._in_flight = in_flight
        self._lock = asyncio.Lock()
        self.counts = {"completed": 0, "failed": 0, "retried": 0, "released": 0, "stale": 0, "unwritable": 0}
        self._log = get_logger("seedcore.worker.outcome_writer")

    async def flush(self) -> None:
        """Write everything that waits, and what comes meanwhile.

        Raises:
            UnavailableError: the database is away; what was not written waits for the next flush.
        """
        async with self._lock:
            await self._flush()

    async def flush_and_claim(
        self, queue: str, session: UUID, limit: int, *, slow: bool, cursor: ClaimCursor
    ) -> list[Lease]:
        """Write everything that waits and claim up to `limit` tasks: in one statement when the ends have no follow-up.

        Raises:
            UnavailableError: the database is away; what was not written waits for the next flush.
        """
        async with self._lock:
            in_flight = self._in_flight
            plain = [o for o in in_flight.outcomes if not o.follow_up]
            claimed: list[Lease] | None = None
            if plain:
                in_flight.outcomes = [o for o in in_flight.outcomes if o.follow_up]
                claimed = await self._finish_and_claim(plain, queue, session, limit, slow=slow, cursor=cursor)
            if in_flight.pending:
                await self._flush()
            if claimed is None:
                claimed = await self._leases.claim(queue, session, limit, slow=slow, cursor=cursor)
            return claimed

    async def _finish_and_claim(
        self, outcomes: list[Outcome], queue: str, session: UUID, limit: int, *, slow: bool, cursor: ClaimCursor
    ) -> list[Lease] | None:
        """None when PostgreSQL cannot store one of the outcomes: the flush that follows finds it."""
        in_flight = self._in_flight
        in_flight.writing = {(o.id, o.token) for o in outcomes}
        try:
            accepted, claimed = await self._leases.finish_and_claim(
                outcomes, queue, session, limit, slow=slow, cursor=cursor
            )
        except BaseException as error:
            in_flight.outcomes += outcomes
            if isinstance(error, Exception) and is_row_error(error):
                return None
            raise
        finally:
            in_flight.writing = set()
        self._count(outcomes, accepted)
        return claimed

    async def _flush(self) -> None:
        in_flight = self._in_flight
        while in_flight.pending:
            outcomes, retries = in_flight.outcomes, in_flight.retries
            released, moved = in_flight.released, in_flight.moved
            in_flight.outcomes, in_flight.retries, in_flight.released, in_flight.moved = [], [], [], []
            in_flight.writing = {(o.id, o.token) for o in outcomes} | {(r.id, r.token) for r in retries}
            in_flight.writing |= {*released, *moved}
            try:
                await self._finish(outcomes)
                await self._retry(retries)
                await self._release(released)
                await self._release(moved, slow=True)
            except BaseException:
                # It may have been written: the token refuses a second time.
                in_flight.outcomes += outcomes
                in_flight.retries += retries
                in_flight.released += released
                in_flight.moved += moved
                in_flight.changed.set()
                raise
            finally:
                in_flight.writing = set()

    async def _finish(self, outcomes: list[Outcome]) -> None:
        async def finish(part: Sequence[Outcome]) -> None:
            self._count(part, await self._leases.finish(part))

        refused: list[tuple[Outcome, Exception]] = []
        await split_refused(outcomes, finish, is_row_error, lambda *found: refused.append(found))
        for outcome, error in refused:
            self._log_refusal(error, outcome.id)
            await self._finish_bare(outcome, error)
        outcomes.clear()

    async def _finish_bare(self, outcome: Outcome, error: Exception) -> None:
        """Fail a task whose end cannot be stored as it is: without its result, then with its code alone, then without
        what follows from its end."""
        failed = replace(outcome, status=Status.FAILED, result=None)
        failed.error_code, failed.error_message = (
            FailureCode.RESULT_NOT_STORABLE,
            f"PostgreSQL cannot keep it: {error.args[0]}",
        )
        bare = replace(failed, decision=None, usage=None)
        for end in (failed, bare, replace(bare, follow_up=False)):
            try:
                self._count([end], await self._leases.finish([end]))
            except Exception as again:
                if not is_row_error(again):
                    raise
                self._log_refusal(again, outcome.id)
            else:
                return

    def _count(self, outcomes: Sequence[Outcome], accepted: set[UUID]) -> None:
        for outcome in outcomes:
            if outcome.id in accepted:
                self.counts["completed" if outcome.status is Status.COMPLETED else "failed"] += 1
        self.counts["stale"] += count_ends("finish", outcomes, accepted, self._in_flight.ended)

    async def _retry(self, retries: list[Retry]) -> None:
        async def retry(part: Sequence[Retry]) -> None:
            accepted = await self._leases.retry(part)
            self.counts["retried"] += len(accepted)
            self.counts["stale"] += count_ends("retry", part, accepted, self._in_flight.ended)

        refused: list[tuple[Retry, Exception]] = []
        await split_refused(retries, retry, is_row_error, lambda *found: refused.append(found))
        for bad, error in refused:
            self._log_refusal(error, bad.id)
            # Whether it has a parent is not known here; where nothing follows, that costs a statement.
            await self._finish_bare(Outcome(bad.id, bad.token, Status.FAILED, follow_up=True), error)
        retries.clear()

    async def _release(self, released: list[LeaseKey], *, slow: bool = False) -> None:
        async def release(part: Sequence[LeaseKey]) -> None:
            accepted = await self._leases.release(part, slow=slow)
            self.counts["released"] += len(accepted)
            count_stale("release", len(part) - len(accepted))

        # What is refused stays leased: the heartbeat finds a lease that is not in hand, and releases it again.
        await split_refused(released, release, is_row_error, lambda key, error: self._log_refusal(error, key[0]))
        released.clear()

    def _log_refusal(self, error: Exception, task_id: UUID) -> None:
        self.counts["unwritable"] += 1
        self._log.error(
            "database refused the write of a task", task=str(task_id), reason=f"{type(error).__name__}: {error}"
        )
