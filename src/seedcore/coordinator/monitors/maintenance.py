"""What goes on beside the decisions: valves are restored, calibrated when they have learned enough, and kept."""

import asyncio
import time
from typing import Any

from seedcore.changepoint import Valve
from seedcore.coordinator.monitors.stream_holds import Holds
from seedcore.coordinator.monitors.stream_monitor import REFERENCE, Watch, budget, calibration
from seedcore.coordinator.monitors.stream_monitors import Stream, Streams
from seedcore.errors import ConflictError, NotFoundError
from seedcore.fleet.monitor_repository import MAX_SAVED, load, save
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.tasks.model import GOAL
from seedcore.tasks.plans.recipes import in_force
from seedcore.telemetry.logs import get_logger

ROUND_S, SAVE_S, RECIPES_S = 1.0, 5.0, 2.0

ADOPTING = 0.05
"""Most of a processor that learning lasting changes may take: a stream may never stop changing."""


class Tending:
    """Keeps `streams`; the heavy parts run in threads.

    A valve that stays open because the change lasts learns it as the new normal by itself, once REFERENCE observations
    came since it opened and they go well: at least the share `least` of them succeeds. All of that takes at most
    the share ADOPTING of a processor.
    """

    def __init__(
        self, streams: Streams, database: Database, arl0: float, least: float = 0.7, holds: Holds | None = None
    ) -> None:
        self._holds = holds or Holds(database)
        self._streams, self._database, self._arl0, self._least = streams, database, arl0, least
        self._log = get_logger("seedcore.coordinator")
        self._saved_at = time.monotonic()
        self._recipes: dict[str, bool] = {}
        self._recipes_at = self._adopt_at = float("-inf")
        self._adopted: dict[str, float] = {}
        self.several: frozenset[str] = frozenset()
        """Types for which a recipe of several steps is in force."""
        self.failing: str | None = None
        """Why the valves are not restored or kept just now."""

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await self.round()
                self.failing = None
            except DATABASE_ERRORS as error:
                reason = f"{type(error).__name__}: {error}"
                if self.failing is None:
                    self._log.warning("valves are not kept", reason=reason)
                self.failing = reason
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one round, the next one is made
                self.failing = f"{type(error).__name__}: {error}"
                self._log.error("a round of the valves broke", exc_info=error)
            await asyncio.sleep(ROUND_S)

    async def round(self) -> None:
        """Restore once, read what is held, calibrate what is due, save what changed."""
        await self._holds.load()
        if not self._streams.restored:
            self._streams.restore(await load(self._database))
        await self._look_up_recipes()
        for stream in self._streams.all():
            for watch in stream.watches.values():
                if watch.due:
                    await self._learn(stream, watch, watch.learn_from()[-REFERENCE:])
        if time.monotonic() >= self._adopt_at:
            await self._adopt()
        if time.monotonic() - self._saved_at >= SAVE_S:
            await self.save()

    async def _adopt(self) -> None:
        """Learn a stream's lasting change as the new normal; of several that wait, the one that did longest ago."""
        waiting = [
            stream
            for stream in self._streams.all()
            if any(watch.lasting for watch in stream.watches.values()) and self._mastered(stream)
        ]
        if not waiting:
            return
        stream, began = min(waiting, key=lambda s: self._adopted.get(s.name, 0.0)), time.monotonic()
        for name, watch in stream.watches.items():
            if watch.lasting:
                await self._learn(stream, watch, watch.learn_change())
                watch.adopted += 1
                self._log.info("a change is the new normal", stream=stream.name, watch=name)
        self._adopted[stream.name] = now = time.monotonic()
        self._adopt_at = now + (now - began) / ADOPTING

    async def _learn(self, stream: Stream, watch: Watch, rows: Any) -> None:
        watch.calibrated(await asyncio.to_thread(Valve.calibrate, rows, budget(self._arl0)))
        stream.stand(self._streams.threshold)

    def _mastered(self, stream: Stream) -> bool:
        """Whether what came since goes well: a recipe in force says so (its successes keep it there), or outcomes."""
        type_ = stream.name.rpartition("/")[2]
        recipe = type_ in self._recipes or (type_ == GOAL and bool(self._recipes))
        return recipe or stream.succeeds(self._least)

    async def _look_up_recipes(self) -> None:
        if time.monotonic() - self._recipes_at >= RECIPES_S:
            self._recipes = await in_force(self._database)
            self.several = frozenset(goal for goal, several in self._recipes.items() if several)
            self._recipes_at = time.monotonic()

    async def save(self) -> None:
        """Write what changed since the last time."""
        if self._streams.restored:
            changed = [s for s in self._streams.all() if any(w.changed for w in s.watches.values())]
            for start in range(0, len(changed), MAX_SAVED):
                await save(self._database, changed[start : start + MAX_SAVED])
        self._saved_at = time.monotonic()

    async def calibrate(self, name: str, arl0: float | None, seed: int) -> dict[str, Any]:
        """Calibrate a stream anew on its newest observations: what it does now is normal from now on.

        Raises:
            NotFoundError: nobody has seen that stream.
            ConflictError: it has not been observed often enough.
        """
        stream = self._streams.get(name)
        if stream is None:
            known = ", ".join(s.name for s in self._streams.all()[:20]) or "none"
            raise NotFoundError(f"There is no stream {name!r}; known: {known}.")
        ready = {watch: part for watch, part in stream.watches.items() if part.learnable}
        if "work" not in ready:
            seen = len(stream.work.recent)
            raise ConflictError(f"The stream {name!r} is still learning: {seen} observations, at least 500 are needed.")
        return await self._calibrate(stream, ready, arl0 or self._arl0, seed)

    async def _calibrate(self, stream: Stream, ready: dict[str, Any], arl0: float, seed: int) -> dict[str, Any]:
        told: dict[str, Any] = {"stream": stream.name, "arl0": arl0}
        for name, watch in ready.items():
            valve = await asyncio.to_thread(Valve.calibrate, watch.learn_from(), budget(arl0), seed)
            watch.calibrated(valve)
            told[name] = {"reference": valve.calibration.reference} | calibration(valve)
        stream.stand(self._streams.threshold)
        await self.save()
        return told
