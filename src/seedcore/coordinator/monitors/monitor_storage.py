"""Loads and saves the monitors of streams, as rows of `fleet.monitor_repository`."""

from collections.abc import Sequence

from seedcore.changepoint.features import OUTCOME_COLUMNS, TASK_COLUMNS
from seedcore.coordinator.monitors.stream_monitor import StreamMonitor
from seedcore.coordinator.monitors.stream_monitors import MAX_STREAMS, MonitoredStream
from seedcore.errors import InvalidInputError
from seedcore.fleet import monitor_repository
from seedcore.fleet.monitor_repository import MAX_SAVED_STREAMS, MonitorRow
from seedcore.stores.postgres import Database
from seedcore.telemetry.logs import get_logger

_COLUMNS = {"work": TASK_COLUMNS, "outcome": OUTCOME_COLUMNS}


async def load_streams(database: Database) -> list[MonitoredStream]:
    """All stored streams; a monitor that cannot be read starts from nothing, and the log says so."""
    streams: dict[str, MonitoredStream] = {}
    for row in await monitor_repository.load(database, len(_COLUMNS) * MAX_STREAMS):
        stream = streams.setdefault(row.stream, MonitoredStream(row.stream))
        stream.seen = int(row.facts["seen"] or 0)
        try:
            monitor = StreamMonitor.from_stored(_COLUMNS[row.watch], row.state, row.recent, row.facts)
        except (InvalidInputError, ValueError) as error:
            get_logger("seedcore.coordinator").warning(
                "stored valve unreadable, learning again", stream=stream.name, reason=str(error)
            )
        else:
            setattr(stream, row.watch, monitor)
    return list(streams.values())


async def save_streams(database: Database, streams: Sequence[MonitoredStream]) -> None:
    """Write at most MAX_SAVED_STREAMS streams."""
    saved = streams[:MAX_SAVED_STREAMS]
    rows = []
    for stream in saved:
        for name, monitor in stream.monitors.items():
            stored = monitor.to_stored()
            facts = stored.facts | {"seen": stream.seen}
            rows.append(MonitorRow(stream.name, name, stored.state, stored.recent, facts))
            monitor.changed = False
    try:
        await monitor_repository.save(database, rows)
    except BaseException:
        for stream in saved:
            stream.work.changed = True
        raise
