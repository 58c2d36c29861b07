"""Leases: claim a batch, end it, give it back. Every write names its fencing token, so a lost lease changes nothing."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

SCHEMA_VERSION = "0010"
from . import sql
from .model import Before, DoneStep, Lease, Outcome, Retry, Step, Terms
from .scan import WHOLE, Scan


async def open_session(
    connection: asyncpg.Connection, session: UUID, name: str, queue: str, lease_s: float, actor: str | None = None
) -> None:
    """Register a dispatcher; its leases live as long as its heartbeat.

    Args:
        connection: where.
        session: a new id for each start.
        name: what people call it.
        queue: the queue that it claims from.
        lease_s: seconds that the session lives without a heartbeat.
        actor: stays the same when the dispatcher is restarted: an earlier session of it ends now.
    """
    await connection.execute(sql.OPEN_SESSION, session, name, queue, lease_s, actor or str(session), SCHEMA_VERSION)


@dataclass(frozen=True, slots=True)
class Pulse:
    """What a heartbeat learns.

    Attributes:
        alive: False when the session was reaped and all of its leases are lost.
        reaped: False when nobody has done the reaper's work for a while.
        owned: every lease (id, token) of the session, when it was asked for; the value says whether its claim was
            answered seconds ago. What a dispatcher holds and this lacks was cancelled or reaped; what this has and a
            dispatcher does not hold was claimed by a statement whose answer got lost.
    """

    alive: bool
    reaped: bool = True
    owned: dict[tuple[UUID, int], bool] | None = None


async def heartbeat(
    connection: asyncpg.Connection, session: UUID, lease_s: float, *, holding: int, claimed: bool, owned: bool = False
) -> Pulse:
    """Keep the session's leases; `owned` asks for all of them."""
    rows = await connection.fetch(sql.PULSE, session, lease_s, holding, claimed, owned)
    if not rows or rows[0]["token"] is not None:
        return Pulse(alive=False)
    found = {(row["id"], row["token"]): row["settled"] for row in rows[1:]}
    return Pulse(alive=True, reaped=rows[0]["settled"], owned=found if owned else None)


async def close_session(connection: asyncpg.Connection, session: UUID) -> None:
    """End a session; what it still holds is reaped at once."""
    await connection.execute(sql.CLOSE_SESSION, session)


async def claim(
    connection: asyncpg.Connection,
    queue: str,
    session: UUID,
    most: int,
    *,
    slow: bool = False,
    scan: Scan | None = None,
) -> list[Lease]:
    """Lease up to `most` tasks of a lane of `queue`, the highest priority first, then the oldest.

    `scan` remembers the place that this claimant has come to; without one the whole lane is looked through.
    """
    rows = await connection.fetch(sql.CLAIM, queue, session, most, slow, *(WHOLE if scan is None else scan.places()))
    # The statement's columns stand in the order of Lease's fields: by position is twice as fast as by name.
    return _claimed([Lease(*row) for row in rows], scan, most)


def _claimed(claimed: list[Lease], scan: Scan | None, most: int) -> list[Lease]:
    if scan is not None:
        scan.claimed([(-lease.priority, lease.seq) for lease in claimed], most)
    return claimed


async def finish_and_claim(
    connection: asyncpg.Connection,
    outcomes: Sequence[Outcome],
    queue: str,
    session: UUID,
    most: int,
    *,
    slow: bool = False,
    scan: Scan | None = None,
) -> tuple[set[UUID], list[Lease]]:
    """`finish` and `claim` in one statement and one commit; for outcomes that bring nothing about (`follow_up`)."""
    rows = await connection.fetch(
        sql.FINISH_AND_CLAIM,
        *_columns(outcomes),
        *(queue, session, most, slow),
        *(WHOLE if scan is None else scan.places()),
    )
    accepted = {outcome.id for outcome in outcomes}
    while rows and rows[-1][1] is None:
        accepted.discard(rows.pop()[0])
    return accepted, _claimed([Lease(*row) for row in rows], scan, most)


async def finish(connection: asyncpg.Connection, outcomes: Sequence[Outcome]) -> set[UUID]:
    """End tasks; returns the ids that were accepted. The others had lost their lease: nothing of them is kept."""
    if not any(o.follow_up for o in outcomes):
        return await _finish(connection, outcomes)
    async with connection.transaction():
        await _spend(connection, outcomes)
        accepted = await _finish(connection, outcomes)
        following = [o.id for o in outcomes if o.follow_up and o.id in accepted]
        if following:
            await connection.execute(sql.SETTLE, following)
    return accepted


async def _finish(connection: asyncpg.Connection, outcomes: Sequence[Outcome]) -> set[UUID]:
    refused = {row["id"] for row in await connection.fetch(sql.FINISH, *_columns(outcomes))}
    return {o.id for o in outcomes if o.id not in refused}


async def _spend(connection: asyncpg.Connection, attempts: Sequence[Outcome] | Sequence[Retry]) -> None:
    spent = [(a.id, a.token, *a.usage) for a in attempts if a.usage is not None]
    if spent:
        await connection.execute(sql.SPEND, *map(list, zip(*spent, strict=True)))


def _columns(outcomes: Sequence[Outcome]) -> tuple[list[Any], ...]:
    return (
        [o.id for o in outcomes],
        [o.token for o in outcomes],
        [str(o.status) for o in outcomes],
        [o.result for o in outcomes],
        [o.error_code for o in outcomes],
        [o.error_message for o in outcomes],
        [o.decision for o in outcomes],
        [o.began for o in outcomes],
    )


