"""Maintains the monitors in the background: restores them, calibrates them when they are due, saves them."""

import asyncio
import time

import numpy as np
import numpy.typing as npt

from seedcore.changepoint import MIN_REFERENCE, Valve
from seedcore.coordinator.monitors.monitor_storage import load_streams, save_streams
from seedcore.coordinator.monitors.stream_holds import StreamHolds
from seedcore.coordinator.monitors.stream_monitor import REFERENCE, StreamMonitor, calibration_report, monitor_arl0
from seedcore.coordinator.monitors.stream_monitors import MonitoredStream, StreamMonitors
from seedcore.errors import ConflictError, NotFoundError
from seedcore.fleet.monitor_repository import MAX_SAVED_STREAMS
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.tasks.model import GOAL
from seedcore.tasks.plans.recipes import in_force
from seedcore.telemetry.logs import get_logger

ROUND_S, SAVE_S, RECIPES_S = 1.0, 5.0, 2.0

MAX_ADOPTION_SHARE = 0.05
"""The largest share of a processor for adopting lasting changes: a stream may never stop changing."""


class MonitorMaintenance:
    """Maintains `streams`; heavy computations run in threads.

    A valve that stays open because the change lasts adopts it as the new normal, once REFERENCE observations have come
    since it opened and they go well: at least the share `min_success` of them succeeds.
    """

    def __init__(
        self,
        streams: StreamMonitors,
        database: Database,
        arl0: float,
        min_success: float = 0.7,
        holds: StreamHolds | None = None,
        changed: asyncio.Event | None = None,
    ) -> None:
        self._holds = holds or StreamHolds(database)
        self._changed = changed or asyncio.Event()
        self._streams, self._database, self._arl0, self._min_success = streams, database, arl0, min_success
        self._log = get_logger("seedcore.coordinator")
        self._saved_at = time.monotonic()
        self._recipes: dict[str, bool] = {}
        self._recipes_at = self._adopt_at = float("-inf")
        self._adopted: dict[str, float] = {}
        self.recipe_types: frozenset[str] = frozenset()
        """Types for which a recipe of several steps is in force."""
        self.failing: str | None = None
        """Why the valves cannot be restored or saved at present."""

    async def run(self) -> None:
        """Run rounds until cancelled."""
        while True:
            try:
                await self.run_round()
                self.failing = None
            except DATABASE_ERRORS as error:
                reason = f"{type(error).__name__}: {error}"
                if self.failing is None:
                    self._log.warning("valves not saved", reason=reason)
                self.failing = reason
            except Exception as error:  # noqa: BLE001 - the loop must not end; health reports it
                self.failing = f"{type(error).__name__}: {error}"
                self._log.error("monitor maintenance failed unexpectedly", exc_info=error)
            await asyncio.sleep(ROUND_S)

    async def run_round(self) -> None:
        """Restore once, read the holds, calibrate monitors that are due, save changed ones."""
        await self._holds.load()
        if not self._streams.restored:
            self._streams.restore(await load_streams(self._database))
        await self._read_recipes()
        for stream in self._streams.all():
            for monitor in stream.monitors.values():
                if monitor.due:
                    await self._calibrate_on(stream, monitor, monitor.reference()[-REFERENCE:])
        if time.monotonic() >= self._adopt_at:
            await self._adopt()
        if time.monotonic() - self._saved_at >= SAVE_S:
            await self.save()

    async def _adopt(self) -> None:
        """Adopt one stream's lasting change as the new normal; of several, the stream that adopted longest ago."""
        waiting = [
            stream
            for stream in self._streams.all()
            if any(monitor.lasting for monitor in stream.monitors.values()) and self._goes_well(stream)
        ]
        if not waiting:
            return
        stream, began = min(waiting, key=lambda s: self._adopted.get(s.name, 0.0)), time.monotonic()
        for name, monitor in stream.monitors.items():
            if monitor.lasting:
                await self._calibrate_on(stream, monitor, monitor.since_opened())
                monitor.adopted += 1
                self._log.info("lasting change adopted as normal", stream=stream.name, watch=name)
        self._adopted[stream.name] = now = time.monotonic()
        self._adopt_at = now + (now - began) / MAX_ADOPTION_SHARE

    async def _calibrate_on(
        self, stream: MonitoredStream, monitor: StreamMonitor, rows: npt.NDArray[np.float64]
    ) -> None:
        monitor.set_valve(await asyncio.to_thread(Valve.calibrate, rows, monitor_arl0(self._arl0)))
        stream.update_status(self._streams.threshold)
        self._changed.set()

    def _goes_well(self, stream: MonitoredStream) -> bool:
        """Whether the changed work goes well: a recipe is in force (failures withdraw it), or its outcomes succeed."""
        type_ = stream.name.rpartition("/")[2]
        recipe = type_ in self._recipes or (type_ == GOAL and bool(self._recipes))
        return recipe or stream.succeeds(self._min_success)

    async def _read_recipes(self) -> None:
        if time.monotonic() - self._recipes_at >= RECIPES_S:
            self._recipes = await in_force(self._database)
            self.recipe_types = frozenset(goal for goal, several in self._recipes.items() if several)
            self._recipes_at = time.monotonic()
            self._changed.set()

    @property
    def loaded(self) -> bool:
        """Whether the stored monitors, the holds and the recipes have been read."""
        return self._streams.restored and self._recipes_at > float("-inf")

    async def save(self) -> None:
        """Write the streams that changed since the last time."""
        if self._streams.restored:
            changed = [s for s in self._streams.all() if any(m.changed for m in s.monitors.values())]
            for start in range(0, len(changed), MAX_SAVED_STREAMS):
                await save_streams(self._database, changed[start : start + MAX_SAVED_STREAMS])
        self._saved_at = time.monotonic()

    async def calibrate(self, name: str, arl0: float | None, seed: int) -> dict[str, object]:
        """Calibrate a stream on its newest observations, which count as normal from now on.

        Raises:
            NotFoundError: there is no such stream.
            ConflictError: it has too few observations.
        """
        stream = self._streams.get(name)
        if stream is None:
            known = ", ".join(s.name for s in self._streams.all()[:20]) or "none"
            raise NotFoundError(f"There is no stream {name!r}; known: {known}.")
        if not stream.work.learnable:
            raise ConflictError(
                f"The stream {name!r} is still learning: {len(stream.work.recent)} observations, "
                f"at least {MIN_REFERENCE} are needed."
            )
        ready = {name: monitor for name, monitor in stream.monitors.items() if monitor.learnable}
        return await self._calibrate(stream, ready, arl0 or self._arl0, seed)

    async def _calibrate(
        self, stream: MonitoredStream, ready: dict[str, StreamMonitor], arl0: float, seed: int
    ) -> dict[str, object]:
        report: dict[str, object] = {"stream": stream.name, "arl0": arl0}
        for name, monitor in ready.items():
            valve = await asyncio.to_thread(Valve.calibrate, monitor.reference(), monitor_arl0(arl0), seed)
            monitor.set_valve(valve)
            report[name] = {"reference": valve.calibration.reference} | calibration_report(valve)
        stream.update_status(self._streams.threshold)
        self._changed.set()
        await self.save()
        return report
