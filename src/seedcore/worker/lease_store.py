"""The lease store in PostgreSQL: `tasks.leases` over one dispatcher's connections."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from seedcore.memory.facts.fact_store import record_uses
from seedcore.stores.advisory_locks import IDLE_LANE
from seedcore.stores.postgres import Database
from seedcore.tasks import leases as engine
from seedcore.tasks import sessions
from seedcore.tasks.claims.claim_cursor import ClaimCursor
from seedcore.tasks.events.notifications import NotificationHandler, NotificationListener
from seedcore.tasks.model import EarlierPlan, Lease, Outcome, PlanTerms, Retry, StepSpec, Usage
from seedcore.tasks.plans import repository
from seedcore.tasks.plans.moves import MoveNote
from seedcore.tasks.recovery.lost_leases import LastSession
from seedcore.tasks.sessions import Heartbeat
from seedcore.worker.ports import HeartbeatReport, LeaseEvents, LeaseKey
from seedcore.worker.reaper import LATER_CHANNEL

READY_CHANNEL, CANCEL_CHANNEL = "seedcore_ready", "seedcore_cancel"


class PostgresLeaseStore:
    """See `ports.LeaseStore`; each method is one use of a pooled connection."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listener: NotificationListener | None = None

    async def open_session(
        self, session: UUID, name: str, queue: str, lease_s: float, actor: str, last: LastSession | None = None
    ) -> None:
        """Register a dispatcher."""
        async with self._database.connection() as connection:
            await sessions.open_session(connection, session, name, queue, lease_s, actor, last)

    async def heartbeat(self, session: UUID, lease_s: float, report: Callable[[], HeartbeatReport]) -> Heartbeat:
        """Write what has started, then keep the session's leases."""
        async with self._database.connection() as connection:
            written = report()
            if written.started:
                # First: a reader of this heartbeat knows that what has no event has not begun (see REAP_LEASES).
                await engine.started(connection, written.started)
                written.on_started()
            return await sessions.heartbeat(
                connection,
                session,
                lease_s,
                holding=written.holding,
                claimed=written.claimed,
                owned=True,
                announced=written.ends_written,
            )

    async def close_session(self, session: UUID) -> None:
        """End a session."""
        async with self._database.connection() as connection:
            await sessions.close_session(connection, session)

    async def claim(self, queue: str, session: UUID, limit: int, *, slow: bool, cursor: ClaimCursor) -> list[Lease]:
        """Lease tasks."""
        async with self._database.connection() as connection:
            return await engine.claim(connection, queue, session, limit, slow=slow, cursor=cursor)

    async def finish_and_claim(
        self, outcomes: Sequence[Outcome], queue: str, session: UUID, limit: int, *, slow: bool, cursor: ClaimCursor
    ) -> tuple[set[UUID], list[Lease]]:
        """End tasks and lease others in one statement."""
        async with self._database.connection() as connection:
            return await engine.finish_and_claim(connection, outcomes, queue, session, limit, slow=slow, cursor=cursor)

    async def finish(self, outcomes: Sequence[Outcome]) -> set[UUID]:
        """End tasks."""
        async with self._database.connection() as connection:
            return await engine.finish(connection, outcomes)

    async def retry(self, retries: Sequence[Retry]) -> set[UUID]:
        """Let failed attempts run again later."""
        async with self._database.connection() as connection:
            return await engine.retry(connection, retries)

    async def release(self, leases: Sequence[LeaseKey], *, slow: bool = False) -> set[UUID]:
        """Release leases."""
        async with self._database.connection() as connection:
            return await engine.release(connection, leases, slow=slow)

    async def hold(self, lease: LeaseKey, decision: str, *, expires_s: float, on_expiry: str) -> bool:
        """Let a task wait for a person."""
        async with self._database.connection() as connection:
            held = await engine.hold(connection, [(*lease, decision)], expires_s=expires_s, on_expiry=on_expiry)
        return lease[0] in held

    async def started(self, leases: Sequence[LeaseKey]) -> None:
        """Write `started` events."""
        async with self._database.connection() as connection:
            await engine.started(connection, leases)

    async def bind(self, leases: Sequence[Lease]) -> list[tuple[str, str | None]]:
        """Params with the results of earlier steps."""
        async with self._database.connection() as connection:
            return await repository.bind_params(connection, leases)

    async def read_earlier_plan(
        self, task_id: UUID, signature: str
    ) -> tuple[EarlierPlan | None, Mapping[str, object] | None]:
        """The earlier plan of a task, and the recipe for its kind."""
        async with self._database.connection() as connection:
            return await repository.read_earlier_plan(connection, task_id, signature)

    async def store_plan(
        self,
        lease: Lease,
        decision: str,
        plan: str,
        steps: Sequence[StepSpec],
        terms: PlanTerms,
        done: Sequence[UUID],
        facts: Sequence[UUID] = (),
        move: MoveNote | None = None,
        usage: Usage | None = None,
    ) -> bool:
        """Store a plan's steps, which facts it relied on, what it tries, and what making it used."""
        async with self._database.transaction() as connection:
            stored = await repository.store_plan(connection, lease, decision, plan, steps, terms, done, move, usage)
            if stored:
                await record_uses(connection, lease.id, facts, lease.tenant)
            return stored

    async def listen(self, events: LeaseEvents) -> None:
        """Listen on a connection outside the pool, until it ends."""
        handlers: dict[str, NotificationHandler] = {
            READY_CHANNEL: lambda _connection, pid, _channel, lane: events.ready(lane, pid),
            CANCEL_CHANNEL: lambda _connection, _pid, _channel, task_id: events.cancelled(UUID(task_id)),
            LATER_CHANNEL: lambda _connection, _pid, _channel, text: _report_due(events, text),
        }
        self._listener = NotificationListener(self._database, handlers)
        await self._listener.listen(on_ready=events.listening)

    async def wait_in_lane(self, lane: str, *, waits: bool) -> bool:
        """Take or release the advisory lock that submitters look at before they notify."""
        return self._listener is not None and await self._listener.set_waiting(IDLE_LANE, lane, waiting=waits)


def _report_due(events: LeaseEvents, text: str) -> None:
    with contextlib.suppress(ValueError):
        events.due(float(text))
