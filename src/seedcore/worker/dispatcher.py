"""A dispatcher: claims what it has room for, lets the Coordinator decide, runs it on hosts, writes how it ended.

It knows neither Ray nor HTTP; `ports` says what it needs. Whatever happens to it, the database keeps the truth:
leases end with its heartbeat, and every write names its fencing token.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

from seedcore.settings import Settings
from seedcore.stores.advisory_locks import IDLE_LANE
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.tasks import sessions
from seedcore.tasks.events.notifications import NotificationHandler, NotificationListener
from seedcore.tasks.model import Lease, lane_name
from seedcore.telemetry.logs import get_logger
from seedcore.utils.background_loop import stay_cancelled
from seedcore.worker import lease_checks
from seedcore.worker.batch_runner import Work
from seedcore.worker.claim_pacing import Lane
from seedcore.worker.cluster_guard import Guard
from seedcore.worker.in_flight import Ledger
from seedcore.worker.outcome_writer import Writer
from seedcore.worker.ports import Brain, Cluster, Hosts
from seedcore.worker.reaper import LATER_CHANNEL, Reaper

READY_CHANNEL, CANCEL_CHANNEL = "seedcore_ready", "seedcore_cancel"
TICK_S = 0.25
BUSY_PULSE_S, IDLE_PULSE_S = 1.0, 3.0
# Without a connection to be woken on, an idle lane is looked at this often.
DEAF_S = 0.1


class SessionLostError(Exception):
    """The session was reaped: everything held belongs to others now."""


class Dispatcher:
    """Runs the tasks of one queue until `stop`."""

    def __init__(
        self,
        settings: Settings,
        name: str,
        queue: str,
        database: Database,
        brain: Brain,
        hosts: Hosts,
        actor: str | None = None,
        cluster: Cluster | None = None,
    ) -> None:
        # The same over restarts of one dispatcher; another cluster's dispatcher of the same name has another.
        self._actor = actor or str(uuid4())
        self.settings, self.name, self.queue = settings, name, queue
        self._database = database
        self._ledger = Ledger()
        self._writer = Writer(database, self._ledger)
        self._work = Work(settings, database, brain, hosts, self._ledger, name)
        self._reaper = Reaper(settings, database, name)
        self._lanes = {
            False: Lane(settings.claim_batch, settings.poll_s),
            True: Lane(min(settings.claim_batch, settings.slow_slots), settings.poll_s),
        }
        heard: dict[str, NotificationHandler] = {
            READY_CHANNEL: self._on_ready,
            CANCEL_CHANNEL: self._on_cancel,
            LATER_CHANNEL: self._reaper.on_later,
        }
        self._bell = NotificationListener(database, heard)
        self._session: UUID | None = None
        self._announcing = asyncio.Lock()
        self._stop = asyncio.Event()
        self._claimed = False
        self._last_claim: float | None = None
        self._counts = {"sessions": 0, "interruptions": 0, "claims": 0}
        self._log = get_logger("seedcore.dispatch", dispatcher=name, queue=queue)
        self._guard = Guard(cluster, self._log, self._ledger.changed.set)

    def status(self) -> dict[str, Any]:
        """Progress, for health: what it holds, when it last claimed, what it has done."""
        last = None if self._last_claim is None else round(time.monotonic() - self._last_claim, 3)
        return {
            "name": self.name,
            "queue": self.queue,
            "session": None if self._session is None else str(self._session),
            "holding": len(self._ledger.held),
            "slow": self._work.slow_running(),
            "unwritten": self._ledger.pending,
            "last_claim_s": last,
            "stands_in_for_reaper": self._reaper.leads,
            "cluster_silent": self._guard.silent,
            **self._counts,
            **self._writer.counts,
            **self._work.counts,
        }

    async def run(self) -> None:
        """Work until `stop`; a lost session or database is an interruption, never the end."""
        while not self._stop.is_set():
            try:
                await self._live()
            except* SessionLostError:
                self._log.warning("session lost, starting afresh", holding=len(self._ledger.held))
            except* Exception as bundle:  # noqa: BLE001 - a fault of ours must not end a dispatcher for good
                self._log.error("a loop broke, starting afresh", exc_info=bundle)
                await asyncio.sleep(1)
            await self._abandon()

    async def stop(self, grace_s: float) -> None:
        """Claim no more, let running tasks end for `grace_s` seconds, give the rest back. `run` may be cancelled then.

        Raises:
            UnavailableError: the database does not answer; the leases end with the heartbeat instead.
        """
        self._stop.set()
        self._ledger.changed.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while self._work.jobs:
                    await asyncio.wait(self._work.jobs, return_when=asyncio.FIRST_COMPLETED)
        for held in list(self._ledger.held.values()):
            self._ledger.give_back(held.lease)
        await self._writer.flush()
        if self._session is not None:
            async with self._database.connection() as connection:
                await sessions.close_session(connection, self._session)
        await self._reaper.resign()
        await self._abandon()

    # -- a session -----------------------------------------------------------------------------------------

    async def _live(self) -> None:
        """One session; ends with SessionLostError, or cancelled after `stop` has handed everything back."""
        session = uuid4()
        await self._until_done(lambda: self._open(session))
        self._session = session
        self._counts["sessions"] += 1
        async with asyncio.TaskGroup() as group:
            for step in (self._turn_step, self._announce_step, self._heartbeat_step, self._listen_step):
                group.create_task(self._repeat(step))
            group.create_task(self._reaper.run(standby=True))
            group.create_task(self._guard.run())

    async def _open(self, session: UUID) -> None:
        async with self._database.connection() as connection:
            await sessions.open_session(connection, session, self.name, self.queue, self.settings.lease_s, self._actor)

    async def _repeat(self, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._until_done(step)

    async def _until_done(self, step: Callable[[], Awaitable[None]]) -> None:
        """Do `step`; while the database is away, keep what is held and try again."""
        while True:
            try:
                await step()
            except DATABASE_ERRORS as error:
                stay_cancelled(error)
                self._counts["interruptions"] += 1
                self._log.warning("the database is away", reason=f"{type(error).__name__}: {error}")
                await asyncio.sleep(0.2 + random.random() * 0.3)  # noqa: S311 - jitter
            else:
                return

    async def _abandon(self) -> None:
        self._session = None
        await self._work.abandon()
        self._ledger.clear()

    # -- turns: write what ended, claim what is next ---------------------------------------------------------

    async def _turn_step(self) -> None:
        self._ledger.changed.clear()
        wanted = 0 if self._gather_s(slow=False) else self._lanes[False].wanted(self._room())
        slow = 0 if self._gather_s(slow=True) else self._lanes[True].wanted(self._slow_room())
        if wanted:
            await self._take(wanted, slow=False)
        elif self._ledger.pending and not self._soon():
            await self._writer.flush()
        if slow:
            await self._take(slow, slow=True)
        if not self._ledger.pending or self._soon():
            await self._rest()

    def _soon(self) -> bool:
        return self._room() > 0 and not self._gather_s(slow=False) and self._lanes[False].soon

    def _gather_s(self, *, slow: bool) -> float:
        """How long a lane still waits for the last batch to be decided.

        Small batches follow one another only as fast as they are decided: the busier everybody is, the larger the
        next one grows, and the less each of its tasks costs.
        """
        return self._lanes[slow].gather_s() if self._work.deciding else 0.0

    def _room(self) -> int:
        closed = self._stop.is_set() or self._guard.silent is not None
        return 0 if closed else self.settings.dispatcher_room - len(self._ledger.held)

    def _slow_room(self) -> int:
        return min(self.settings.slow_slots - self._work.slow_running(), self._room())

    async def _take(self, wanted: int, *, slow: bool) -> None:
        assert self._session is not None
        lane, asked = self._lanes[slow], time.monotonic()
        batch = await self._writer.exchange(self.queue, self._session, wanted, slow=slow, scan=lane.scan)
        self._last_claim = time.monotonic()
        if batch:
            self._counts["claims"] += 1
            self._claimed = True
            self._ledger.take(batch, slow=slow, asked=asked)
            self._work.take(batch)
        await self._settle_lane(lane, slow, wanted, batch)

    async def _settle_lane(self, lane: Lane, slow: bool, wanted: int, batch: list[Lease]) -> None:
        """Tell submitters when this lane has become idle, or busy again."""
        was_idle = lane.idle
        lane.took(wanted, len(batch))
        if was_idle and not lane.idle:
            await self._bell.set_waiting(IDLE_LANE, lane_name(self.queue, slow), waiting=False)
        elif len(batch) < wanted and not lane.idle and not lane.flows:
            if await self._bell.set_waiting(IDLE_LANE, lane_name(self.queue, slow), waiting=True):
                lane.rest()
            else:
                lane.sleep(DEAF_S)

    async def _rest(self) -> None:
        """Until something ended, may be claimable, or is worth another look."""
        pauses = [
            max(lane.pause_s(), self._gather_s(slow=slow))
            for slow, lane in self._lanes.items()
            if (self._slow_room() if slow else self._room()) > 0
        ]
        with contextlib.suppress(TimeoutError):
            # Not wait_for: in Python 3.11 it loses a cancellation that comes together with the event.
            async with asyncio.timeout(min(pauses, default=None)):
                await self._ledger.changed.wait()

    # -- beside them -----------------------------------------------------------------------------------------

    async def _announce_step(self) -> None:
        if lease_checks.unannounced(self._ledger):
            async with self._announcing, self._database.connection() as connection:
                await lease_checks.announce(connection, self._ledger)
        await asyncio.sleep(TICK_S)

    async def _heartbeat_step(self) -> None:
        assert self._session is not None
        claimed, self._claimed = self._claimed, False
        holding = len(self._ledger.held)
        busy = bool(holding or claimed or self._ledger.pending)
        async with self._announcing, self._database.connection() as connection:
            # First: whoever reads this heartbeat knows that what is not announced has not begun (see REAP_LEASES).
            announced = not self._ledger.ends_unwritten
            await lease_checks.announce(connection, self._ledger)
            pulse = await sessions.heartbeat(
                connection,
                self._session,
                self.settings.lease_s,
                holding=holding,
                claimed=claimed,
                owned=True,
                announced=announced,
            )
        if not pulse.alive or pulse.owned is None:
            raise SessionLostError(self.name)
        if not pulse.reaped and not self._reaper.leads:
            self._reaper.rouse()
        if gone := lease_checks.gone(self._ledger, pulse.owned):
            await self._work.cancel(gone)
        if lost := lease_checks.give_back_unknown(self._ledger, pulse.owned):
            self._log.warning("claims whose answer got lost, given back", tasks=lost)
        for held, limit_s in lease_checks.overdue(self._ledger, self.settings.skill_timeout_s):
            self._work.again_or_fail(held, "host_silent", f"the host said nothing for {limit_s:g} s")
        await asyncio.sleep(min(BUSY_PULSE_S if busy else IDLE_PULSE_S, self.settings.lease_s / 4))

    async def _listen_step(self) -> None:
        try:
            await self._bell.listen(on_ready=self._on_listening)
        finally:
            for lane in self._lanes.values():
                lane.idle = False
                lane.wake()
            self._ledger.changed.set()

    async def _on_listening(self) -> None:
        """What was said before that, nobody heard: a leading reaper looks again what is due."""
        if self._reaper.leads:
            self._reaper.rouse()

    def _on_ready(self, _connection: Any, _pid: int, _channel: str, lane: str) -> None:
        for slow in (False, True):
            if lane == lane_name(self.queue, slow):
                self._lanes[slow].wake()
                self._ledger.changed.set()

    def _on_cancel(self, _connection: Any, _pid: int, _channel: str, task_id: str) -> None:
        held = self._ledger.held.get(UUID(task_id))
        if held is not None:
            self._work.start(self._work.cancel([held]))
