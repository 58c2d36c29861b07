"""The reaper: returns the tasks of lost dispatchers, lets through what is due, and applies retention.

One leads and any may take over: the reaper's own process, or a dispatcher whose heartbeat says that there is no leader.
Two at once do no harm, so neither does a leader that was paused when it wakes.
"""

import asyncio
import contextlib
import time
from dataclasses import asdict
from uuid import uuid4

from seedcore.graph import outbox
from seedcore.settings import Settings
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.tasks import reaping
from seedcore.tasks.reaping import Reaped
from seedcore.tasks.schedules import firing
from seedcore.telemetry.logs import get_logger
from seedcore.telemetry.metrics import counter
from seedcore.utils.background_loop import stay_cancelled
from seedcore.utils.waiting import wait_for_event

LATER_CHANNEL = "seedcore_later"
EXPIRE_EVERY_S = 60.0
MIN_PAUSE_S = 0.01


class Reaper:
    """Makes rounds while it leads; `counts` says what they did."""

    def __init__(self, settings: Settings, database: Database, name: str) -> None:
        self._settings, self._database = settings, database
        self._owner = uuid4()
        self._lead_s = max(5.0, 3 * settings.reap_s)
        self._wake_at = 0.0
        self._in_round = False
        self._changed = asyncio.Event()
        self._expired = float("-inf")
        self._last_look: float | None = None
        self.leads = self._standby = False
        self.counts: dict[str, int] = {"rounds": 0, "failures": 0}
        self._log = get_logger("seedcore.worker.reaper", by=name)

    def status(self) -> dict[str, object]:
        """Progress: whether it leads, when it last looked for work, and what all rounds did."""
        last = None if self._last_look is None else round(time.monotonic() - self._last_look, 3)
        return {"leads": self.leads, "last_look_s": last, **self.counts}

    def wake(self, in_s: float = 0.0) -> None:
        """Something is due in so many seconds."""
        at = time.monotonic() + max(0.0, in_s)
        if at < self._wake_at:
            self._wake_at = at
            self._changed.set()

    def on_due(self, in_s: float) -> None:
        """A client reports that something is due in so many seconds: only the leader needs to know."""
        if self.leads or self._in_round:
            self.wake(in_s)

    def on_later(self, _connection: object, _pid: int, _channel: str, seconds: str) -> None:
        """A NOTIFY on LATER_CHANNEL; its payload is the seconds until something is due."""
        with contextlib.suppress(ValueError):
            self.on_due(float(seconds))

    async def run(self, *, standby: bool = False) -> None:
        """Rounds without end. `standby`: asks for the lead only after `wake` says that there is no leader."""
        self._standby = standby
        while True:
            if standby and not self.leads:
                self._wake_at = float("inf")
                await self._sleep()
            pause = self._settings.reap_s
            # What is reported during the round must not be forgotten when it ends.
            self._wake_at, self._in_round = float("inf"), True
            try:
                pause = await self.round()
            except DATABASE_ERRORS as error:
                stay_cancelled(error)
                self.counts["failures"] += 1
                self._log.warning("reaper round failed", reason=f"{type(error).__name__}: {error}")
            self._in_round = False
            self._wake_at = min(self._wake_at, time.monotonic() + pause)
            await self._sleep()

    async def round(self) -> float:
        """One round, when it leads; returns the seconds until the next one is due."""
        async with self._database.connection() as connection:
            outlook = await reaping.lead(connection, self._owner, self._lead_s)
            if outlook.leads != self.leads:
                if outlook.leads and self._standby:
                    counter("seedcore_fallbacks_total").add(1, fallback="reaper")
                self._log.info("leadership acquired" if outlook.leads else "leadership lost")
            self.leads = outlook.leads
            self._last_look = time.monotonic()
            if not self.leads:
                return self._settings.reap_s
            done = Reaped()
            if outlook.lost:
                await reaping.reap_lost(connection, self._settings, done)
            if outlook.waits or (outlook.due_s is not None and outlook.due_s <= 0):
                await reaping.let_through(connection, done)
                self._add(asdict(await firing.fire(connection)))
                outlook = await reaping.lead(connection, self._owner, self._lead_s)
            if time.monotonic() - self._expired > EXPIRE_EVERY_S:
                self._expired = time.monotonic()
                self._add(
                    {f"expired_{k}": n for k, n in asdict(await reaping.expire(connection, self._settings)).items()}
                )
                self._add({"graph_changes_merged": await outbox.tidy(connection)})
        self._add({"rounds": 1, **asdict(done)})
        if any(asdict(done).values()):
            self._log.info("tasks reaped", **{name: count for name, count in asdict(done).items() if count})
        due = self._settings.reap_s if outlook.due_s is None else outlook.due_s
        return min(max(due, MIN_PAUSE_S), self._settings.reap_s)

    async def resign(self) -> None:
        """Give up the leadership, so that another one can take it at once."""
        if self.leads:
            async with self._database.connection() as connection:
                await reaping.resign(connection, self._owner)
            self.leads = False

    async def _sleep(self) -> None:
        """Until `_wake_at`, which `wake` may bring nearer."""
        while (left := self._wake_at - time.monotonic()) > 0:
            self._changed.clear()
            await wait_for_event(self._changed, None if left == float("inf") else left)

    def _add(self, counts: dict[str, int]) -> None:
        for name, count in counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
