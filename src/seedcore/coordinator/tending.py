"""What goes on beside the decisions: valves are restored, calibrated when they have learned enough, and kept."""

import asyncio
import time
from typing import Any

from seedcore.coordinator.streams import Stream, Streams
from seedcore.coordinator.valve import Valve
from seedcore.coordinator.valve_store import MAX_SAVED, load, save
from seedcore.coordinator.watch import REFERENCE, budget, calibration
from seedcore.errors import ConflictError, NotFoundError
from seedcore.stores.postgres import DATABASE_ERRORS, Database
from seedcore.utils.logs import get_logger

ROUND_S, SAVE_S = 1.0, 5.0


class Tending:
    """Keeps `streams`; the heavy parts run in threads."""

    def __init__(self, streams: Streams, database: Database, arl0: float) -> None:
        self._streams, self._database, self._arl0 = streams, database, arl0
        self._log = get_logger("seedcore.coordinator")
        self._saved_at = time.monotonic()
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
        """Restore once, calibrate what is due, save what changed."""
        if not self._streams.restored:
            self._streams.restore(await load(self._database))
        for stream in self._streams.all():
            for watch in stream.watches.values():
                if watch.due:
                    rows = watch.learn_from()[-REFERENCE:]
                    watch.calibrated(await asyncio.to_thread(Valve.calibrate, rows, budget(self._arl0)))
                    stream.stand(self._streams.threshold)
        if time.monotonic() - self._saved_at >= SAVE_S:
            await self.save()

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
