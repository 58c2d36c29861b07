"""Keeps incidents for good: triages and opened valves whose salience reaches the gate become flashbulbs.

What is kept is read from what is stored already: an incident is kept after a crash, too, or after its store was away.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID, uuid5

from seedcore.coordinator.monitors.stream_monitor import StreamMonitor
from seedcore.coordinator.monitors.stream_monitors import MonitoredStream, StreamMonitors
from seedcore.coordinator.triage.repository import SalientTriage, TriageRepository
from seedcore.errors import ConflictError, SeedCoreError
from seedcore.memory.flashbulbs.incident import Incident
from seedcore.stores.postgres import DATABASE_ERRORS
from seedcore.telemetry.logs import get_logger
from seedcore.utils.waiting import wait_for_event

ROUND_S = 2.0
BACK_S = 86_400.0
"""How far back triages are looked for that are not kept yet, after the start."""

OVERLAP_S = 60.0
"""Triages that are written by others at the same time may show this much later."""

MAX_AT_ONCE = 50
_VALVES = UUID("6f6b6a0e-3f0b-4a55-9f0c-6a3a1f6f2a17")

Score = Callable[[str | None, float], Awaitable[Mapping[str, object]]]
"""The salience of an incident of a stream, with the evidence for it: `StreamSalience.of_incident`."""


class Flashbulbs(Protocol):
    """The store of flashbulbs: `memory.flashbulbs.flashbulb_store.FlashbulbStore`."""

    async def record(self, incident: Incident) -> Incident:
        """Store an incident; the same one again changes nothing."""


class IncidentKeeper:
    """Keeps incidents of at least a salience, in a loop of its own.

    Args:
        store: where they are kept.
        triages: recorded triages, which have their salience.
        streams: whose valves may be open.
        score: the salience of an opened valve.
        gate: the least salience, in [0, 1].

    Attributes:
        kept: how many were kept since the start.
        failing: why the last round kept nothing; None: it did.
    """

    def __init__(
        self, store: Flashbulbs, triages: TriageRepository, streams: StreamMonitors, score: Score, gate: float
    ) -> None:
        self._store, self._triages, self._streams, self._score, self._gate = store, triages, streams, score, gate
        self._since = time.time() - BACK_S
        self._done: dict[UUID, float] = {}
        self._opened: dict[tuple[str, str], int] = {}
        self._woken = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self.kept = 0
        self.failing: str | None = None
        self._log = get_logger("seedcore.coordinator")

    def start(self) -> None:
        """Begin."""
        self._running = asyncio.create_task(self._run(), name="keep incidents")

    async def aclose(self) -> None:
        """Stop; what is not kept yet is kept after the next start."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    def wake(self) -> None:
        """Something was recorded: look at once."""
        self._woken.set()

    async def _run(self) -> None:
        while True:
            try:
                await self.step()
                self.failing = None
            except (SeedCoreError, *DATABASE_ERRORS) as error:
                reason = f"{type(error).__name__}: {error}"
                if self.failing is None:
                    self._log.warning("incidents not kept yet", reason=reason)
                self.failing = reason
            except Exception as error:  # noqa: BLE001 - the loop must not end; health reports it
                self.failing = f"{type(error).__name__}: {error}"
                self._log.error("keeping incidents failed unexpectedly", exc_info=error)
            await wait_for_event(self._woken, ROUND_S)
            self._woken.clear()

    async def step(self) -> None:
        """Keep what is new.

        Raises:
            UnavailableError: the store or the database does not answer; the next round tries again.
        """
        for stream in self._streams.all():
            for watch, monitor in stream.monitors.items():
                await self._keep_valve(stream, watch, monitor)
        found = await self._triages.salient(self._since, self._gate, MAX_AT_ONCE, list(self._done))
        for triage in found:
            await self._record(triage_incident(triage))
            self._done[triage.id] = triage.at.timestamp()
        if len(found) < MAX_AT_ONCE:
            self._since = max(self._since, time.time() - OVERLAP_S)
            self._done = {key: at for key, at in self._done.items() if at >= self._since}

    async def _keep_valve(self, stream: MonitoredStream, watch: str, monitor: StreamMonitor) -> None:
        key, opened = (stream.name, watch), monitor.opened_at
        if monitor.state != "open" or opened is None:
            self._opened.pop(key, None)
            return
        if self._opened.get(key) == opened:
            return
        scored = await self._score(stream.name, monitor.evidence or 0.0)
        salience = float(str(scored["score"]))
        if salience >= self._gate:
            payload = {"stream": stream.name, "watch": watch, "salience": dict(scored), **monitor.report()}
            # The same opening has the same id in every replica and after a restart.
            identity = uuid5(_VALVES, f"{stream.name} {watch} {opened} {monitor.adopted}")
            await self._record(Incident("valve.opened", salience, payload, identity, datetime.now(UTC)))
        self._opened[key] = opened

    async def _record(self, incident: Incident) -> None:
        try:
            await self._store.record(incident)
        except ConflictError:
            return  # it is kept already
        self.kept += 1

    def health(self) -> dict[str, object]:
        """How many were kept here, the gate, and why keeping fails."""
        report: dict[str, object] = {"kept": self.kept, "gate": self._gate}
        return report if self.failing is None else report | {"failing": self.failing}


def triage_incident(triage: SalientTriage) -> Incident:
    """A triage as an incident: what it was about, what it found likely, and what was decided."""
    payload: dict[str, object] = {"triage": str(triage.id), "stream": triage.stream, "action": triage.action}
    payload |= {"dry_run": triage.dry_run, "salience": triage.salience, "hypotheses": triage.hypotheses}
    return Incident("triage", triage.score, payload, triage.id, triage.at)
