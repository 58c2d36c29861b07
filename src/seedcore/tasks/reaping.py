"""The reaper's rounds: take back leases of lost dispatchers, let through what is due, delete what retention allows."""

from dataclasses import dataclass
from uuid import UUID

import asyncpg

from seedcore.settings import Settings
from seedcore.stores import metric_series
from seedcore.stores.leading import leadership
from seedcore.tasks.deadlines import close_late, settle
from seedcore.tasks.failure_codes import FailureCode
from seedcore.tasks.recovery.reaped_counts import count_lost_attempts
from seedcore.tasks.sql import commands, limits, retention
from seedcore.tasks.sql import reap as reap_sql

PAGE = 1000
KEYS_AT_ONCE = 200
"""Keys whose tasks are admitted in one transaction: its time grows with their square."""

DAY_S = 86_400.0
DAYS_AHEAD = 4
MAX_UNCOUNTED = 5
"""How often a task whose worker is lost before it begins uses no attempt: it may be what brings workers down."""

MAX_PAGES = 200
"""Pages of a kind that one round deletes at most; the next minute takes more."""


@dataclass(slots=True)
class Reaped:
    """What one round did.

    Attributes:
        sessions: that ended.
        returned: tasks that run again.
        uncounted: those of them that had not begun, and so used no attempt.
        dead: tasks without attempts left.
        late: tasks that ended by their deadline.
        promoted: deferred tasks that became due.
        admitted: tasks that their key let through.
        approvals: tasks whose time for an approval was over.
    """

    sessions: int = 0
    returned: int = 0
    uncounted: int = 0
    dead: int = 0
    late: int = 0
    promoted: int = 0
    admitted: int = 0
    approvals: int = 0


@dataclass(slots=True)
class Expired:
    """What retention deleted: single rows, whole days, and how often another transaction was in the way."""

    rows: int = 0
    partitions: int = 0
    blocked: int = 0


@dataclass(frozen=True, slots=True)
class Outlook:
    """What there is to do.

    Attributes:
        leads: this process is the leader.
        lost: leases without a session exist.
        waits: tasks wait for their key.
        due_s: seconds until something is due; negative: it is; None: nothing is.
    """

    leads: bool
    lost: bool
    waits: bool
    due_s: float | None


async def lead(connection: asyncpg.Connection, owner: UUID, lead_s: float) -> Outlook:
    """Become or stay the leading reaper for `lead_s` seconds, unless another one leads, and see what there is to do."""
    return Outlook(*await connection.fetchrow(reap_sql.LEAD, owner, lead_s))


async def resign(connection: asyncpg.Connection, owner: UUID) -> None:
    """Let another reaper lead at once."""
    await leadership.resign(connection, "reaper", owner)


async def reap(connection: asyncpg.Connection, settings: Settings) -> Reaped:
    """One whole round: return what is lost, close what is late, let through what is due."""
    done = Reaped()
    await reap_lost(connection, settings, done)
    await let_through(connection, done)
    return done


async def reap_lost(connection: asyncpg.Connection, settings: Settings, done: Reaped) -> None:
    """End sessions without heartbeat; return their tasks with jitter, or end those without attempts left. One that had
    not begun keeps its attempt."""
    gone = await connection.fetch(reap_sql.REAP_SESSIONS)
    sessions, beats = [row["id"] for row in gone], [row["beat_at"] for row in gone]
    done.sessions += len(gone)
    while True:
        async with connection.transaction():
            rows = await connection.fetch(
                reap_sql.REAP_LEASES, PAGE, settings.retry_base_s, sessions, beats, MAX_UNCOUNTED
            )
            following = [row["id"] for row in rows if row["follow_up"]]
            await settle(connection, following)
        count_lost_attempts(rows)
        done.dead += sum(row["dead"] for row in rows)
        done.returned += sum(not row["dead"] for row in rows)
        done.uncounted += sum(row["unbegun"] for row in rows)
        if len(rows) < PAGE:
            return


async def let_through(connection: asyncpg.Connection, done: Reaped) -> None:
    """Close what is late, make runnable what is due."""
    done.late += await close_late(connection)
    done.approvals += await expire_approvals(connection)
    done.promoted += await promote(connection)
    done.admitted += await admit(connection)


async def expire_approvals(connection: asyncpg.Connection) -> int:
    """Release or reject, as each was submitted, tasks that waited for a person too long: a page; returns how many."""
    async with connection.transaction():
        due = await connection.fetch(reap_sql.DUE_APPROVALS, PAGE)
        released = [row["id"] for row in due if row["released"]]
        rejected = [row["id"] for row in due if not row["released"]]
        if released:
            await connection.execute(commands.APPROVE, released, None, "expiry")
        if rejected:
            message = "it was not approved in time"
            await connection.execute(commands.REJECT, rejected, None, "expiry", FailureCode.APPROVAL_EXPIRED, message)
            await settle(connection, rejected)
    return len(due)


async def promote(connection: asyncpg.Connection) -> int:
    """Make deferred tasks that are due runnable; returns how many."""
    total = 0
    while True:
        moved = int(await connection.fetchval(reap_sql.PROMOTE, PAGE) or 0)
        total += moved
        if moved < PAGE:
            return total


async def admit(connection: asyncpg.Connection) -> int:
    """Let tasks of keys through, as far as their limits allow; returns how many.

    Some keys at a time: the rows of all would be locked until the last one, and endings of their tasks wait for that.
    """
    keys = await connection.fetchval(limits.WAITING_KEYS) or []
    total = 0
    for some in (keys[n : n + KEYS_AT_ONCE] for n in range(0, len(keys), KEYS_AT_ONCE)):
        await connection.execute(limits.UNDEFINED_KEYS, some)
        total += await connection.fetchval(limits.ADMIT, some)
    return total


async def expire(connection: asyncpg.Connection, settings: Settings) -> Expired:
    """Make partitions ahead, drop the days that retention has passed, and some pages of what outlived its day."""
    kept_s, dead_s = settings.retention_finished_d * DAY_S, settings.retention_dead_d * DAY_S
    done = Expired()
    try:
        async with connection.transaction():
            await connection.execute(retention.HURRY)
            await connection.execute(retention.MAKE_PARTITIONS, DAYS_AHEAD)
    except asyncpg.LockNotAvailableError:
        done.blocked += 1
    for parent, statement, more in (("finished", retention.DROP_DAY, (kept_s,)), ("events", retention.DROP_EVENTS, ())):
        for row in await connection.fetch(retention.OLD_PARTITIONS, kept_s, parent):
            try:
                await connection.execute(statement, row["day"], *more)
                done.partitions += 1
            except asyncpg.LockNotAvailableError:
                done.blocked += 1
    for statement, seconds in (
        (retention.EXPIRE_EVENTS, kept_s),
        (retention.EXPIRE_FINISHED, kept_s),
        (retention.EXPIRE_DEAD, dead_s),
        (retention.EXPIRE_KEYS, kept_s),
        (retention.EXPIRE_PLANS, kept_s),
        (retention.EXPIRE_USAGE, kept_s),
        (retention.EXPIRE_PLAN_ENDS, kept_s),
        (retention.EXPIRE_MOVES, dead_s),
    ):
        for _ in range(MAX_PAGES):
            tag = await connection.execute(statement, seconds, PAGE)
            done.rows += (gone := int(tag.rsplit(" ", 1)[-1]))
            if gone < PAGE:
                break
    done.rows += await metric_series.forget(connection, settings.metrics_retention_d * DAY_S)
    done.rows += await connection.fetchval(retention.FORGET_AUDIT, settings.audit_days * DAY_S)
    return done