async def retry(connection: asyncpg.Connection, retries: Sequence[Retry]) -> set[UUID]:
    """Put failed attempts off; returns the ids that were accepted. A plan that is over its budget then ends."""
    spent = [r.id for r in retries if r.usage is not None]
    if not spent:
        return await _retry(connection, retries)
    async with connection.transaction():
        await _spend(connection, retries)
        accepted = await _retry(connection, retries)
        await connection.execute(sql.SETTLE, spent)
    return accepted


async def _retry(connection: asyncpg.Connection, retries: Sequence[Retry]) -> set[UUID]:
    rows = await connection.fetch(
        sql.RETRY,
        [r.id for r in retries],
        [r.token for r in retries],
        [r.delay_s for r in retries],
        [r.error_code for r in retries],
        [r.error_message for r in retries],
    )
    keys = {r.limit_key for r in retries if r.limit_key is not None}
    if keys:
        # What waits for its next attempt leaves its place to others of its key.
        await connection.execute(sql.ADMIT, sorted(keys))
    return {row["id"] for row in rows}


async def release(
    connection: asyncpg.Connection, leases: Iterable[tuple[UUID, int]], *, slow: bool = False
) -> set[UUID]:
    """Give leases back unstarted; the attempt does not count. `slow` moves them to the slow lane."""
    pairs = list(leases)
    rows = await connection.fetch(sql.RELEASE, [i for i, _ in pairs], [t for _, t in pairs], [slow] * len(pairs))
    return {row["id"] for row in rows}


async def hold(
    connection: asyncpg.Connection,
    held: Sequence[tuple[UUID, int, str]],
    *,
    expires_s: float | None = None,
    on_expiry: str = "reject",
) -> set[UUID]:
    """Park tasks until a person releases them; items are (id, token, decision as JSON text).

    After `expires_s` seconds the reaper does what `on_expiry` says: `reject` or `release`; None: they wait for ever.
    """
    rows = await connection.fetch(
        sql.HOLD,
        [h[0] for h in held],
        [h[1] for h in held],
        [h[2] for h in held],
        expires_s,
        None if expires_s is None else on_expiry,
    )
    return {row["id"] for row in rows}


async def started(connection: asyncpg.Connection, leases: Sequence[tuple[UUID, int]]) -> None:
    """Write the `started` events of tasks that run longer than a moment."""
    await connection.execute(sql.STARTED, [i for i, _ in leases], [t for _, t in leases])


async def progress(connection: asyncpg.Connection, reports: Sequence[tuple[UUID, int, str]]) -> None:
    """Write `progress` events; data is JSON text."""
    await connection.execute(sql.PROGRESS, [r[0] for r in reports], [r[1] for r in reports], [r[2] for r in reports])


async def planned_before(
    connection: asyncpg.Connection, task_id: UUID, signature: str
) -> tuple[Before | None, dict[str, Any] | None]:
    """The earlier plan of a task that is to be planned anew, and the recipe for `signature`; None: there is none."""
    row = await connection.fetchrow(sql.PLANNED_BEFORE, task_id, signature)
    recipe = None if row["recipe"] is None else json.loads(row["recipe"])
    if row["replans"] is None:
        return None, recipe
    done = tuple(DoneStep(name, skill, UUID(task)) for name, skill, task in json.loads(row["done"] or "[]"))
    return Before(row["replans"], tuple(row["without"]), row["steps"], done), recipe


async def store_plan(
    connection: asyncpg.Connection,
    lease: Lease,
    decision: str,
    plan: str,
    steps: Sequence[Step],
    terms: Terms | None = None,
    done: Sequence[UUID] = (),
) -> bool:
    """Turn a leased goal into a waiting parent and its steps into tasks, all or none.

    Without `terms` a step that fails ends the plan, and nothing bounds what it spends. A plan without steps takes all
    that it gives from those that are `done` already, and ends at once.
    Returns False, and changes nothing, when the lease was lost.
    """
    waiting = [step for step in steps if step.needs]
    async with connection.transaction():
        row = await connection.fetchrow(sql.PLAN_PARENT, lease.id, lease.token, decision, plan, len(steps))
        if row is None:
            return False
        if terms is not None:
            await connection.execute(
                sql.PLAN_TERMS,
                lease.id,
                json.dumps(dict(terms.policy)),
                json.dumps(dict(terms.budget)),
                terms.signature,
                terms.recipe,
                json.dumps(dict(terms.learning)),
                terms.budget.get("time_s"),
            )
        if not steps:
            await connection.execute(sql.SETTLE, list(done))
            return True
        await connection.execute(
            sql.PLAN_STEPS,
            [s.id for s in steps],
            [s.name for s in steps],
            [s.type for s in steps],
            [s.params for s in steps],
            [s.bindings for s in steps],
            lease.id,
            [s.id for s in waiting],
        )
        await connection.executemany(sql.PLAN_WAIT, [(s.id, list(s.needs)) for s in waiting])
    return True


async def bind(connection: asyncpg.Connection, leases: Sequence[Lease]) -> dict[UUID, str]:
    """The params (JSON text) of those leases whose step takes outputs of earlier steps; one query for all.

    Raises:
        KeyError: an earlier step's result lacks the bound field (the plan's types were wrong).
    """
    bound = {lease.id: json.loads(lease.bindings) for lease in leases if lease.bindings}
    if not bound:
        return {}
    needed = {UUID(source["task"]) for binding in bound.values() for source in binding.values()}
    rows = await connection.fetch(sql.RESULTS, list(needed))
    results = {str(row["id"]): json.loads(row["result"]) for row in rows}
    texts = {}
    for lease in leases:
        if lease.id in bound:
            params = json.loads(lease.params)
            for field, source in bound[lease.id].items():
                params[field] = results[source["task"]][source["field"]]
            texts[lease.id] = json.dumps(params)
    return texts
