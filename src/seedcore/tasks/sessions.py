"""Sessions of dispatchers: leases live as long as the heartbeat of the session that owns them."""

from dataclasses import dataclass
from uuid import UUID

import asyncpg

from seedcore.stores.postgres import SCHEMA_VERSION
from seedcore.tasks.recovery.lost_leases import LastSession, TakenBack, take_back
from seedcore.tasks.sql.sessions import CLOSE_SESSION, HEARTBEAT, OPEN_SESSION


async def open_session(
    connection: asyncpg.Connection,
    session: UUID,
    name: str,
    queue: str,
    lease_s: float,
    actor: str | None = None,
    last: LastSession | None = None,
) -> TakenBack:
    """Register a dispatcher; its leases live as long as its heartbeat.

    Args:
        connection: where.
        session: a new id for each start.
        name: for people.
        queue: the queue that it claims from.
        lease_s: seconds that the session lives without a heartbeat.
        actor: stays the same when the dispatcher is restarted: an earlier session of it ends now.
        last: what the dispatcher's last process has left; its leases are taken back by that before any reaper sees
            them. None: nothing is known, and the reaper judges them.

    Returns:
        What was taken back.
    """
    given = session, name, queue, lease_s, actor or str(session), SCHEMA_VERSION
    if last is None:
        await connection.execute(OPEN_SESSION, *given)
        return TakenBack()
    async with connection.transaction():
        taken = await take_back(connection, last)
        await connection.execute(OPEN_SESSION, *given)
    return taken


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The answer to a heartbeat.

    Attributes:
        alive: False when the session was reaped and all of its leases are lost.
        reaped: False when no reaper has led for a while.
        owned: every lease (id, token) of the session, when requested; the value says whether its claim was answered
            seconds ago. A lease that the dispatcher holds and this lacks was cancelled or reaped; one that only this
            has was claimed by a statement whose answer got lost.
    """

    alive: bool
    reaped: bool = True
    owned: dict[tuple[UUID, int], bool] | None = None


async def heartbeat(
    connection: asyncpg.Connection,
    session: UUID,
    lease_s: float,
    *,
    holding: int,
    claimed: bool,
    owned: bool = False,
    announced: bool = False,
) -> Heartbeat:
    """Keep the session's leases.

    Args:
        connection: where.
        session: whose.
        lease_s: seconds that the session lives without another heartbeat.
        holding: how many tasks the dispatcher holds, for people.
        claimed: it has claimed since the last heartbeat.
        owned: answer with every lease of the session.
        announced: every task that has begun and whose end is not written has its `started` event, so that a lease
            without one has not begun (see `sql.reap.REAP_LEASES`).
    """
    rows = await connection.fetch(HEARTBEAT, session, lease_s, holding, claimed, owned, announced)
    if not rows or rows[0]["token"] is not None:
        return Heartbeat(alive=False)
    found = {(row["id"], row["token"]): row["settled"] for row in rows[1:]}
    return Heartbeat(alive=True, reaped=rows[0]["settled"], owned=found if owned else None)


async def close_session(connection: asyncpg.Connection, session: UUID) -> None:
    """End a session; what it still holds is reaped at once."""
    await connection.execute(CLOSE_SESSION, session)
