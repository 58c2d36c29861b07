"""What a heartbeat looks after: long tasks, leases that went, claims whose answer got lost, silent hosts."""

import time
from collections.abc import Iterable
from uuid import UUID

import asyncpg

from seedcore.tasks import leases
from seedcore.worker.in_flight import Held, Ledger

ANNOUNCE_AFTER_S = 0.2
"""A task that runs longer than this shows as `started` at once; shorter ones say so together with their end."""

UNANNOUNCED_S = 1.0
"""A task that has been held for longer is announced before it begins."""

GRACE_S = 10.0
"""A host gets this long beyond a task's own timeout before its silence counts as a failure."""

SETTLED_S = 5.0
"""Claims younger than this may not stand in what was read of the database."""


def unannounced(ledger: Ledger) -> list[Held]:
    """Tasks that run for longer than a moment and whose `started` event is not written."""
    now = time.monotonic()
    return [
        held
        for held in ledger.held.values()
        if held.begun is not None and not held.announced and now - held.begun > ANNOUNCE_AFTER_S
    ]


async def announce(connection: asyncpg.Connection, ledger: Ledger) -> None:
    """Write the `started` events of tasks that run for longer than a moment."""
    late = unannounced(ledger)
    if late:
        await leases.started(connection, [(held.lease.id, held.lease.token) for held in late])
        for held in late:
            held.announced = True


def long_held(tasks: Iterable[Held]) -> list[Held]:
    """Those that are to be announced before they begin."""
    now = time.monotonic()
    return [held for held in tasks if not held.announced and now - held.taken > UNANNOUNCED_S]


def gone(ledger: Ledger, owned: dict[tuple[UUID, int], bool]) -> list[Held]:
    """Leases in hand that the database has no more: cancelled, and the NOTIFY got lost."""
    settled = time.monotonic() - SETTLED_S
    return [
        held for held in ledger.held.values() if held.taken < settled and (held.lease.id, held.lease.token) not in owned
    ]


def give_back_unknown(ledger: Ledger, owned: dict[tuple[UUID, int], bool]) -> int:
    """Give back leases that the database has and nobody here knows; returns how many."""
    held = {(h.lease.id, h.lease.token) for h in ledger.held.values()}
    unknown = [key for key, settled in owned.items() if settled and key not in held and not ledger.writes(*key)]
    if unknown:
        ledger.released += unknown
        ledger.changed.set()
    return len(unknown)


def overdue(ledger: Ledger, default_timeout_s: float) -> list[tuple[Held, float]]:
    """Tasks whose host said nothing long after their own timeout, and how long it was given."""
    now = time.monotonic()
    found = []
    for held in ledger.held.values():
        skills = held.decision.timeout_s if held.decision is not None else None
        limit = (held.lease.timeout_s or skills or default_timeout_s) + GRACE_S
        if held.begun is not None and now - held.begun > limit:
            found.append((held, limit))
    return found
