"""Leases: claim a batch, end, retry, release or hold it. Every write names its fencing token: a lost lease changes
nothing."""

import json
from collections.abc import Iterable, Sequence
from uuid import UUID

import asyncpg

from seedcore.tasks import tenants
from seedcore.tasks.claims.claim_cursor import MAX_SURVEYED, ClaimCursor, ClaimPlan
from seedcore.tasks.claims.claim_position import WHOLE, Head
from seedcore.tasks.deadlines import close_late
from seedcore.tasks.model import Lease, Outcome, Retry
from seedcore.tasks.sql.claim import CLAIM, CLAIM_IN_TURNS, SURVEY
from seedcore.tasks.sql.finish import FINISH, FINISH_AND_CLAIM, FINISH_AND_CLAIM_IN_TURNS, LATE, SETTLE, SPEND
from seedcore.tasks.sql.leases import HOLD, PROGRESS, RELEASE, RETRY, STARTED
from seedcore.tasks.sql.limits import ADMIT_AFTER


async def claim(
    connection: asyncpg.Connection,
    queue: str,
    session: UUID,
    limit: int,
    *,
    slow: bool = False,
    cursor: ClaimCursor | None = None,
) -> list[Lease]:
    """Lease up to `limit` tasks of a lane of `queue`, the highest priority first, then the oldest.

    `cursor` remembers where this claimant's last claim ended; without one the whole lane is read.
    """
    plan = await _plan(connection, queue, limit, slow, cursor)
    statement = CLAIM if plan.turns is None else CLAIM_IN_TURNS
    rows = await connection.fetch(statement, queue, session, limit, slow, *plan.places, *(plan.turns or ()))
    # The statement's columns stand in the order of Lease's fields: by position is twice as fast as by name.
    return await _claimed(connection, [Lease(*row) for row in rows], cursor, limit)


async def _plan(
    connection: asyncpg.Connection, queue: str, limit: int, slow: bool, cursor: ClaimCursor | None
) -> ClaimPlan:
    """What a claim looks through, after a look at who has ready tasks, where that is due."""
    if cursor is None:
        return ClaimPlan(WHOLE)
    if cursor.survey_due:
        heads = await connection.fetch(SURVEY, queue, slow, *cursor.survey_places(), MAX_SURVEYED)
        cursor.surveyed([(row[0], row[1], row[2]) for row in heads], heads[0]["last_seq"] if heads else 0)
        if (names := cursor.unweighed) is not None:
            cursor.weigh(await tenants.weights_of(connection, names))
    return cursor.plan(limit)


async def _claimed(
    connection: asyncpg.Connection, claimed: list[Lease], cursor: ClaimCursor | None, limit: int
) -> list[Lease]:
    """Those that may run. The others are late: they end as the reaper ends them, without an attempt."""
    if cursor is not None:
        found: dict[Head, list[int]] = {}
        for lease in claimed:
            found.setdefault((-lease.priority, lease.tenant), []).append(lease.seq)
        cursor.claimed(found, limit)
    late = [lease for lease in claimed if lease.left_s is not None and lease.left_s <= 0]
    if not late:
        return claimed
    async with connection.transaction():
        await release(connection, [(lease.id, lease.token) for lease in late])
        await close_late(connection)
    return [lease for lease in claimed if lease.left_s is None or lease.left_s > 0]


async def finish_and_claim(
    connection: asyncpg.Connection,
    outcomes: Sequence[Outcome],
    queue: str,
    session: UUID,
    limit: int,
    *,
    slow: bool = False,
    cursor: ClaimCursor | None = None,
) -> tuple[set[UUID], list[Lease]]:
    """`finish` and `claim` in one statement and one commit; for outcomes without `follow_up`."""
    plan = await _plan(connection, queue, limit, slow, cursor)
    rows = await connection.fetch(
        FINISH_AND_CLAIM if plan.turns is None else FINISH_AND_CLAIM_IN_TURNS,
        *_columns(outcomes),
        *(queue, session, limit, slow),
        *(*plan.places, *(plan.turns or ())),
    )
    accepted = {outcome.id for outcome in outcomes}
    while rows and rows[-1][1] is None:
        accepted.discard(rows.pop()[0])
    return accepted, await _claimed(connection, [Lease(*row) for row in rows], cursor, limit)


