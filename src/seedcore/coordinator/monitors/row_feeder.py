"""Feeds the monitors in the background what has waited for long enough."""

import asyncio

from seedcore.coordinator.monitors.stream_monitors import StreamMonitors
from seedcore.telemetry.logs import get_logger

FEED_S = 0.25
"""How often rows that wait are looked at while no report of their stream comes."""


class RowFeeder:
    """Looks at rows that wait every FEED_S, and rests while none do; `changed` is set whenever a monitor saw some."""

    def __init__(self, streams: StreamMonitors, changed: asyncio.Event) -> None:
        self._streams, self._changed = streams, changed
        self._wanted = asyncio.Event()
        self._log = get_logger("seedcore.coordinator")

    def want(self) -> None:
        """A report has come: rows of it may wait."""
        if self._streams.waiting:
            self._wanted.set()

    async def run(self) -> None:
        """Feed until cancelled."""
        while True:
            await self._wanted.wait()
            await asyncio.sleep(FEED_S)
            try:
                if self._streams.feed():
                    self._changed.set()
            except Exception as error:  # noqa: BLE001 - the loop must not end
                self._log.error("feeding monitors failed unexpectedly", exc_info=error)
            if not self._streams.waiting:
                self._wanted.clear()
