"""The reaper as a detached Ray actor, and the logs of workers."""

import asyncio
import contextlib
import sys

from seedcore import __version__
from seedcore.settings import Settings, get_settings
from seedcore.stores.metric_series import MetricSeriesWriter
from seedcore.stores.postgres import DATABASE_ERRORS, ENGINE_SESSION, Database
from seedcore.tasks.events.notifications import NotificationListener
from seedcore.telemetry.logs import configure_logs
from seedcore.telemetry.metrics.metric_export import MetricExport
from seedcore.utils.background_loop import BackgroundLoop
from seedcore.utils.metrics.ray_metrics import ray_sinks
from seedcore.utils.ray_utils import refuse_embedded_on_many_nodes
from seedcore.worker.reaper import LATER_CHANNEL, Reaper

REAPER = "seedcore-reaper"
RELISTEN_S = 0.5


def configure_worker_logs(settings: Settings) -> None:
    """Logs of workers and the reaper go to standard output where the settings say so."""
    configure_logs(settings, stream=sys.stdout if settings.dispatcher_log_to_stdout else sys.stderr)


class ReaperActor:
    """The reaper in a process of its own; a dispatcher stands in for it while it is away."""

    def __init__(self) -> None:
        settings = get_settings()
        configure_worker_logs(settings)
        refuse_embedded_on_many_nodes(settings)
        database = Database(settings, size=1, session=ENGINE_SESSION, name=REAPER)
        self._reaper = Reaper(settings, database, REAPER)
        self._listener = NotificationListener(database, {LATER_CHANNEL: self._reaper.on_later})
        self._background = BackgroundLoop(REAPER)
        self._run = self._background.start(self._reaper.run())
        export = MetricExport(settings, [MetricSeriesWriter(database), *ray_sinks()])
        self._background.start(export.run())
        self._listening = self._background.start(self._listen())

    def status(self) -> dict[str, object]:
        """Progress: whether it leads, when the last round ended and what all rounds did."""
        return {"name": REAPER, "version": __version__, **self._reaper.status()}

    async def _listen(self) -> None:
        while True:
            with contextlib.suppress(*DATABASE_ERRORS):
                await self._listener.listen(on_ready=self._on_listening)
            await asyncio.sleep(RELISTEN_S)

    async def _on_listening(self) -> None:
        """Notifications before that are lost: look again what is due."""
        self._reaper.wake()
