"""Hands on what a process has counted, once a second: to PostgreSQL and, in a process of Ray, to Ray's metrics port."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from seedcore.settings import Settings
from seedcore.telemetry.logs import get_logger
from seedcore.telemetry.metrics.metric_registry import REGISTRY, MetricDeltas, MetricRegistry

EXPORT_EVERY_S = 1.0


class MetricSink(Protocol):
    """Where counts go; it keeps what it cannot hand on, and adds it the next time."""

    async def write(self, deltas: MetricDeltas, *, last: bool = False) -> None:
        """Add what was counted since the last call, which may be nothing; `last`: the process is about to end."""


class MetricExport:
    """The export of one process.

    Args:
        settings: whether there are metrics, and how many values a label may have.
        sinks: where they go.
        samplers: called before each export; they set gauges.
        registry: what is exported.
    """

    def __init__(
        self,
        settings: Settings,
        sinks: Sequence[MetricSink],
        samplers: Sequence[Callable[[], None]] = (),
        registry: MetricRegistry = REGISTRY,
    ) -> None:
        self._sinks, self._samplers, self._registry = sinks, samplers, registry
        self._log = get_logger("seedcore.metrics")
        self._failed: str | None = None
        registry.configure(enabled=settings.metrics, max_types=settings.metrics_max_types)

    async def run(self) -> None:
        """Export until cancelled; returns at once when there are no metrics."""
        while self._registry.enabled:
            await asyncio.sleep(EXPORT_EVERY_S)
            await self.export()

    async def export(self, *, last: bool = False) -> None:
        """Export what was counted since the last time. A sink that fails is logged, and holds up nothing else."""
        if not self._registry.enabled:
            return
        for sample in self._samplers:
            sample()
        taken, failed = self._registry.take(), None
        for sink in self._sinks:
            try:
                await sink.write(taken, last=last)
            except Exception as error:  # noqa: BLE001 - whatever it is, the process goes on with its work
                failed = f"{type(error).__name__}: {error}"[:300]
        if failed is not None and self._failed is None:
            self._log.warning("metrics cannot be exported, keeping them", reason=failed)
        self._failed = failed


class RunningExport:
    """An export that runs in the current event loop until it is closed."""

    def __init__(self, export: MetricExport) -> None:
        self._export = export
        self._running = asyncio.create_task(export.run(), name="export-metrics")

    async def aclose(self) -> None:
        """Export what is left, and end."""
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        await self._export.export(last=True)
