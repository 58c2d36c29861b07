"""A dispatcher: claims the tasks it has room for, decides, runs them and writes how they ended.

It knows neither Ray nor HTTP nor SQL; `ports` says what it needs. Whatever happens to it, the database keeps the truth:
leases end with its heartbeat, and every write names its fencing token.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

from seedcore.settings import Settings
from seedcore.stores.postgres import DATABASE_ERRORS
from seedcore.tasks.recovery.lost_leases import LastSession
from seedcore.telemetry.logs import get_logger
from seedcore.utils.background_loop import stay_cancelled
from seedcore.utils.waiting import wait_for_event
from seedcore.worker.batch_runner import BatchRunner
from seedcore.worker.claim_pacing import Lane, Lanes
from seedcore.worker.cluster_guard import ClusterGuard
from seedcore.worker.heartbeat import LeaseHeartbeat, SessionLostError
from seedcore.worker.in_flight import InFlight
from seedcore.worker.job_set import JobSet
from seedcore.worker.measuring.attempt_metrics import count_claim, count_lost
from seedcore.worker.outcome_records import reason_of
from seedcore.worker.outcome_writer import OutcomeWriter
from seedcore.worker.ports import LeaseEvents, WorkerPorts
from seedcore.worker.reaper import Reaper

ENDED_CHECK_S = 0.05
"""While it stops, it looks this often whether what runs has ended."""

SETTLE_NOTES_S = 0.25

NOT_READY_S = 0.05
"""A worker that has nothing to decide with yet looks this often whether it has."""


class Dispatcher:
    """Runs the tasks of one queue until `stop`.

    Args:
        settings: room, batch sizes and times.
        name: what people call it.
        queue: the queue that it claims from.
        ports: the lease store, who decides and plans, and the hosts.
        reaper: stands in while no reaper leads; None: this dispatcher never does.
        last: the session that an earlier process of this name has left; None: nothing is known of one.
        actor: stays the same over restarts of one dispatcher, and differs from that of another cluster's dispatcher.
    """

    def __init__(
        self,
        settings: Settings,
        name: str,
        queue: str,
        ports: WorkerPorts,
        reaper: Reaper | None = None,
        actor: str | None = None,
        last: LastSession | None = None,
    ) -> None:
        self._last, self._begun, self._noted = last, ports.begun, set[int]()
        self._actor = actor or str(uuid4())
        self.settings, self.name, self.queue = settings, name, queue
        self._leases, self._reaper = ports.leases, reaper
        self._peers, self._decider = ports.peers, ports.decider
        self._local_name = None if ports.local is None else ports.local.name
        self.log = get_logger("seedcore.worker", dispatcher=name, queue=queue)
        self._in_flight = InFlight(ports.reports)
        self._writer = OutcomeWriter(ports.leases, self._in_flight)
        self._jobs = JobSet(self.log)
        self._batches = BatchRunner(settings, ports, self._in_flight, self._jobs, self.log, name)
        pace = settings.claim_batch, settings.slow_slots, settings.poll_s, settings.ageing_s
        self._lanes = Lanes(queue, ports.leases, *pace)
        self._guard = ClusterGuard(ports.cluster, self.log, self._in_flight.changed.set)
        self._heartbeat = LeaseHeartbeat(settings, ports.leases, self._in_flight, self._batches.hosts, reaper, self.log)
        self._session: UUID | None = None
        self._stop = asyncio.Event()
        self._last_claim: float | None = None
        self.draining = False
        """It claims no more, and goes on with what it holds."""
        self._counts = {"sessions": 0, "interruptions": 0, "claims": 0}

    def status(self) -> dict[str, object]:
        """Progress, for health: what it holds, when it last claimed, what it has done."""
        last = None if self._last_claim is None else round(time.monotonic() - self._last_claim, 3)
        return {
            "name": self.name,
            "queue": self.queue,
            "session": None if self._session is None else str(self._session),
            "holding": len(self._in_flight.held),
            "slow": self._batches.plans.slots_taken,
            "unwritten": self._in_flight.pending,
            "last_claim_s": last,
            "stands_in_for_reaper": self._reaper is not None and self._reaper.leads,
            "cluster_silent": self._guard.silent,
            **self._counts,
            **self._writer.counts,
            **self._batches.counts,
            **self._batches.hosts.counts,
            "draining": self.draining,
        }

    async def run(self) -> None:
        """Work until `stop`; a lost session or database is an interruption, never the end."""
        while not self._stop.is_set():
            try:
                await self._run_session()
            except* SessionLostError:
                count_lost("session", len(self._in_flight.held))
                self.log.warning("session lost, opening a new one", holding=len(self._in_flight.held))
            except* Exception as bundle:
                self.log.error("a loop failed, opening a new session", exc_info=bundle)
                await asyncio.sleep(1)
            await self._abandon()

    @property
    def holding_elsewhere(self) -> int:
        """Leases in hand that do not run in this process."""
        local = self._local_name
        return sum(h.decision is None or h.decision.host != local for h in list(self._in_flight.held.values()))

    def begin_drain(self) -> None:
        """Claim no more; what runs goes on, and other workers' calls too."""
        self.draining = True

    async def stop(self, grace_s: float) -> None:
        """Claim no more, let running tasks end for `grace_s` seconds, release the rest. `run` may be cancelled then.

        Raises:
            UnavailableError: the database does not answer; the leases end with the heartbeat instead.
        """
        self._stop.set()
        self._in_flight.changed.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._until_ended()
        self._batches.hosts.abandon()
        for held in list(self._in_flight.held.values()):
            self._in_flight.release(held.lease)
        await self._writer.flush()
        if self._session is not None:
            await self._leases.close_session(self._session)
        if self._reaper is not None:
            await self._reaper.resign()
        await self._abandon()

    async def _until_ended(self) -> None:
        while True:
            await self._jobs.wait()
            if all(held.begun is None for held in self._in_flight.held.values()):
                return
            await asyncio.sleep(ENDED_CHECK_S)

    async def _run_session(self) -> None:
        """One session; ends with SessionLostError, or cancelled after `stop` has released everything."""
        session, lease_s = uuid4(), self.settings.lease_s
        given = session, self.name, self.queue, lease_s, self._actor, self._last
        await self._until_done(lambda: self._leases.open_session(*given))
        self._session, self._last = session, None
        if self._begun is not None:
            self._begun.note_session(session)
        self._counts["sessions"] += 1
        async with asyncio.TaskGroup() as group:
            steps = (self._turn, self._heartbeat.announce, lambda: self._heartbeat.beat(session), self._listen)
            for step in (*steps, self._settle_notes):
                group.create_task(self._repeat(step))
            if self._reaper is not None:
                group.create_task(self._reaper.run(standby=True))
            group.create_task(self._guard.run())

    async def _settle_notes(self) -> None:
        """Forget the notes of leases that are gone, whatever way; a note that stays longer does no harm."""
        if self._begun is not None and self._noted:
            gone = self._noted - self._in_flight.tokens()
            self._begun.settle(gone)
            self._noted -= gone
        await asyncio.sleep(SETTLE_NOTES_S)

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
                self.log.warning("database unavailable, trying again", reason=reason_of(error))
                await asyncio.sleep(0.2 + random.random() * 0.3)  # noqa: S311 - jitter
            else:
                return

    async def _abandon(self) -> None:
        self._session = None
        await self._batches.abandon()
        self._in_flight.clear()
        if self._begun is not None:
            self._begun.settle(self._noted)
            self._noted = set()

    async def _turn(self) -> None:
        """Write what ended, claim what is next, and rest when there is neither."""
        self._in_flight.changed.clear()
        fast, slow = self._lanes.fast, self._lanes.slow
        wanted, slow_wanted = fast.wanted(self._room()), slow.wanted(self._slow_room())
        if wanted:
            await self._claim(fast, wanted)
        elif self._in_flight.pending and not self._claims_soon():
            await self._writer.flush()
        if slow_wanted:
            await self._claim(slow, slow_wanted)
        if not self._in_flight.pending or self._claims_soon():
            await self._rest()

    def _claims_soon(self) -> bool:
        return self._room() > 0 and self._lanes.fast.soon

    def _room(self) -> int:
        closed = self._stop.is_set() or self.draining or not self._ready() or self._guard.silent is not None
        return 0 if closed else self.settings.dispatcher_room - len(self._in_flight.held)

    def _ready(self) -> bool:
        return self._decider.ready

    def _slow_room(self) -> int:
        return min(self.settings.slow_slots - self._batches.plans.slots_taken, self._room())

    async def _claim(self, lane: Lane, wanted: int) -> None:
        assert self._session is not None
        slow, sent_at = lane is self._lanes.slow, time.monotonic()
        batch = await self._writer.flush_and_claim(self.queue, self._session, wanted, slow=slow, cursor=lane.cursor)
        self._last_claim = time.monotonic()
        count_claim(self.queue, batch, self._last_claim - sent_at)
        if batch:
            self._counts["claims"] += 1
            self._heartbeat.claimed = True
            self._in_flight.add(batch, slow=slow, sent_at=sent_at)
            if self._begun is not None:
                tokens = [lease.token for lease in batch]
                self._begun.hold(tokens)
                self._noted.update(tokens)
            self._batches.start(batch)
        await self._lanes.settle(lane, wanted, len(batch))

    async def _rest(self) -> None:
        """Until something ended, may be claimable, or is worth another look."""
        if not self._ready():
            await wait_for_event(self._in_flight.changed, NOT_READY_S)
            return
        pauses = [
            lane.pause_s()
            for lane, room in ((self._lanes.fast, self._room()), (self._lanes.slow, self._slow_room()))
            if room > 0
        ]
        await wait_for_event(self._in_flight.changed, min(pauses, default=None))

    async def _listen(self) -> None:
        try:
            await self._leases.listen(LeaseEvents(self._on_ready, self._on_cancelled, self._on_due, self._on_listening))
        finally:
            self._lanes.stop_waiting()
            self._in_flight.changed.set()

    def _on_ready(self, lane: str, number: int) -> None:
        """One of all idle dispatchers looks at once: a single task need not wake them all."""
        peers = self._peers()
        first = peers[number % len(peers)] if peers else self.name
        if self._lanes.wake(lane, first=first == self.name or self.name not in peers):
            self._in_flight.changed.set()

    def _on_cancelled(self, task_id: UUID) -> None:
        held = self._in_flight.held.get(task_id)
        if held is not None:
            count_lost("cancelled", 1)
            self._batches.hosts.cancel([held])

    def _on_due(self, in_s: float) -> None:
        if self._reaper is not None:
            self._reaper.on_due(in_s)

    async def _on_listening(self) -> None:
        """Notifications before that are lost: a leading reaper looks again what is due."""
        if self._reaper is not None and self._reaper.leads:
            self._reaper.wake()
