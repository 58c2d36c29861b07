"""Renews a session's leases, says which tasks have started, and acts on leases and hosts that were lost."""

import asyncio
import time
from collections.abc import Mapping
from uuid import UUID

from structlog.typing import FilteringBoundLogger

from seedcore.settings import Settings
from seedcore.worker.host_runner import HostRunner
from seedcore.worker.in_flight import HeldLease, InFlight
from seedcore.worker.measuring.attempt_metrics import count_lost
from seedcore.worker.ports import HeartbeatReport, LeaseKey, LeaseStore
from seedcore.worker.reaper import Reaper

ANNOUNCE_EVERY_S = 0.25
BUSY_HEARTBEAT_S, IDLE_HEARTBEAT_S = 1.0, 3.0

ANNOUNCE_AFTER_S = 0.2
"""A task that runs longer than this shows as `started` at once; of shorter ones the end says so."""

GRACE_S = 10.0
"""A host gets this long beyond a task's own timeout before its silence counts as a failure."""

SETTLED_S = 5.0
"""Younger claims may be missing in what was read of the database."""


class SessionLostError(Exception):
    """The session was reaped: everything held belongs to others now."""


class LeaseHeartbeat:
    """The heartbeat of one dispatcher.

    Attributes:
        claimed: whether tasks were claimed since the last heartbeat, which writes it.
    """

    def __init__(
        self,
        settings: Settings,
        leases: LeaseStore,
        in_flight: InFlight,
        hosts: HostRunner,
        reaper: Reaper | None,
        log: FilteringBoundLogger,
    ) -> None:
        self._settings, self._leases, self._in_flight = settings, leases, in_flight
        self._hosts, self._reaper, self._log = hosts, reaper, log
        self._writing = asyncio.Lock()
        self.claimed = False

    async def announce(self) -> None:
        """Write the `started` events of tasks that run for longer than a moment, then pause."""
        if unannounced(self._in_flight):
            async with self._writing:
                started = unannounced(self._in_flight)
                if started:
                    await self._leases.started([held.key for held in started])
                _mark_announced(started)
        await asyncio.sleep(ANNOUNCE_EVERY_S)

    async def beat(self, session: UUID) -> None:
        """Renew the session's leases, act on the answer, then pause.

        Raises:
            SessionLostError: the session was reaped.
        """
        claimed, self.claimed = self.claimed, False
        in_flight, holding = self._in_flight, len(self._in_flight.held)
        busy = bool(holding or claimed or in_flight.pending)

        def report() -> HeartbeatReport:
            started = unannounced(in_flight)
            keys = [held.key for held in started]
            ends_written = not in_flight.ends_unwritten
            return HeartbeatReport(holding, claimed, keys, ends_written, lambda: _mark_announced(started))

        async with self._writing:
            answer = await self._leases.heartbeat(session, self._settings.lease_s, report)
        if not answer.alive or answer.owned is None:
            raise SessionLostError
        if self._reaper is not None and not answer.reaped and not self._reaper.leads:
            self._reaper.wake()
        self._act_on(answer.owned)
        await asyncio.sleep(min(BUSY_HEARTBEAT_S if busy else IDLE_HEARTBEAT_S, self._settings.lease_s / 4))

    def _act_on(self, owned: Mapping[LeaseKey, bool]) -> None:
        if gone := lost(self._in_flight, owned):
            count_lost("gone", len(gone))
            self._hosts.cancel(gone)
        if unknown := release_unknown(self._in_flight, owned):
            self._log.warning("claims without an answer, releasing their leases", tasks=unknown)
        self._hosts.give_up(overdue(self._in_flight, self._settings.skill_timeout_s))


def _mark_announced(tasks: list[HeldLease]) -> None:
    for held in tasks:
        held.announced = True


def unannounced(in_flight: InFlight) -> list[HeldLease]:
    """Tasks that run for longer than a moment and whose `started` event is not written."""
    now = time.monotonic()
    return [
        held
        for held in in_flight.held.values()
        if held.begun is not None and not held.announced and now - held.begun > ANNOUNCE_AFTER_S
    ]


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
