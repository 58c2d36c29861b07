"""Counts attempts and tasks that ended without a worker: lost with it, or by their deadline."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

import asyncpg

from seedcore.tasks.failure_codes import FailureCode
from seedcore.telemetry.metrics import counter

_ATTEMPTS, _DEAD = counter("seedcore_attempts_total"), counter("seedcore_dead_total")


def count_lost_attempts(judged: Sequence[asyncpg.Record]) -> None:
    """Leases were taken back; one that had not begun was no attempt."""
    lost = Counter((row["queue"], row["type"]) for row in judged if not row["unbegun"])
    if lost:
        _ATTEMPTS.add_all({(*key, "lost"): number for key, number in lost.items()})
    dead = Counter((row["queue"], row["type"], str(FailureCode.LEASE_EXPIRED)) for row in judged if row["dead"])
    if dead:
        _DEAD.add_all(dead)


def count_late(due: Iterable[asyncpg.Record], codes: Mapping[UUID, str]) -> None:
    """Tasks ended by their deadline or budget; `codes` has the error codes of those that did, by id."""
    dead = Counter((row["queue"], row["type"], codes[row["id"]]) for row in due if row["id"] in codes)
    if dead:
        _DEAD.add_all(dead)