async def finish(connection: asyncpg.Connection, outcomes: Sequence[Outcome]) -> set[UUID]:
    """End tasks; returns the ids that were accepted. Nothing is kept of the others: their lease was lost, or their
    deadline has passed, and they end as the reaper ends them."""
    following = [o.id for o in outcomes if o.follow_up]
    if not following:
        return await _finish(connection, outcomes)
    async with connection.transaction():
        await _record_usage(connection, outcomes)
        if late := {row["id"] for row in await connection.fetch(LATE, following)}:
            outcomes = [o for o in outcomes if o.id not in late]
            await close_late(connection)
        accepted = await _finish(connection, outcomes)
        following = [o.id for o in outcomes if o.follow_up and o.id in accepted]
        if following:
            await connection.execute(SETTLE, following)
    return accepted


async def _finish(connection: asyncpg.Connection, outcomes: Sequence[Outcome]) -> set[UUID]:
    refused = {row["id"] for row in await connection.fetch(FINISH, *_columns(outcomes))}
    return {o.id for o in outcomes if o.id not in refused}


async def _record_usage(connection: asyncpg.Connection, attempts: Sequence[Outcome] | Sequence[Retry]) -> None:
    spent = [(a.id, a.token, *a.usage) for a in attempts if a.usage is not None]
    if spent:
        await connection.execute(SPEND, *map(list, zip(*spent, strict=True)))


def _columns(outcomes: Sequence[Outcome]) -> tuple[object, ...]:
    kinds: dict[tuple[str, str, str, str], int] = {}
    places = [
        None if o.counts_for is None else kinds.setdefault((*o.counts_for, o.error_code or ""), len(kinds))
        for o in outcomes
    ]
    return (
        [o.id for o in outcomes],
        [o.token for o in outcomes],
        [str(o.status) for o in outcomes],
        [o.result for o in outcomes],
        [o.error_code for o in outcomes],
        [o.error_message for o in outcomes],
        [o.decision for o in outcomes],
        [o.began for o in outcomes],
        places,
        json.dumps([dict(zip(("tenant", "type", "agent", "code"), kind, strict=True)) for kind in kinds]),
    )


async def retry(connection: asyncpg.Connection, retries: Sequence[Retry]) -> set[UUID]:
    """Put failed attempts off to run again; returns the accepted ids. A plan that is over its budget then ends."""
    spent = [r.id for r in retries if r.usage is not None]
    if not spent:
        return await _retry(connection, retries)
    async with connection.transaction():
        await _record_usage(connection, retries)
        accepted = await _retry(connection, retries)
        await connection.execute(SETTLE, spent)
    return accepted


async def _retry(connection: asyncpg.Connection, retries: Sequence[Retry]) -> set[UUID]:
    rows = await connection.fetch(
        RETRY,
        [r.id for r in retries],
        [r.token for r in retries],
        [r.delay_s for r in retries],
        [r.error_code for r in retries],
        [r.error_message for r in retries],
    )
    limited = [r.id for r in retries if r.limit_key is not None]
    if limited:
        # A task that waits for its next attempt frees its place for others of its keys.
        await connection.execute(ADMIT_AFTER, limited)
    return {row["id"] for row in rows}


async def release(
    connection: asyncpg.Connection, leases: Iterable[tuple[UUID, int]], *, slow: bool = False
) -> set[UUID]:
    """Release leases of tasks that were not started; the attempt does not count. `slow` moves them to the slow lane."""
    pairs = list(leases)
    rows = await connection.fetch(RELEASE, [i for i, _ in pairs], [t for _, t in pairs], [slow] * len(pairs))
    return {row["id"] for row in rows}


async def hold(
    connection: asyncpg.Connection,
    held: Sequence[tuple[UUID, int, str]],
    *,
    expires_s: float | None = None,
    on_expiry: str = "reject",
) -> set[UUID]:
    """Park tasks until a person releases them; items are (id, token, decision as JSON text).

    After `expires_s` seconds the reaper does what `on_expiry` says (`reject` or `release`); None: never.
    """
    rows = await connection.fetch(
        HOLD,
        [h[0] for h in held],
        [h[1] for h in held],
        [h[2] for h in held],
        expires_s,
        None if expires_s is None else on_expiry,
    )
    return {row["id"] for row in rows}


async def started(connection: asyncpg.Connection, leases: Sequence[tuple[UUID, int]]) -> None:
    """Write the `started` events of tasks that run longer than a moment."""
    await connection.execute(STARTED, [i for i, _ in leases], [t for _, t in leases])


async def progress(connection: asyncpg.Connection, reports: Sequence[tuple[UUID, int, str]]) -> None:
    """Write `progress` events; data is JSON text."""
    await connection.execute(PROGRESS, [r[0] for r in reports], [r[1] for r in reports], [r[2] for r in reports])
