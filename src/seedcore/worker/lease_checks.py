"""What a heartbeat checks: tasks that run for long, leases that were lost, claims without an answer, silent hosts."""

import time
from collections.abc import Iterable, Mapping

from seedcore.worker.in_flight import HeldLease, InFlight
from seedcore.worker.ports import LeaseKey

ANNOUNCE_AFTER_S = 0.2
"""A task that runs longer than this shows as `started` at once; of shorter ones the end says so."""

UNANNOUNCED_S = 1.0
"""A task that has been held for longer is announced before it begins."""

GRACE_S = 10.0
"""A host gets this long beyond a task's own timeout before its silence counts as a failure."""

SETTLED_S = 5.0
"""Younger claims may be missing in what was read of the database."""


def unannounced(in_flight: InFlight) -> list[HeldLease]:
    """Tasks that run for longer than a moment and whose `started` event is not written."""
    now = time.monotonic()
    return [
        held
        for held in in_flight.held.values()
        if held.begun is not None and not held.announced and now - held.begun > ANNOUNCE_AFTER_S
    ]


def held_for_long(tasks: Iterable[HeldLease]) -> list[HeldLease]:
    """Tasks to announce before they begin."""
    now = time.monotonic()
    return [held for held in tasks if not held.announced and now - held.taken > UNANNOUNCED_S]


def lost(in_flight: InFlight, owned: Mapping[LeaseKey, bool]) -> list[HeldLease]:
    """Leases in hand that the database has no more: cancelled, and the NOTIFY got lost."""
    settled = time.monotonic() - SETTLED_S
    return [held for held in in_flight.held.values() if held.taken < settled and held.key not in owned]


def release_unknown(in_flight: InFlight, owned: Mapping[LeaseKey, bool]) -> int:
    """Release leases that the database has and this dispatcher does not know; returns how many."""
    held = {lease.key for lease in in_flight.held.values()}
    unknown = [key for key, settled in owned.items() if settled and key not in held and not in_flight.writes(key)]
    if unknown:
        in_flight.released += unknown
        in_flight.changed.set()
    return len(unknown)


def overdue(in_flight: InFlight, default_timeout_s: float) -> list[tuple[HeldLease, float]]:
    """Tasks whose host has been silent long after their own timeout, each with the seconds that it had."""
    now = time.monotonic()
    found = []
    for held in in_flight.held.values():
        skills = held.decision.timeout_s if held.decision is not None else None
        limit = (held.lease.timeout_s or skills or default_timeout_s) + GRACE_S
        if held.begun is not None and now - held.begun > limit:
            found.append((held, limit))
    return found
